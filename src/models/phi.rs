//! Phi-1, 1.5 and 2. Semantics: transformers' `modeling_phi.py`.

use super::head::Logits;
use super::{Description, Family, Head, Names, Task};
use crate::config::{TransformerConfig, TransformerDefaults};

const DEFAULTS: TransformerDefaults = TransformerDefaults {
    vocab_size: 51_200,
    hidden_size: 2048,
    intermediate_size: ("intermediate_size", Some(8192)),
    num_hidden_layers: 24,
    norm_eps: ("layer_norm_eps", 1e-5),
    hidden_act: ("hidden_act", "gelu_new"),
    partial_rotary: true,
    partial_rotary_factor: 0.5,
    ..TransformerDefaults::LLAMA
};

const NAMES: Names = Names {
    last_norm: Some("final_layernorm"),
    output: "self_attn.dense",
    gate_up: &["mlp.fc1"],
    down: "mlp.fc2",
    // It reads what attention reads.
    mlp_norm: None,
    ..Names::LLAMA
};

/// `PhiForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "phi",
    classes: &[(Task::Base, "PhiModel"), (Task::CausalLm, "PhiForCausalLM")],
    own_keys: &["layer_norm_eps", "qk_layernorm"],
    describe: |raw| {
        let config = TransformerConfig::parse(raw, &DEFAULTS)?;
        let fields = raw.fields();
        if fields.flag("qk_layernorm")? == Some(true) {
            return Err(fields.unsupported("qk_layernorm", "false: queries and keys have no LayerNorm"));
        }
        Ok(Description {
            qkv_bias: true,
            output_bias: true,
            mlp_bias: true,
            gated: false,
            parallel: true,
            layer_norms: true,
            names: NAMES,
            ..Description::llama(config)
        })
    },
    head: |raw, config, task| {
        let head = Head::of_decoder(raw, config, task)?;
        let biased = |logits: Logits| Logits { bias: Some("lm_head.bias"), ..logits };
        Ok(Head { logits: head.logits.map(biased), ..head })
    },
};
