//! GPT-2. Semantics: transformers' `modeling_gpt2.py`.

use super::{Description, Family, Head, Names, Task};
use crate::config::{TransformerConfig, TransformerDefaults};

const DEFAULTS: TransformerDefaults = TransformerDefaults {
    vocab_size: 50_257,
    hidden_size: 768,
    intermediate_size: ("n_inner", None),
    num_hidden_layers: 12,
    num_attention_heads: 12,
    own_heads: false,
    max_position_embeddings: 1024,
    norm_eps: ("layer_norm_epsilon", 1e-5),
    hidden_act: ("activation_function", "gelu_new"),
    aliases: &[
        ("hidden_size", "n_embd"),
        ("max_position_embeddings", "n_positions"),
        ("num_attention_heads", "n_head"),
        ("num_hidden_layers", "n_layer"),
    ],
    tie_word_embeddings: true,
    bos_token_id: Some(50_256),
    eos_token_id: Some(50_256),
    ..TransformerDefaults::LLAMA
};

const NAMES: Names = Names {
    base: "transformer",
    embedding: "wte",
    positions: Some("wpe"),
    layers: "h",
    last_norm: Some("ln_f"),
    // Masks, which older checkpoints have as tensors.
    ignored: &["attn.bias", "crossattention.bias", "rotary_emb.inv_freq"],
    qkv: &["attn.c_attn"],
    output: "attn.c_proj",
    gate_up: &["mlp.c_fc"],
    down: "mlp.c_proj",
    input_norm: Some("ln_1"),
    mlp_norm: Some("ln_2"),
    ..Names::LLAMA
};

/// `GPT2LMHeadModel` and its base.
pub const FAMILY: Family = Family {
    model_type: "gpt2",
    classes: &[(Task::Base, "GPT2Model"), (Task::CausalLm, "GPT2LMHeadModel")],
    own_keys: &[
        "n_embd",
        "n_positions",
        "n_head",
        "n_layer",
        "n_inner",
        "layer_norm_epsilon",
        "activation_function",
        "scale_attn_weights",
        "scale_attn_by_inverse_layer_idx",
        // Scores are float32 here in any case.
        "reorder_and_upcast_attn",
        "add_cross_attention",
    ],
    describe: |raw| {
        let config = TransformerConfig::parse(raw, &DEFAULTS)?;
        config.positions_fit(raw, &DEFAULTS)?;
        let fields = raw.fields();
        if fields.flag("add_cross_attention")? == Some(true) {
            return Err(fields.unsupported("add_cross_attention", "false: a decoder has no encoder to attend to"));
        }
        fields.flag("reorder_and_upcast_attn")?;
        let llama = Description::llama(config);
        Ok(Description {
            qkv_bias: true,
            output_bias: true,
            mlp_bias: true,
            gated: false,
            layer_norms: true,
            transposed: true,
            names: NAMES,
            ropes: vec![None; llama.config.num_hidden_layers],
            scale: if fields.flag("scale_attn_weights")? == Some(false) { 1.0 } else { llama.scale },
            scale_by_layer: fields.flag("scale_attn_by_inverse_layer_idx")?.unwrap_or(false),
            padding_row: None,
            output_std: 1.0 / (2.0 * llama.config.num_hidden_layers as f32).sqrt(),
            ..llama
        })
    },
    head: Head::of_decoder,
};
