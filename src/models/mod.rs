//! Architectures: one file a family, which describes it; what families share is computed in one place.

mod decoder;
mod gemma2;
mod gemma3;
mod llama;
mod mistral;
mod olmo2;
mod phi3;
mod qwen2;
mod qwen3;
mod smollm3;

use crate::Result;
use crate::config::{ConfigError, DecoderConfig, ModelConfig};
use crate::tensor::ops::{Ops, Tensor};
use crate::weights::keys::ModelKeys;
use crate::weights::spec::{BlockSpec, WeightSpecs};
use decoder::Decoder;

pub use decoder::{Description, Names};

/// Every family that there is.
const FAMILIES: [Family; 9] = [
    gemma2::FAMILY,
    gemma3::FAMILY,
    llama::FAMILY,
    mistral::FAMILY,
    olmo2::FAMILY,
    phi3::FAMILY,
    qwen2::FAMILY,
    qwen3::FAMILY,
    smollm3::FAMILY,
];

/// An architecture by the name that configs have for it.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// The config's `model_type`.
    pub model_type: &'static str,
    /// What transformers' classes are called before `Model` and `ForCausalLM`.
    pub class_prefix: &'static str,
    /// The config's keys that mean something to it, beyond [`DecoderConfig::KEYS`].
    pub own_keys: &'static [&'static str],
    /// What a config says of the model.
    pub describe: fn(&ModelConfig) -> Result<Description, ConfigError>,
}

impl Family {
    /// The family of a config.
    ///
    /// # Errors
    /// `UNSUPPORTED_MODEL_TYPE`, naming those that there are; `CONFIG_INVALID`
    pub fn of(config: &ModelConfig) -> Result<&'static Family, ConfigError> {
        const ALL: &[Family] = &FAMILIES;
        let model_type = config.model_type()?;
        let known = || ALL.iter().map(|family| family.model_type).collect();
        ALL.iter().find(|family| family.model_type == model_type).ok_or_else(|| config.unsupported_model_type(known()))
    }

    /// The model that a config describes.
    ///
    /// # Errors
    /// What is wrong with the config.
    pub fn build(&self, config: &ModelConfig, task: Task) -> Result<Box<dyn Model>> {
        Ok(Box::new(Decoder::new((self.describe)(config)?, config, task)?))
    }

    /// The config's keys that mean something to it.
    pub fn config_keys(&self) -> Vec<&'static str> {
        [DecoderConfig::KEYS, self.own_keys].concat()
    }

    /// What transformers calls the class of a model for this task.
    pub fn class_name(&self, task: Task) -> String {
        match task {
            Task::Base => format!("{}Model", self.class_prefix),
            Task::CausalLm => format!("{}ForCausalLM", self.class_prefix),
        }
    }
}

/// What a model is loaded for, which decides its head and the names of its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Task {
    /// `AutoModel`: no head, hidden states come out.
    Base,
    /// `AutoModelForCausalLM`: logits of the next token.
    #[default]
    CausalLm,
}

/// The cache and position facts that the engine needs of a decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderShape {
    /// Tokens known.
    pub vocab_size: usize,
    /// Elements of a row that comes out of the last block: `vocab_size` logits, or a hidden state without a head.
    pub output_size: usize,
    /// Layers with a key and value cache.
    pub layers: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Angles of a position, all ropes together.
    pub angles: usize,
    /// The longest context the model was made for.
    pub max_position_embeddings: usize,
}

/// A decoder: weights in blocks, and what each block computes.
pub trait Model {
    /// What it was made for.
    fn task(&self) -> Task;

    /// What the engine needs to know.
    fn shape(&self) -> DecoderShape;

    /// Its state dict's names, as transformers has them.
    fn keys(&self) -> ModelKeys;

    /// Every weight.
    fn weights(&self) -> &WeightSpecs;

    /// The blocks in forward order: embedding, layers, head or last norm.
    fn blocks(&self) -> &[BlockSpec];

    /// Computes block `index`. The first takes no input; the last gives its output for `all` rows or for the last one.
    fn block(&self, ops: &mut dyn Ops, index: usize, input: Option<Tensor>, head: HeadRows) -> Result<Tensor>;

    /// Cosine and sine for each pair of rotated elements of each rope at `position`, when the context is `length` tokens long.
    fn rope(&self, position: usize, length: usize, out: &mut Vec<f32>);
}

/// For which tokens the last block computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadRows {
    /// The last one: generation needs no others.
    Last,
    /// All of them.
    All,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::Activation;
    use serde_json::json;

    #[test]
    fn configs_are_read_with_their_familys_defaults() {
        let goldens: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/goldens/configs.json")).unwrap();
        let mut seen = BTreeSet::new();
        for case in goldens["cases"].as_array().unwrap() {
            let config = ModelConfig::from_json("a/b: config.json", case["config"].to_string().as_bytes()).unwrap();
            let (name, expected) = (&case["name"], &case["expected"]);
            let family = Family::of(&config).unwrap();
            let Description { config: found, qkv_bias, output_bias, mlp_bias, .. } =
                (family.describe)(&config).unwrap();
            assert_eq!(found.hidden_act, Activation::from_name(expected["hidden_act"].as_str().unwrap()).unwrap());
            assert_eq!(found.rope.theta, expected["rope_theta"].as_f64().unwrap(), "{name}");
            assert_eq!(found.rms_norm_eps, expected["rms_norm_eps"].as_f64().unwrap() as f32, "{name}");
            let found = json!({
                "vocab_size": found.vocab_size, "hidden_size": found.hidden_size,
                "intermediate_size": found.intermediate_size, "num_hidden_layers": found.num_hidden_layers,
                "num_attention_heads": found.num_attention_heads, "num_key_value_heads": found.num_key_value_heads,
                "head_dim": found.head_dim, "max_position_embeddings": found.max_position_embeddings,
                "tie_word_embeddings": found.tie_word_embeddings,
                "bos_token_id": found.special.bos, "eos_token_id": found.special.eos.first(),
                "pad_token_id": found.special.pad,
                "biases": [qkv_bias, output_bias, mlp_bias],
            });
            for (key, value) in found.as_object().unwrap() {
                let expected = match &expected[key] {
                    serde_json::Value::Array(ids) if key == "eos_token_id" => &ids[0],
                    expected => expected,
                };
                assert_eq!(value, expected, "{name}: {key}");
            }
            seen.insert(family.model_type);
        }
        assert!(FAMILIES.iter().all(|family| seen.contains(family.model_type)), "{seen:?}");
    }

    #[test]
    fn what_is_not_there_is_said_with_what_is() {
        let config = |json: serde_json::Value| ModelConfig::from_json("a/b: config.json", json.to_string().as_bytes());
        let error = Family::of(&config(json!({"model_type": "mamba"})).unwrap()).unwrap_err();
        assert_eq!(error.code(), "UNSUPPORTED_MODEL_TYPE");
        let known = "model_type \"mamba\" is not supported. Supported: gemma2, gemma3_text, llama, mistral, olmo2, phi3, qwen2, qwen3, smollm3";
        assert_eq!(error.to_string(), format!("a/b: config.json: {known}"));
        let error = Family::of(&config(json!({})).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "a/b: config.json: `model_type` is missing, expected a value");
    }
}
