//! Mistral. Semantics: transformers' `modeling_mistral.py`.

use super::{Description, Family, Head, Task};
use crate::config::{TransformerConfig, TransformerDefaults};

const DEFAULTS: TransformerDefaults = TransformerDefaults {
    intermediate_size: ("intermediate_size", Some(14_336)),
    num_key_value_heads: Some(8),
    max_position_embeddings: 4096 * 32,
    ..TransformerDefaults::LLAMA
};

/// `MistralForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "mistral",
    classes: &[(Task::Base, "MistralModel"), (Task::CausalLm, "MistralForCausalLM")],
    own_keys: &[],
    describe: |raw| {
        let config = TransformerConfig::parse(raw, &DEFAULTS)?;
        // It has no layers of other types, whatever the config says.
        let window = TransformerConfig::sliding_window(raw, Some(4096))?;
        let windows = vec![window; config.num_hidden_layers];
        Ok(Description { qkv_bias: false, output_bias: false, mlp_bias: false, windows, ..Description::llama(config) })
    },
    head: Head::of_decoder,
};
