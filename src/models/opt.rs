//! OPT. Semantics: transformers' `modeling_opt.py`.

use super::{Description, Family, Head, Names, Task};
use crate::config::{TransformerConfig, TransformerDefaults};

const DEFAULTS: TransformerDefaults = TransformerDefaults {
    vocab_size: 50_272,
    hidden_size: 768,
    intermediate_size: ("ffn_dim", Some(3072)),
    num_hidden_layers: 12,
    num_attention_heads: 12,
    own_heads: false,
    norm_eps: ("", 1e-5),
    hidden_act: ("activation_function", "relu"),
    aliases: &[("initializer_range", "init_std")],
    tie_word_embeddings: true,
    bos_token_id: Some(2),
    eos_token_id: Some(2),
    pad_token_id: Some(1),
    ..TransformerDefaults::LLAMA
};

const NAMES: Names = Names {
    base: "model",
    embedding: "decoder.embed_tokens",
    positions: Some("decoder.embed_positions"),
    layers: "decoder.layers",
    last_norm: Some("decoder.final_layer_norm"),
    output: "self_attn.out_proj",
    gate_up: &["fc1"],
    down: "fc2",
    input_norm: Some("self_attn_layer_norm"),
    mlp_norm: Some("final_layer_norm"),
    ..Names::LLAMA
};

/// The same with the norms behind what they are before elsewhere, and none behind the layers.
const NORMS_BEHIND: Names = Names {
    last_norm: None,
    input_norm: None,
    attended_norm: Some("self_attn_layer_norm"),
    mlp_norm: None,
    fed_norm: Some("final_layer_norm"),
    ..NAMES
};

/// `OPTForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "opt",
    classes: &[(Task::Base, "OPTModel"), (Task::CausalLm, "OPTForCausalLM")],
    own_keys: &[
        "ffn_dim",
        "activation_function",
        "init_std",
        "do_layer_norm_before",
        "_remove_final_layer_norm",
        "word_embed_proj_dim",
        "enable_bias",
        "layer_norm_elementwise_affine",
    ],
    describe: |raw| {
        let config = TransformerConfig::parse(raw, &DEFAULTS)?;
        config.positions_fit(raw, &DEFAULTS)?;
        let fields = raw.fields();
        if fields.count("word_embed_proj_dim")?.is_some_and(|width| width != config.hidden_size) {
            return Err(fields.unsupported("word_embed_proj_dim", "the hidden_size: embeddings are not projected"));
        }
        if fields.flag("layer_norm_elementwise_affine")? == Some(false) {
            return Err(fields.unsupported("layer_norm_elementwise_affine", "true: norms have weights"));
        }
        let bias = fields.flag("enable_bias")?.unwrap_or(true);
        let names = match fields.flag("do_layer_norm_before")? {
            Some(false) => NORMS_BEHIND,
            _ if fields.flag("_remove_final_layer_norm")? == Some(true) => Names { last_norm: None, ..NAMES },
            _ => NAMES,
        };
        Ok(Description {
            qkv_bias: bias,
            output_bias: bias,
            mlp_bias: bias,
            gated: false,
            layer_norms: true,
            first_position: 2,
            names,
            ropes: vec![None; config.num_hidden_layers],
            ..Description::llama(config)
        })
    },
    head: Head::of_decoder,
};
