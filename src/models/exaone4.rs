//! EXAONE 4. Semantics: transformers' `modeling_exaone4.py`.

use super::{Description, Family, Head, Task, olmo2};
use crate::config::{TransformerConfig, TransformerDefaults};

const DEFAULTS: TransformerDefaults = TransformerDefaults {
    vocab_size: 102_400,
    intermediate_size: ("intermediate_size", Some(16_384)),
    num_key_value_heads: Some(32),
    norm_eps: ("rms_norm_eps", 1e-5),
    bos_token_id: Some(0),
    ..TransformerDefaults::LLAMA
};

/// `Exaone4ForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "exaone4",
    classes: &[(Task::Base, "Exaone4Model"), (Task::CausalLm, "Exaone4ForCausalLM")],
    own_keys: &["sliding_window_pattern"],
    describe: |raw| {
        let config = TransformerConfig::parse(raw, &DEFAULTS)?;
        let window = TransformerConfig::sliding_window(raw, Some(4096))?;
        // Some write it in letters, and the layers' types beside it, which then count.
        let pattern = raw.fields().get("sliding_window_pattern").and_then(serde_json::Value::as_u64);
        let slides = |layer: usize| window.is_some() && !(layer as u64 + 1).is_multiple_of(pattern.unwrap_or(4).max(1));
        let windows = config.windows(raw, window, slides)?;
        // Where some layers have windows, the others don't know positions.
        let ropes = windows.iter().map(|own| (window.is_none() || own.is_some()).then_some(0)).collect();
        Ok(Description {
            qkv_bias: false,
            output_bias: false,
            mlp_bias: false,
            names: olmo2::NAMES,
            windows,
            ropes,
            ..Description::llama(config)
        })
    },
    head: Head::of_decoder,
};
