//! Granite. Semantics: transformers' `modeling_granite.py`.

use super::{Description, Family, Head, Task};
use crate::config::{TransformerConfig, TransformerDefaults};

/// `GraniteForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "granite",
    classes: &[(Task::Base, "GraniteModel"), (Task::CausalLm, "GraniteForCausalLM")],
    own_keys: &["embedding_multiplier", "attention_multiplier", "residual_multiplier", "logits_scaling"],
    describe: |raw| {
        let config = TransformerConfig::parse(raw, &TransformerDefaults::LLAMA)?;
        let fields = raw.fields();
        let times = |key: &str| Ok(fields.positive(key)?.unwrap_or(1.0) as f32);
        let residual_scale = times("residual_multiplier")?;
        if residual_scale != 1.0 && (config.attention_bias || config.mlp_bias) {
            return Err(fields.unsupported("residual_multiplier", "1 where attention_bias or mlp_bias is true"));
        }
        Ok(Description {
            embedding_scale: times("embedding_multiplier")?,
            scale: times("attention_multiplier")?,
            logit_scale: times("logits_scaling")?.recip(),
            residual_scale,
            ..Description::llama(config)
        })
    },
    head: Head::of_decoder,
};
