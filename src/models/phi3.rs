//! Phi-3 and Phi-4. Semantics: transformers' `modeling_phi3.py`.

use super::{Description, Family, Head, Names, Task};
use crate::config::{TransformerConfig, TransformerDefaults};

const DEFAULTS: TransformerDefaults = TransformerDefaults {
    vocab_size: 32_064,
    hidden_size: 3072,
    intermediate_size: ("intermediate_size", Some(8192)),
    max_position_embeddings: 4096,
    norm_eps: ("rms_norm_eps", 1e-5),
    eos_token_id: Some(32_000),
    pad_token_id: Some(32_000),
    partial_rotary: true,
    ..TransformerDefaults::LLAMA
};

const NAMES: Names = Names { qkv: &["self_attn.qkv_proj"], gate_up: &["mlp.gate_up_proj"], ..Names::LLAMA };

/// `Phi3ForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "phi3",
    classes: &[(Task::Base, "Phi3Model"), (Task::CausalLm, "Phi3ForCausalLM")],
    own_keys: &["original_max_position_embeddings"],
    describe: |raw| {
        let config = TransformerConfig::parse(raw, &DEFAULTS)?;
        let windows = vec![TransformerConfig::sliding_window(raw, None)?; config.num_hidden_layers];
        Ok(Description {
            qkv_bias: false,
            output_bias: false,
            mlp_bias: false,
            names: NAMES,
            windows,
            ..Description::llama(config)
        })
    },
    head: Head::of_decoder,
};
