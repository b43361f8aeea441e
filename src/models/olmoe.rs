//! OLMoE. Semantics: transformers' `modeling_olmoe.py`.

use super::mixture::{Mixture, MixtureKeys};
use super::{Description, Family, Head, Names, Task, qwen3_moe};
use crate::config::{TransformerConfig, TransformerDefaults};

const DEFAULTS: TransformerDefaults = TransformerDefaults {
    vocab_size: 50_304,
    hidden_size: 2048,
    intermediate_size: ("intermediate_size", Some(2048)),
    num_hidden_layers: 16,
    num_attention_heads: 16,
    max_position_embeddings: 4096,
    norm_eps: ("rms_norm_eps", 1e-5),
    bos_token_id: None,
    eos_token_id: Some(50_279),
    pad_token_id: Some(1),
    ..TransformerDefaults::LLAMA
};

const KEYS: MixtureKeys =
    MixtureKeys { experts: ("num_experts", 64), per_token: ("num_experts_per_tok", 8), width: None, ..qwen3_moe::KEYS };

/// `OlmoeForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "olmoe",
    classes: &[(Task::Base, "OlmoeModel"), (Task::CausalLm, "OlmoeForCausalLM")],
    own_keys: &["num_experts", "num_local_experts", "num_experts_per_tok", "norm_topk_prob", "clip_qkv"],
    describe: |raw| {
        let config = TransformerConfig::parse(raw, &DEFAULTS)?;
        let fields = raw.fields();
        if fields.get("clip_qkv").is_some() {
            return Err(fields.unsupported("clip_qkv", "null: queries, keys and values as they are"));
        }
        let normalised = fields.flag("norm_topk_prob")?.unwrap_or(false);
        let layers = vec![true; config.num_hidden_layers];
        let mixture = Some(Mixture::parse(raw, &config, KEYS, layers, normalised, qwen3_moe::NAMES)?);
        let names = Names::LLAMA.with_qk_norm();
        Ok(Description { mlp_bias: false, names, qk_norm_over_all: true, mixture, ..Description::llama(config) })
    },
    head: Head::of_decoder,
};
