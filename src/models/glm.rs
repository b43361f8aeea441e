//! GLM and GLM-4. Semantics: transformers' `modeling_glm.py` and `modeling_glm4.py`.

use super::{Description, Family, Head, Names, Task};
use crate::config::{ConfigError, ModelConfig, TransformerConfig, TransformerDefaults};

const DEFAULTS: TransformerDefaults = TransformerDefaults {
    vocab_size: 151_552,
    intermediate_size: ("intermediate_size", Some(13_696)),
    num_hidden_layers: 40,
    num_key_value_heads: Some(2),
    head_dim: Some(128),
    max_position_embeddings: 131_072,
    norm_eps: ("rms_norm_eps", 1.5625e-7),
    partial_rotary: true,
    partial_rotary_factor: 0.5,
    bos_token_id: None,
    eos_token_id: Some(151_329),
    pad_token_id: Some(151_329),
    ..TransformerDefaults::LLAMA
};

const NAMES: Names = Names { gate_up: &["mlp.gate_up_proj"], ..Names::LLAMA };

/// What both have in common.
fn describe(raw: &ModelConfig, names: Names) -> Result<Description, ConfigError> {
    let mut config = TransformerConfig::parse(raw, &DEFAULTS)?;
    // One that is null is so many, too.
    if config.special.eos.is_empty() || !raw.fields().has("eos_token_id") {
        config.special.eos = vec![151_329, 151_336, 151_338];
    }
    Ok(Description {
        qkv_bias: raw.fields().flag("attention_bias")?.unwrap_or(true),
        output_bias: false,
        mlp_bias: false,
        rotates_neighbours: true,
        names,
        ..Description::llama(config)
    })
}

/// `GlmForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "glm",
    classes: &[(Task::Base, "GlmModel"), (Task::CausalLm, "GlmForCausalLM")],
    own_keys: &[],
    describe: |raw| describe(raw, NAMES),
    head: Head::of_decoder,
};

/// `Glm4ForCausalLM` and its base: what comes out of each half of a layer is normalised too.
pub const FOURTH: Family = Family {
    model_type: "glm4",
    classes: &[(Task::Base, "Glm4Model"), (Task::CausalLm, "Glm4ForCausalLM")],
    own_keys: &[],
    describe: |raw| {
        describe(
            raw,
            Names { output_norm: Some("post_self_attn_layernorm"), down_norm: Some("post_mlp_layernorm"), ..NAMES },
        )
    },
    head: Head::of_decoder,
};
