//! Gemma 2. Semantics: transformers' `modeling_gemma2.py`.

use super::{Description, Family, Names};
use crate::config::{ConfigError, DecoderConfig, DecoderDefaults, ModelConfig};

/// `Gemma2Config`'s.
pub(super) const DEFAULTS: DecoderDefaults = DecoderDefaults {
    vocab_size: 256_000,
    hidden_size: 2304,
    intermediate_size: 9216,
    num_hidden_layers: 26,
    num_attention_heads: 8,
    num_key_value_heads: Some(4),
    head_dim: Some(256),
    max_position_embeddings: 8192,
    hidden_act: ("hidden_activation", "gelu_pytorch_tanh"),
    tie_word_embeddings: true,
    bos_token_id: Some(2),
    eos_token_id: Some(1),
    pad_token_id: Some(0),
    ..DecoderDefaults::LLAMA
};

/// What Gemma 2 and 3 have in common, with soft caps where the config names them or `caps` (of scores, of logits) does.
pub(super) fn describe(
    raw: &ModelConfig,
    config: DecoderConfig,
    caps: [Option<f64>; 2],
) -> Result<Description, ConfigError> {
    let fields = raw.fields();
    if fields.flag("use_bidirectional_attention")? == Some(true) {
        return Err(fields.unsupported("use_bidirectional_attention", "false: a decoder's attention is causal"));
    }
    let cap = |key, default: Option<f64>| -> Result<Option<f32>, ConfigError> {
        Ok(if fields.has(key) { fields.positive(key)? } else { default }.map(|cap| cap as f32))
    };
    let scalar = fields.positive("query_pre_attn_scalar")?.unwrap_or(256.0);
    Ok(Description {
        mlp_bias: false,
        names: Names::GEMMA,
        scale: 1.0 / scalar.sqrt() as f32,
        attn_logit_softcapping: cap("attn_logit_softcapping", caps[0])?,
        final_logit_softcapping: cap("final_logit_softcapping", caps[1])?,
        embedding_scale: (config.hidden_size as f32).sqrt(),
        norms_from_one: true,
        ..Description::llama(config)
    })
}

/// `Gemma2ForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "gemma2",
    classes: ["Gemma2Model", "Gemma2ForCausalLM"],
    own_keys: &["query_pre_attn_scalar", "attn_logit_softcapping", "final_logit_softcapping"],
    describe: |raw| {
        let config = DecoderConfig::parse(raw, &DEFAULTS)?;
        let window = DecoderConfig::sliding_window(raw, Some(4096))?;
        let windows = config.windows(raw, window, |layer| layer.is_multiple_of(2))?;
        Ok(Description { windows, ..describe(raw, config, [Some(50.0), Some(30.0)])? })
    },
};
