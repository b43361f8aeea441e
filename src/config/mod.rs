//! `config.json` and `generation_config.json` as typed configs.

mod activation;
mod error;
mod fields;
mod generation;
mod model;
mod rope;
mod transformer;

pub use activation::Activation;
pub use error::ConfigError;
pub use generation::GenerationConfig;
pub use model::{ModelConfig, SpecialTokenIds};
pub use rope::{RopeConfig, RopeKeys, RopeScaling};
pub use transformer::{TransformerConfig, TransformerDefaults};

#[cfg(test)]
mod tests;
