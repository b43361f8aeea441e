//! SmolLM3. Semantics: transformers' `modeling_smollm3.py`.

use super::{Description, Family, Head, Task};
use crate::config::{TransformerConfig, TransformerDefaults};

const DEFAULTS: TransformerDefaults = TransformerDefaults {
    vocab_size: 128_256,
    hidden_size: 2048,
    num_hidden_layers: 36,
    num_attention_heads: 16,
    num_key_value_heads: Some(4),
    max_position_embeddings: 32_768,
    rope_theta: 2_000_000.0,
    tie_word_embeddings: true,
    bos_token_id: Some(128_000),
    eos_token_id: Some(128_001),
    pad_token_id: Some(128_004),
    ..TransformerDefaults::LLAMA
};

/// `SmolLM3ForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "smollm3",
    classes: &[(Task::Base, "SmolLM3Model"), (Task::CausalLm, "SmolLM3ForCausalLM")],
    own_keys: &["no_rope_layers", "no_rope_layer_interval", "use_sliding_window"],
    describe: |raw| {
        let config = TransformerConfig::parse(raw, &DEFAULTS)?;
        let (fields, layers) = (raw.fields(), config.num_hidden_layers);
        let interval = fields.count("no_rope_layer_interval")?.unwrap_or(4);
        let every = || (1..=layers).map(|layer| !layer.is_multiple_of(interval)).collect();
        // In spite of its name it is 1 where positions are rotated.
        let rotated: Vec<bool> = fields.switches("no_rope_layers", layers)?.unwrap_or_else(every);
        let on = fields.flag("use_sliding_window")?.unwrap_or(false);
        // The switch means nothing to layers whose types are named.
        let window = TransformerConfig::sliding_window(raw, None)?;
        let slides = |layer| on && window.is_some() && rotated.get(layer) == Some(&false);
        let windows = config.windows(raw, window, slides)?;
        let ropes = rotated.into_iter().map(|rotated| rotated.then_some(0)).collect();
        Ok(Description { windows, ropes, ..Description::llama(config) })
    },
    head: Head::of_decoder,
};
