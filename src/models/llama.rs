//! Llama. Semantics: transformers' `modeling_llama.py`.

use super::{Description, Family, Names};
use crate::config::{DecoderConfig, DecoderDefaults};

/// `LlamaForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "llama",
    class_prefix: "Llama",
    config_keys: DecoderConfig::KEYS,
    describe: |raw| {
        let config = DecoderConfig::parse(raw, &DecoderDefaults::LLAMA)?;
        let (attention, mlp) = (config.attention_bias, config.mlp_bias);
        Ok(Description { qkv_bias: attention, output_bias: attention, mlp_bias: mlp, names: Names::LLAMA, config })
    },
};
