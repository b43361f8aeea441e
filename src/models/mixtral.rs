//! Mixtral. Semantics: transformers' `modeling_mixtral.py`.

use super::mixture::{Mixture, MixtureKeys, MixtureNames};
use super::{Description, Family, Head, Task};
use crate::config::{TransformerConfig, TransformerDefaults};

const DEFAULTS: TransformerDefaults = TransformerDefaults {
    intermediate_size: ("intermediate_size", Some(14_336)),
    num_key_value_heads: Some(8),
    max_position_embeddings: 4096 * 32,
    norm_eps: ("rms_norm_eps", 1e-5),
    rope_theta: 1_000_000.0,
    ..TransformerDefaults::LLAMA
};

const KEYS: MixtureKeys = MixtureKeys {
    experts: ("num_local_experts", 8),
    per_token: ("num_experts_per_tok", 2),
    width: None,
    aliases: &[("num_local_experts", "num_experts")],
};

const NAMES: MixtureNames = MixtureNames {
    router: "block_sparse_moe.gate",
    experts: "block_sparse_moe.experts",
    gate_up: &["w1", "w3"],
    down: "w2",
};

/// `MixtralForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "mixtral",
    classes: &[(Task::Base, "MixtralModel"), (Task::CausalLm, "MixtralForCausalLM")],
    own_keys: &["num_local_experts", "num_experts", "num_experts_per_tok"],
    describe: |raw| {
        let config = TransformerConfig::parse(raw, &DEFAULTS)?;
        let window = TransformerConfig::sliding_window(raw, None)?;
        let layers = vec![true; config.num_hidden_layers];
        let mixture = Some(Mixture::parse(raw, &config, KEYS, layers, true, NAMES)?);
        let windows = vec![window; config.num_hidden_layers];
        let bare = Description { qkv_bias: false, output_bias: false, mlp_bias: false, ..Description::llama(config) };
        Ok(Description { windows, mixture, ..bare })
    },
    head: Head::of_decoder,
};
