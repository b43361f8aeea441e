//! GPT-NeoX and Pythia. Semantics: transformers' `modeling_gpt_neox.py`.

use super::{Description, Family, Head, Names, Task};
use crate::config::{RopeKeys, TransformerConfig, TransformerDefaults};

const DEFAULTS: TransformerDefaults = TransformerDefaults {
    vocab_size: 50_432,
    hidden_size: 6144,
    intermediate_size: ("intermediate_size", Some(24_576)),
    num_hidden_layers: 44,
    num_attention_heads: 64,
    own_heads: false,
    norm_eps: ("layer_norm_eps", 1e-5),
    hidden_act: ("hidden_act", "gelu"),
    rope_keys: RopeKeys { theta: "rotary_emb_base", partial_factor: "rotary_pct", ..RopeKeys::LLAMA },
    partial_rotary: true,
    partial_rotary_factor: 0.25,
    bos_token_id: Some(0),
    eos_token_id: Some(2),
    ..TransformerDefaults::LLAMA
};

const NAMES: Names = Names {
    base: "gpt_neox",
    embedding: "embed_in",
    last_norm: Some("final_layer_norm"),
    renamed: &[("embed_out", "lm_head")],
    // Masks, which older checkpoints have as tensors.
    ignored: &["attention.bias", "attention.masked_bias", "rotary_emb.inv_freq"],
    qkv: &["attention.query_key_value"],
    output: "attention.dense",
    gate_up: &["mlp.dense_h_to_4h"],
    down: "mlp.dense_4h_to_h",
    ..Names::LLAMA
};

/// `GPTNeoXForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "gpt_neox",
    classes: &[(Task::Base, "GPTNeoXModel"), (Task::CausalLm, "GPTNeoXForCausalLM")],
    own_keys: &["layer_norm_eps", "rotary_pct", "rotary_emb_base", "use_parallel_residual"],
    describe: |raw| {
        let config = TransformerConfig::parse(raw, &DEFAULTS)?;
        let fields = raw.fields();
        let attention_bias = fields.flag("attention_bias")?.unwrap_or(true);
        Ok(Description {
            qkv_bias: attention_bias,
            output_bias: attention_bias,
            mlp_bias: true,
            gated: false,
            parallel: fields.flag("use_parallel_residual")?.unwrap_or(true),
            layer_norms: true,
            qkv_by_head: true,
            names: NAMES,
            padding_row: None,
            ..Description::llama(config)
        })
    },
    head: Head::of_decoder,
};
