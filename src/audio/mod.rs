//! Sound on its way into a model: samples → the log-mel spectrogram that Whisper reads. Pure.

mod fourier;
mod log_mel;
mod mel;

pub use log_mel::{LogMel, Spectrogram};

/// Why audio can't be heard.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AudioError {
    /// A sample that is no number, or infinite.
    #[error("the sample {index} of the audio is {value}; samples are finite numbers, usually from -1 to 1")]
    Sample {
        /// Which one.
        index: usize,
        /// What it is.
        value: f32,
    },
}

impl AudioError {
    /// The stable code that JavaScript sees.
    pub fn code(&self) -> &'static str {
        match self {
            AudioError::Sample { .. } => "AUDIO",
        }
    }
}
