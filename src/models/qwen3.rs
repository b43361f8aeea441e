//! Qwen3. Semantics: transformers' `modeling_qwen3.py`.

use super::{Description, Family, Head, Names, Task, qwen2};
use crate::config::{TransformerConfig, TransformerDefaults};

const DEFAULTS: TransformerDefaults = TransformerDefaults {
    vocab_size: 151_936,
    intermediate_size: ("intermediate_size", Some(22_016)),
    num_key_value_heads: Some(32),
    head_dim: Some(128),
    max_position_embeddings: 32_768,
    bos_token_id: None,
    eos_token_id: None,
    ..TransformerDefaults::LLAMA
};

/// `Qwen3ForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "qwen3",
    classes: &[(Task::Base, "Qwen3Model"), (Task::CausalLm, "Qwen3ForCausalLM")],
    own_keys: qwen2::KEYS,
    describe: |raw| {
        let config = TransformerConfig::parse(raw, &DEFAULTS)?;
        let windows = qwen2::windows(raw, &config)?;
        let names = Names::LLAMA.with_qk_norm();
        Ok(Description { mlp_bias: false, names, windows, ..Description::llama(config) })
    },
    head: Head::of_decoder,
};
