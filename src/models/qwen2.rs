//! Qwen2 and Qwen2.5. Semantics: transformers' `modeling_qwen2.py`.

use super::{Description, Family, Head, Task};
use crate::config::{ConfigError, ModelConfig, TransformerConfig, TransformerDefaults};

const DEFAULTS: TransformerDefaults = TransformerDefaults {
    vocab_size: 151_936,
    intermediate_size: ("intermediate_size", Some(22_016)),
    num_key_value_heads: Some(32),
    max_position_embeddings: 32_768,
    bos_token_id: None,
    eos_token_id: None,
    ..TransformerDefaults::LLAMA
};

/// Qwen's keys beyond those of all decoders.
pub(super) const KEYS: &[&str] = &["use_sliding_window", "max_window_layers"];

/// Which layers have a window: none, unless it is switched on; then those from `max_window_layers` on.
pub(super) fn windows(raw: &ModelConfig, config: &TransformerConfig) -> Result<Vec<Option<usize>>, ConfigError> {
    let fields = raw.fields();
    let on = fields.flag("use_sliding_window")?.unwrap_or(false);
    let window = TransformerConfig::sliding_window(raw, Some(4096))?.filter(|_| on);
    let first = fields.count_or_zero("max_window_layers")?.unwrap_or(28);
    config.windows(raw, window, |layer| window.is_some() && layer >= first)
}

/// `Qwen2ForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "qwen2",
    classes: &[(Task::Base, "Qwen2Model"), (Task::CausalLm, "Qwen2ForCausalLM")],
    own_keys: KEYS,
    describe: |raw| {
        let config = TransformerConfig::parse(raw, &DEFAULTS)?;
        let windows = windows(raw, &config)?;
        Ok(Description { qkv_bias: true, output_bias: false, mlp_bias: false, windows, ..Description::llama(config) })
    },
    head: Head::of_decoder,
};
