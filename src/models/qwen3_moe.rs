//! Qwen3 with mixtures of experts. Semantics: transformers' `modeling_qwen3_moe.py`.

use super::mixture::{Mixture, MixtureKeys, MixtureNames};
use super::{Description, Family, Head, Names, Task};
use crate::config::{ConfigError, ModelConfig, TransformerConfig, TransformerDefaults};

const DEFAULTS: TransformerDefaults = TransformerDefaults {
    vocab_size: 151_936,
    hidden_size: 2048,
    intermediate_size: ("intermediate_size", Some(6144)),
    num_hidden_layers: 24,
    num_key_value_heads: Some(4),
    max_position_embeddings: 32_768,
    bos_token_id: None,
    eos_token_id: None,
    ..TransformerDefaults::LLAMA
};

pub(super) const KEYS: MixtureKeys = MixtureKeys {
    experts: ("num_experts", 128),
    per_token: ("num_experts_per_tok", 8),
    width: Some(("moe_intermediate_size", 768)),
    aliases: &[("num_experts", "num_local_experts")],
};

pub(super) const NAMES: MixtureNames =
    MixtureNames { router: "mlp.gate", experts: "mlp.experts", gate_up: &["gate_proj", "up_proj"], down: "down_proj" };

/// Which layers have experts: each `decoder_sparse_step`th, but for those that are named.
fn sparse(raw: &ModelConfig, layers: usize) -> Result<Vec<bool>, ConfigError> {
    let fields = raw.fields();
    let step = fields.count("decoder_sparse_step")?.unwrap_or(1);
    let dense = fields.counts_or_zero("mlp_only_layers")?.unwrap_or_default();
    Ok((0..layers).map(|layer| (layer + 1).is_multiple_of(step) && !dense.contains(&layer)).collect())
}

/// `Qwen3MoeForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "qwen3_moe",
    classes: &[(Task::Base, "Qwen3MoeModel"), (Task::CausalLm, "Qwen3MoeForCausalLM")],
    own_keys: &[
        "num_experts",
        "num_local_experts",
        "num_experts_per_tok",
        "moe_intermediate_size",
        "norm_topk_prob",
        "decoder_sparse_step",
        "mlp_only_layers",
        "use_sliding_window",
    ],
    describe: |raw| {
        let config = TransformerConfig::parse(raw, &DEFAULTS)?;
        let fields = raw.fields();
        let on = fields.flag("use_sliding_window")?.unwrap_or(false);
        let window = TransformerConfig::sliding_window(raw, Some(4096))?.filter(|_| on);
        let normalised = fields.flag("norm_topk_prob")?.unwrap_or(false);
        let layers = sparse(raw, config.num_hidden_layers)?;
        let mixture = Some(Mixture::parse(raw, &config, KEYS, layers, normalised, NAMES)?);
        Ok(Description {
            mlp_bias: false,
            names: Names::LLAMA.with_qk_norm(),
            // It has no layers of other types, whatever the config says.
            windows: vec![window; config.num_hidden_layers],
            mixture,
            ..Description::llama(config)
        })
    },
    head: Head::of_decoder,
};
