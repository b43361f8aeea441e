//! Checkpoint formats: names → (dtype, shape, where the bytes are).

/// Why a checkpoint can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {}

impl CheckpointError {
    /// The stable code that JavaScript sees.
    pub fn code(&self) -> &'static str {
        match *self {}
    }
}
