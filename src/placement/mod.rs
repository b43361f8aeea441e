//! Where each module of a model lives: on the GPU, in CPU memory, or on disk. Pure: sizes go in, a map comes out.
//!
//! Semantics: accelerate's `infer_auto_device_map` and its kin, with one GPU, which is what a page has. So `"auto"`,
//! `"balanced"`, `"balanced_low_0"` and `"sequential"` are one.

mod error;
mod infer;
mod map;
mod size;
mod tree;

pub use error::PlacementError;
pub use infer::infer_device_map;
pub use map::DeviceMap;
pub use size::parse_size;
pub use tree::{ModuleTree, is_within};

/// A place for weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Device {
    /// In a GPU buffer, for good.
    Gpu,
    /// In CPU memory, from which they are brought to the GPU when they are needed.
    Cpu,
    /// Where they come from: the cache on disk, or the network.
    Disk,
}

impl Device {
    /// transformers' name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Device::Gpu => "0",
            Device::Cpu => "cpu",
            Device::Disk => "disk",
        }
    }
}

/// How many bytes each device takes: transformers' `max_memory`. A device that isn't named is not used, but for the disk, which takes
/// the rest. What is planned for is weights; what else a GPU holds has been taken off by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MaxMemory {
    /// `0`
    pub gpu: Option<u64>,
    /// `"cpu"`
    pub cpu: Option<u64>,
}

impl MaxMemory {
    /// Room for everything on the GPU.
    pub const UNBOUNDED: MaxMemory = MaxMemory { gpu: Some(u64::MAX), cpu: None };
}

#[cfg(test)]
mod tests;
