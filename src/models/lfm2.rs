//! LFM 2: short convolutions, and attention in some layers. Semantics: transformers' `modeling_lfm2.py`.

use super::mixing::{ShortConvolutionNames, ShortConvolutions};
use super::{Description, Family, Head, Names, Task};
use crate::config::{ConfigError, ModelConfig, TransformerConfig, TransformerDefaults};

const DEFAULTS: TransformerDefaults = TransformerDefaults {
    vocab_size: 65_536,
    hidden_size: 2560,
    intermediate_size: ("intermediate_size", Some(12_288)),
    num_key_value_heads: Some(8),
    max_position_embeddings: 128_000,
    norm_eps: ("norm_eps", 1e-5),
    // It is always SiLU.
    hidden_act: ("", "silu"),
    rope_theta: 1_000_000.0,
    tie_word_embeddings: true,
    pad_token_id: Some(0),
    ..TransformerDefaults::LLAMA
};

const NAMES: Names = Names {
    last_norm: Some("embedding_norm"),
    qk_norm: Some(["self_attn.q_layernorm", "self_attn.k_layernorm"]),
    output: "self_attn.out_proj",
    gate_up: &["feed_forward.w1", "feed_forward.w3"],
    down: "feed_forward.w2",
    input_norm: Some("operator_norm"),
    mlp_norm: Some("ffn_norm"),
    ..Names::LLAMA
};

const CONVOLUTION: ShortConvolutionNames =
    ShortConvolutionNames { input: "conv.in_proj", taps: "conv.conv", output: "conv.out_proj" };

/// `Lfm2ForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "lfm2",
    classes: &[(Task::Base, "Lfm2Model"), (Task::CausalLm, "Lfm2ForCausalLM")],
    own_keys: &[
        "norm_eps",
        "conv_bias",
        "conv_L_cache",
        "full_attn_idxs",
        "tie_embedding",
        "block_ff_dim",
        "block_auto_adjust_ff_dim",
        "block_ffn_dim_multiplier",
        "block_multiple_of",
    ],
    describe: |raw| {
        let mut config = TransformerConfig::parse(raw, &DEFAULTS)?;
        let fields = raw.fields();
        config.tie_word_embeddings = fields.flag("tie_embedding")?.unwrap_or(config.tie_word_embeddings);
        config.intermediate_size = intermediate_size(raw, &config)?;
        config.rows_fit(&fields, "block_ff_dim", config.intermediate_size)?;
        let taps = fields.count("conv_L_cache")?.unwrap_or(3);
        config.rows_fit(&fields, "conv_L_cache", taps)?;
        // A word of the cache for two channels, of either half.
        if !config.hidden_size.is_multiple_of(8) {
            return Err(fields.unsupported("hidden_size", "multiples of 8"));
        }
        let layers = convolved(raw, config.num_hidden_layers)?;
        let bias = fields.flag("conv_bias")?.unwrap_or(false);
        let short_convolutions = Some(ShortConvolutions { layers, taps, bias, names: CONVOLUTION });
        let plain = Description::llama(config);
        Ok(Description {
            qkv_bias: false,
            output_bias: false,
            mlp_bias: false,
            names: NAMES,
            short_convolutions,
            ..plain
        })
    },
    head: Head::of_decoder,
};

/// The width of the feed-forward layer, which the config gives as that of one without a gate.
fn intermediate_size(raw: &ModelConfig, config: &TransformerConfig) -> Result<usize, ConfigError> {
    let fields = raw.fields();
    let width = fields.count("block_ff_dim")?.unwrap_or(config.intermediate_size);
    if !fields.flag("block_auto_adjust_ff_dim")?.unwrap_or(true) {
        return Ok(width);
    }
    let width = width.saturating_mul(2) / 3;
    let key = "block_ffn_dim_multiplier";
    let multiplier = if fields.has(key) { fields.positive(key)? } else { Some(1.0) };
    let multiple = fields.count("block_multiple_of")?.unwrap_or(256);
    Ok(multiplier.map_or(width, |multiplier| {
        let wider = (multiplier * width as f64) as usize;
        wider.div_ceil(multiple).saturating_mul(multiple)
    }))
}

/// Which layers have a convolution.
fn convolved(raw: &ModelConfig, count: usize) -> Result<Vec<bool>, ConfigError> {
    let fields = raw.fields();
    let Some(types) = fields.texts("layer_types", count)? else {
        let attends = fields.counts_or_zero("full_attn_idxs")?;
        return Ok((0..count).map(|layer| attends.as_ref().is_some_and(|some| !some.contains(&layer))).collect());
    };
    let is_convolved = |name| match name {
        "conv" => Ok(true),
        "full_attention" | "attention" => Ok(false),
        _ => Err(fields.unsupported("layer_types", "full_attention, conv")),
    };
    types.into_iter().map(is_convolved).collect()
}
