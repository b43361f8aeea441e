//! Gemma 2. Semantics: transformers' `modeling_gemma2.py`.

use super::{Description, Family, Head, Names, Task};
use crate::config::{ConfigError, ModelConfig, TransformerConfig, TransformerDefaults};

/// `Gemma2Config`'s.
pub(super) const DEFAULTS: TransformerDefaults = TransformerDefaults {
    vocab_size: 256_000,
    hidden_size: 2304,
    intermediate_size: ("intermediate_size", Some(9216)),
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
    ..TransformerDefaults::LLAMA
};

/// A soft cap: the config's, where it names one, be it null.
fn cap(raw: &ModelConfig, key: &str, default: Option<f64>) -> Result<Option<f32>, ConfigError> {
    let fields = raw.fields();
    let cap = if fields.has(key) { fields.positive(key)? } else { default };
    Ok(cap.map(|cap| cap as f32))
}

/// Whether tokens see those behind them, as EmbeddingGemma's do.
pub(super) fn is_bidirectional(raw: &ModelConfig) -> Result<bool, ConfigError> {
    Ok(raw.fields().flag("use_bidirectional_attention")?.unwrap_or(false))
}

/// That they don't.
pub(super) fn only_causal(raw: &ModelConfig) -> Result<(), ConfigError> {
    let refused = || {
        raw.fields().unsupported("use_bidirectional_attention", "false: what writes texts sees what is before alone")
    };
    if is_bidirectional(raw)? { Err(refused()) } else { Ok(()) }
}

/// What Gemma 2 and 3 have in common; `logits_cap` is for logits, where the config says nothing.
pub(super) fn describe(
    raw: &ModelConfig,
    config: TransformerConfig,
    logits_cap: Option<f64>,
) -> Result<Description, ConfigError> {
    let fields = raw.fields();
    let scalar = fields.positive("query_pre_attn_scalar")?.unwrap_or(256.0);
    Ok(Description {
        mlp_bias: false,
        names: Names::GEMMA,
        scale: scalar.sqrt().recip() as f32,
        final_logit_softcapping: cap(raw, "final_logit_softcapping", logits_cap)?,
        embedding_scale: (config.hidden_size as f32).sqrt(),
        norms_from_one: true,
        ..Description::llama(config)
    })
}

/// `Gemma2ForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "gemma2",
    classes: &[(Task::Base, "Gemma2Model"), (Task::CausalLm, "Gemma2ForCausalLM")],
    own_keys: &["query_pre_attn_scalar", "attn_logit_softcapping", "final_logit_softcapping"],
    describe: |raw| {
        only_causal(raw)?;
        let config = TransformerConfig::parse(raw, &DEFAULTS)?;
        let window = TransformerConfig::sliding_window(raw, Some(4096))?;
        let windows = config.windows(raw, window, |layer| layer.is_multiple_of(2))?;
        let attn_logit_softcapping = cap(raw, "attn_logit_softcapping", Some(50.0))?;
        Ok(Description { windows, attn_logit_softcapping, ..describe(raw, config, Some(30.0))? })
    },
    head: Head::of_decoder,
};
