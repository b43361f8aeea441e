//! Helium. Semantics: transformers' `modeling_helium.py`.

use super::{Description, Family, Head, Task};
use crate::config::{TransformerConfig, TransformerDefaults};

const DEFAULTS: TransformerDefaults = TransformerDefaults {
    vocab_size: 48_000,
    hidden_size: 2560,
    intermediate_size: ("intermediate_size", Some(7040)),
    num_hidden_layers: 24,
    num_attention_heads: 20,
    num_key_value_heads: Some(20),
    head_dim: Some(128),
    max_position_embeddings: 4096,
    norm_eps: ("rms_norm_eps", 1e-8),
    rope_theta: 100_000.0,
    pad_token_id: Some(3),
    ..TransformerDefaults::LLAMA
};

/// `HeliumForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "helium",
    classes: &[(Task::Base, "HeliumModel"), (Task::CausalLm, "HeliumForCausalLM")],
    own_keys: &[],
    describe: |raw| {
        let config = TransformerConfig::parse(raw, &DEFAULTS)?;
        // The attention's output never has a bias.
        Ok(Description { output_bias: false, rotates_neighbours: true, ..Description::llama(config) })
    },
    head: Head::of_decoder,
};
