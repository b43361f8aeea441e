//! `config.json` and `generation_config.json` as typed configs.

mod activation;
mod decoder;
mod error;
mod fields;
mod generation;
mod model;
mod rope;

pub use activation::Activation;
pub use decoder::{DecoderConfig, DecoderDefaults};
pub use error::ConfigError;
pub use generation::GenerationConfig;
pub use model::{ModelConfig, SpecialTokenIds};
pub use rope::{RopeConfig, RopeKeys, RopeScaling};

#[cfg(test)]
mod tests;
