//! ERNIE 4.5, those without experts. Semantics: transformers' `modeling_ernie4_5.py`.

use super::{Description, Family, Head, Task};
use crate::config::{TransformerConfig, TransformerDefaults};

const DEFAULTS: TransformerDefaults = TransformerDefaults {
    vocab_size: 103_424,
    hidden_size: 1024,
    intermediate_size: ("intermediate_size", Some(3072)),
    num_hidden_layers: 18,
    num_attention_heads: 16,
    num_key_value_heads: Some(2),
    head_dim: Some(128),
    max_position_embeddings: 131_072,
    norm_eps: ("rms_norm_eps", 1e-5),
    rope_theta: 500_000.0,
    tie_word_embeddings: true,
    pad_token_id: Some(0),
    ..TransformerDefaults::LLAMA
};

/// `Ernie4_5ForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "ernie4_5",
    classes: &[(Task::Base, "Ernie4_5Model"), (Task::CausalLm, "Ernie4_5ForCausalLM")],
    own_keys: &["use_bias"],
    describe: |raw| {
        let config = TransformerConfig::parse(raw, &DEFAULTS)?;
        let bias = raw.fields().flag("use_bias")?.unwrap_or(false);
        Ok(Description {
            qkv_bias: bias,
            output_bias: bias,
            mlp_bias: bias,
            rotates_neighbours: true,
            ..Description::llama(config)
        })
    },
    head: Head::of_decoder,
};
