//! The one error type that crosses the crate's outer face.
//!
//! Each room has an enum of its own with one variant a way to fail; this type gathers them and gives each a stable
//! `code` that JavaScript sees as `error.code`. A message says what was wrong, where, and what to do.

use crate::checkpoint::CheckpointError;
use crate::config::ConfigError;
use crate::hub::HubError;

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, by the room in which it did.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Reaching a repo's files failed.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// A checkpoint's files are not what their format says.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A configuration can't be read or asks for what is not there.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The GPU could not do what was asked.
    #[cfg(feature = "engine")]
    #[error(transparent)]
    Gpu(#[from] crate::tensor::gpu::device::GpuError),
    /// The CPU could not do what was asked.
    #[cfg(feature = "engine")]
    #[error(transparent)]
    Cpu(#[from] crate::tensor::cpu::CpuError),
    /// The checkpoint's tensors can't become the model's weights.
    #[cfg(feature = "engine")]
    #[error(transparent)]
    Weights(#[from] crate::weights::WeightsError),
    /// Weights can't be placed as was asked.
    #[cfg(feature = "engine")]
    #[error(transparent)]
    Placement(#[from] crate::placement::PlacementError),
    /// What was asked of the model can't be done.
    #[cfg(feature = "engine")]
    #[error(transparent)]
    Generation(#[from] crate::generation::GenerationError),
    /// Audio can't be heard.
    #[cfg(feature = "engine")]
    #[error(transparent)]
    Audio(#[from] crate::audio::AudioError),
    /// A tokenizer or a chat template failed.
    #[cfg(feature = "text")]
    #[error(transparent)]
    Text(#[from] crate::text::TextError),
}

impl Error {
    /// A stable, upper-case identifier, the same in Rust and JavaScript.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Hub(e) => e.code(),
            Error::Checkpoint(e) => e.code(),
            Error::Config(e) => e.code(),
            #[cfg(feature = "engine")]
            Error::Gpu(e) => e.code(),
            #[cfg(feature = "engine")]
            Error::Cpu(e) => e.code(),
            #[cfg(feature = "engine")]
            Error::Weights(e) => e.code(),
            #[cfg(feature = "engine")]
            Error::Placement(e) => e.code(),
            #[cfg(feature = "engine")]
            Error::Generation(e) => e.code(),
            #[cfg(feature = "engine")]
            Error::Audio(e) => e.code(),
            #[cfg(feature = "text")]
            Error::Text(e) => e.code(),
        }
    }
}
