//! GPT-Neo. Semantics: transformers' `modeling_gpt_neo.py`.

use serde_json::Value;

use super::{Description, Family, Head, Names, Task};
use crate::config::{ConfigError, ModelConfig, TransformerConfig, TransformerDefaults};

const DEFAULTS: TransformerDefaults = TransformerDefaults {
    vocab_size: 50_257,
    hidden_size: 2048,
    intermediate_size: ("intermediate_size", None),
    num_hidden_layers: 24,
    num_attention_heads: 16,
    own_heads: false,
    norm_eps: ("layer_norm_epsilon", 1e-5),
    hidden_act: ("activation_function", "gelu_new"),
    aliases: &[("num_attention_heads", "num_heads"), ("num_hidden_layers", "num_layers")],
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
    ignored: &["attn.attention.bias", "attn.attention.masked_bias"],
    qkv: &["attn.attention.q_proj", "attn.attention.k_proj", "attn.attention.v_proj"],
    output: "attn.attention.out_proj",
    gate_up: &["mlp.c_fc"],
    down: "mlp.c_proj",
    input_norm: Some("ln_1"),
    mlp_norm: Some("ln_2"),
    ..Names::LLAMA
};

/// Of each layer, its window: `attention_types` has patterns, and how often each comes: `[[["global", "local"], 12]]`.
fn windows(raw: &ModelConfig, layers: usize) -> Result<Vec<Option<usize>>, ConfigError> {
    let fields = raw.fields();
    let window = fields.count("window_size")?.unwrap_or(256);
    let expected = || fields.invalid("attention_types", "patterns of \"global\" and \"local\" that come to all layers");
    let Some(value) = fields.get("attention_types").filter(|value| !value.is_null()) else {
        return Ok((0..layers).map(|layer| (layer % 2 == 1).then_some(window)).collect());
    };
    let mut windows = Vec::new();
    for part in value.as_array().ok_or_else(expected)? {
        let [Value::Array(pattern), times] = part.as_array().map(Vec::as_slice).unwrap_or_default() else {
            return Err(expected());
        };
        for _ in 0..times.as_u64().filter(|times| *times <= layers as u64).ok_or_else(expected)? {
            for kind in pattern {
                windows.push(match kind.as_str() {
                    Some("global") => None,
                    Some("local") => Some(window),
                    _ => return Err(expected()),
                });
            }
            if windows.len() > layers {
                return Err(expected());
            }
        }
    }
    if windows.len() == layers { Ok(windows) } else { Err(expected()) }
}

/// `GPTNeoForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "gpt_neo",
    classes: &[(Task::Base, "GPTNeoModel"), (Task::CausalLm, "GPTNeoForCausalLM")],
    own_keys: &[
        "num_layers",
        "num_heads",
        "layer_norm_epsilon",
        "activation_function",
        "attention_types",
        "window_size",
    ],
    describe: |raw| {
        let config = TransformerConfig::parse(raw, &DEFAULTS)?;
        config.positions_fit(raw, &DEFAULTS)?;
        Ok(Description {
            qkv_bias: false,
            output_bias: true,
            mlp_bias: true,
            gated: false,
            layer_norms: true,
            names: NAMES,
            windows: windows(raw, config.num_hidden_layers)?,
            ropes: vec![None; config.num_hidden_layers],
            scale: 1.0,
            padding_row: None,
            ..Description::llama(config)
        })
    },
    head: Head::of_decoder,
};
