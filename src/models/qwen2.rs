//! Qwen2 and Qwen2.5. Semantics: transformers' `modeling_qwen2.py`.

use super::{Description, Family, Names};
use crate::config::{DecoderConfig, DecoderDefaults};

const DEFAULTS: DecoderDefaults = DecoderDefaults {
    vocab_size: 151_936,
    intermediate_size: 22_016,
    num_key_value_heads: Some(32),
    max_position_embeddings: 32_768,
    bos_token_id: None,
    eos_token_id: None,
    ..DecoderDefaults::LLAMA
};

/// `Qwen2ForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "qwen2",
    class_prefix: "Qwen2",
    config_keys: DecoderConfig::KEYS,
    describe: |raw| {
        if raw.fields().flag("use_sliding_window")? == Some(true) {
            return Err(raw.fields().unsupported("use_sliding_window", "false"));
        }
        let config = DecoderConfig::parse(raw, &DEFAULTS)?;
        Ok(Description { qkv_bias: true, output_bias: false, mlp_bias: false, names: Names::LLAMA, config })
    },
};
