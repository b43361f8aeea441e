//! Llama. Semantics: transformers' `modeling_llama.py`.

use super::Family;
use super::decoder::{Decoder, Description, Names};
use crate::config::{DecoderConfig, DecoderDefaults};

/// `LlamaForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "llama",
    class_prefix: "Llama",
    config_keys: DecoderConfig::KEYS,
    build: |raw, task| {
        let config = DecoderConfig::parse(raw, &DecoderDefaults::LLAMA)?;
        let (attention, mlp) = (config.attention_bias, config.mlp_bias);
        let description =
            Description { qkv_bias: attention, output_bias: attention, mlp_bias: mlp, names: Names::LLAMA, config };
        Ok(Box::new(Decoder::new(description, raw, task)?))
    },
};
