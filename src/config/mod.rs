//! `config.json`, `generation_config.json` and `preprocessor_config.json` as typed configs.

mod activation;
mod error;
#[cfg(feature = "engine")]
mod feature_extractor;
mod fields;
mod generation;
mod model;
mod quantization;
mod rope;
mod transformer;

pub use activation::Activation;
pub use error::ConfigError;
#[cfg(feature = "engine")]
pub use feature_extractor::FeatureExtractorConfig;
#[cfg(feature = "engine")]
pub(crate) use fields::Fields;
pub use generation::{EarlyStopping, GenerationConfig};
pub use model::{ModelConfig, SpecialTokenIds};
pub use quantization::{Method, Quantization};
pub use rope::{RopeConfig, RopeKeys, RopeScaling};
#[cfg(feature = "engine")]
pub(crate) use transformer::MAX_ELEMENTS;
pub use transformer::{TransformerConfig, TransformerDefaults};

#[cfg(test)]
mod tests;
