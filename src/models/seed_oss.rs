//! ByteDance's Seed-OSS. Semantics: transformers' `modeling_seed_oss.py`.

use super::{Description, Family, Head, Task};
use crate::config::{TransformerConfig, TransformerDefaults};

const DEFAULTS: TransformerDefaults = TransformerDefaults {
    vocab_size: 155_136,
    intermediate_size: ("intermediate_size", Some(27_648)),
    num_hidden_layers: 64,
    num_attention_heads: 80,
    num_key_value_heads: Some(8),
    head_dim: Some(128),
    max_position_embeddings: 524_288,
    bos_token_id: Some(0),
    pad_token_id: Some(1),
    ..TransformerDefaults::LLAMA
};

/// `SeedOssForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "seed_oss",
    classes: &[(Task::Base, "SeedOssModel"), (Task::CausalLm, "SeedOssForCausalLM")],
    own_keys: &["attention_out_bias"],
    describe: |raw| {
        let config = TransformerConfig::parse(raw, &DEFAULTS)?;
        let fields = raw.fields();
        Ok(Description {
            qkv_bias: fields.flag("attention_bias")?.unwrap_or(true),
            output_bias: fields.flag("attention_out_bias")?.unwrap_or(false),
            ..Description::llama(config)
        })
    },
    head: Head::of_decoder,
};
