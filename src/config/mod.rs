//! `config.json` and `generation_config.json` as typed configs.

mod activation;
mod error;
mod fields;
mod generation;
mod llama;
mod model;
mod rope;

pub use activation::Activation;
pub use error::ConfigError;
pub use generation::GenerationConfig;
pub use llama::LlamaConfig;
pub use model::{Architecture, ModelConfig, SpecialTokenIds};
pub use rope::{RopeConfig, RopeScaling};

#[cfg(test)]
mod tests;
