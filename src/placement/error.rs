//! What can be wrong with a wish for devices.

/// Why weights can't be placed as was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlacementError {
    /// Not a number of bytes.
    #[error("{text:?} is not a size: give bytes as a number, or a text with a unit, as \"500MB\" or \"2GiB\"")]
    Size {
        /// What was given.
        text: String,
    },
    /// Modules without a device.
    #[error("device_map gives no device for {}: name them, or \"\" for all the rest", modules.join(", "))]
    Incomplete {
        /// The weights that no key covers.
        modules: Vec<String>,
    },
    /// Keys that are no modules.
    #[error("device_map names {}, which the model doesn't have", modules.join(", "))]
    UnknownModules {
        /// The keys.
        modules: Vec<String>,
    },
    /// A layer must lie in one place.
    #[error("device_map splits {block}, which runs as a whole: give all of it one device")]
    Split {
        /// The module.
        block: String,
    },
    /// Tied weights must lie in one place.
    #[error("device_map puts {tied} and {owner} apart, which share one weight: give both the same device")]
    TiedApart {
        /// One of them.
        tied: String,
        /// The other.
        owner: String,
    },
    /// The GPU can't hold what has to be there at a time.
    #[error(
        "the GPU is given {given} bytes (max_memory), but {needed} must be there at a time: what stays, the largest module \
         that comes and goes, and {kept} for caches and activations"
    )]
    NoRoom {
        /// What `max_memory` says.
        given: u64,
        /// The least.
        needed: u64,
        /// Of that, what isn't weights.
        kept: u64,
    },
}

impl PlacementError {
    /// The stable code that JavaScript sees.
    pub fn code(&self) -> &'static str {
        "DEVICE_MAP"
    }
}
