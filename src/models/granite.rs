//! Granite. Semantics: transformers' `modeling_granite.py` and, of Granite 4 without experts and Mamba's layers,
//! `modeling_granitemoehybrid.py`.

use super::{Description, Family, Head, Names, Task};
use crate::config::{ConfigError, ModelConfig, TransformerConfig, TransformerDefaults};

/// What all have in common.
fn describe(raw: &ModelConfig, config: TransformerConfig) -> Result<Description, ConfigError> {
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
}

/// `GraniteForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "granite",
    classes: &[(Task::Base, "GraniteModel"), (Task::CausalLm, "GraniteForCausalLM")],
    own_keys: &["embedding_multiplier", "attention_multiplier", "residual_multiplier", "logits_scaling"],
    describe: |raw| describe(raw, TransformerConfig::parse(raw, &TransformerDefaults::LLAMA)?),
    head: Head::of_decoder,
};

const HYBRID_DEFAULTS: TransformerDefaults =
    TransformerDefaults { intermediate_size: ("shared_intermediate_size", Some(1024)), ..TransformerDefaults::LLAMA };

const HYBRID_NAMES: Names =
    Names { gate_up: &["shared_mlp.input_linear"], down: "shared_mlp.output_linear", ..Names::LLAMA };

/// `GraniteMoeHybridForCausalLM` and its base, where neither a layer of Mamba's nor experts are in it.
pub const HYBRID: Family = Family {
    model_type: "granitemoehybrid",
    classes: &[(Task::Base, "GraniteMoeHybridModel"), (Task::CausalLm, "GraniteMoeHybridForCausalLM")],
    own_keys: &[
        "embedding_multiplier",
        "attention_multiplier",
        "residual_multiplier",
        "logits_scaling",
        "shared_intermediate_size",
        "position_embedding_type",
        "num_local_experts",
    ],
    describe: |raw| {
        let config = TransformerConfig { mlp_bias: false, ..TransformerConfig::parse(raw, &HYBRID_DEFAULTS)? };
        let (fields, layers) = (raw.fields(), config.num_hidden_layers);
        let types = fields.texts("layer_types", layers)?;
        let attends = |kind: &&str| matches!(*kind, "attention" | "full_attention");
        if !types.is_some_and(|types| types.iter().all(attends)) {
            return Err(fields.unsupported("layer_types", "attention in every layer"));
        }
        if fields.count_or_zero("num_local_experts")? != Some(0) {
            return Err(fields.unsupported("num_local_experts", "0"));
        }
        let rotates = fields.text("position_embedding_type")? == Some("rope");
        let ropes = vec![rotates.then_some(0); layers];
        Ok(Description { names: HYBRID_NAMES, ropes, ..describe(raw, config)? })
    },
    head: Head::of_decoder,
};
