//! Cohere's Command R and Aya: attention and feed-forward layer beside each other behind one norm. Semantics: transformers'
//! `modeling_cohere.py` and `modeling_cohere2.py`.

use super::{Description, Family, Head, Names, Task};
use crate::config::{ConfigError, ModelConfig, TransformerConfig, TransformerDefaults};

const DEFAULTS: TransformerDefaults = TransformerDefaults {
    vocab_size: 256_000,
    hidden_size: 8192,
    intermediate_size: ("intermediate_size", Some(22_528)),
    num_hidden_layers: 40,
    num_attention_heads: 64,
    max_position_embeddings: 8192,
    norm_eps: ("layer_norm_eps", 1e-5),
    rope_theta: 500_000.0,
    tie_word_embeddings: true,
    bos_token_id: Some(5),
    eos_token_id: Some(255_001),
    pad_token_id: Some(0),
    ..TransformerDefaults::LLAMA
};

const NAMES: Names = Names { mlp_norm: None, ..Names::LLAMA };

/// What both have in common.
fn describe(raw: &ModelConfig, config: TransformerConfig) -> Result<Description, ConfigError> {
    let fields = raw.fields();
    if fields.flag("use_qk_norm")?.unwrap_or(false) {
        return Err(fields.unsupported("use_qk_norm", "false: queries and keys have no LayerNorm"));
    }
    Ok(Description {
        mlp_bias: false,
        parallel: true,
        layer_norms: true,
        norm_bias: false,
        rotates_neighbours: true,
        names: NAMES,
        logit_scale: fields.positive("logit_scale")?.unwrap_or(0.0625) as f32,
        ..Description::llama(config)
    })
}

/// `CohereForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "cohere",
    classes: &[(Task::Base, "CohereModel"), (Task::CausalLm, "CohereForCausalLM")],
    own_keys: &["layer_norm_eps", "logit_scale", "use_qk_norm"],
    describe: |raw| describe(raw, TransformerConfig::parse(raw, &DEFAULTS)?),
    head: Head::of_decoder,
};

/// `Cohere2ForCausalLM` and its base: most layers have a window, and those alone know positions.
pub const SECOND: Family = Family {
    model_type: "cohere2",
    classes: &[(Task::Base, "Cohere2Model"), (Task::CausalLm, "Cohere2ForCausalLM")],
    own_keys: &["layer_norm_eps", "logit_scale", "use_qk_norm", "sliding_window_pattern"],
    describe: |raw| {
        let config = TransformerConfig::parse(raw, &TransformerDefaults { rope_theta: 10_000.0, ..DEFAULTS })?;
        let pattern = raw.fields().count("sliding_window_pattern")?.unwrap_or(4);
        let window = TransformerConfig::sliding_window(raw, Some(4096))?;
        let windows = config.windows(raw, window, |layer| !(layer + 1).is_multiple_of(pattern))?;
        let ropes = windows.iter().map(|window| window.map(|_| 0)).collect();
        Ok(Description { windows, ropes, ..describe(raw, config)? })
    },
    head: Head::of_decoder,
};
