//! The Llama family's configuration.

use super::fields::Fields;
use super::{Activation, ConfigError, ModelConfig, RopeConfig, SpecialTokenIds};
use crate::tensor::Dtype;

/// Deeper than any model there is, by a factor of ten.
const MAX_LAYERS: usize = 4096;
/// Elements of one weight: WGSL indexes them by u32, and so does wasm32.
const MAX_ELEMENTS: u64 = (1 << 32) - 1;

/// A checked `LlamaConfig`; defaults are transformers'.
#[derive(Debug, Clone, PartialEq)]
pub struct LlamaConfig {
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width within the feed-forward.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; divides `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Width of a head; even.
    pub head_dim: usize,
    /// The longest sequence that the model is made for.
    pub max_position_embeddings: usize,
    /// RMSNorm's epsilon.
    pub rms_norm_eps: f32,
    /// The gate's activation.
    pub hidden_act: Activation,
    /// Rotary embeddings, over the whole head.
    pub rope: RopeConfig,
    /// Whether the head is the embedding.
    pub tie_word_embeddings: bool,
    /// Whether q, k, v and o have biases.
    pub attention_bias: bool,
    /// Whether gate, up and down have biases.
    pub mlp_bias: bool,
    /// Standard deviation of weights that are initialised anew.
    pub initializer_range: f32,
    /// The dtype that the weights were saved in, where it is said.
    pub dtype: Option<Dtype>,
    /// bos, eos and pad.
    pub special: SpecialTokenIds,
}

impl LlamaConfig {
    /// The keys that mean something to this architecture, be they in a file or not.
    pub const KEYS: &'static [&'static str] = &[
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "max_position_embeddings",
        "rms_norm_eps",
        "hidden_act",
        "rope_theta",
        "rope_scaling",
        "rope_parameters",
        "partial_rotary_factor",
        "tie_word_embeddings",
        "attention_bias",
        "mlp_bias",
        "initializer_range",
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
    ];

    /// Reads and checks a config whose `model_type` is `llama`.
    pub fn parse(config: &ModelConfig) -> Result<LlamaConfig, ConfigError> {
        let fields = config.fields();
        if fields.get("quantization_config").is_some() {
            return Err(fields.unsupported("quantization_config", "checkpoints that are not quantised"));
        }
        let count = |key, default| fields.count(key).map(|value| value.unwrap_or(default));
        let flag = |key| fields.flag(key).map(|value| value.unwrap_or(false));
        let vocab_size = count("vocab_size", 32_000)?;
        let hidden_size = count("hidden_size", 4096)?;
        let intermediate_size = count("intermediate_size", 11_008)?;
        let num_hidden_layers = count("num_hidden_layers", 32)?;
        let num_attention_heads = count("num_attention_heads", 32)?;
        let num_key_value_heads = count("num_key_value_heads", num_attention_heads)?;
        let max_position_embeddings = count("max_position_embeddings", 2048)?;

        if num_hidden_layers > MAX_LAYERS {
            return Err(fields.invalid("num_hidden_layers", format!("at most {MAX_LAYERS}")));
        }
        if !hidden_size.is_multiple_of(num_attention_heads) {
            let expected = format!("a multiple of num_attention_heads ({num_attention_heads})");
            return Err(fields.invalid("hidden_size", expected));
        }
        if !num_attention_heads.is_multiple_of(num_key_value_heads) {
            let expected = format!("a multiple of num_key_value_heads ({num_key_value_heads})");
            return Err(fields.invalid("num_attention_heads", expected));
        }
        let head_dim = count("head_dim", hidden_size / num_attention_heads)?;
        if !head_dim.is_multiple_of(2) {
            let expected = format!("an even number, by which rotary embeddings need it, but it is {head_dim}");
            return Err(fields.invalid("head_dim", expected));
        }
        let matrix = |key, rows: usize, columns: usize| match (rows as u64).checked_mul(columns as u64) {
            Some(elements) if elements <= MAX_ELEMENTS => Ok(()),
            _ => {
                Err(fields.invalid(key, format!("a weight of at most {MAX_ELEMENTS} elements, not {rows} × {columns}")))
            }
        };
        matrix("vocab_size", vocab_size, hidden_size)?;
        matrix("intermediate_size", intermediate_size, hidden_size)?;
        let attention = num_attention_heads.saturating_mul(head_dim);
        matrix("head_dim", attention, hidden_size)?;

        Ok(LlamaConfig {
            vocab_size,
            hidden_size,
            intermediate_size,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads,
            head_dim,
            max_position_embeddings,
            rms_norm_eps: eps(&fields)?,
            hidden_act: activation(&fields)?,
            rope: RopeConfig::parse(&fields, head_dim, max_position_embeddings)?,
            tie_word_embeddings: flag("tie_word_embeddings")?,
            attention_bias: flag("attention_bias")?,
            mlp_bias: flag("mlp_bias")?,
            initializer_range: initializer_range(&fields)?,
            dtype: config.dtype()?,
            special: config.special_token_ids()?,
        })
    }
}

fn eps(fields: &Fields<'_>) -> Result<f32, ConfigError> {
    let eps = fields.number("rms_norm_eps")?.unwrap_or(1e-6);
    if (0.0..=1.0).contains(&eps) {
        Ok(eps as f32)
    } else {
        Err(fields.invalid("rms_norm_eps", "a number from 0 to 1"))
    }
}

/// transformers takes a 0 for its default.
fn initializer_range(fields: &Fields<'_>) -> Result<f32, ConfigError> {
    let std = fields.number("initializer_range")?.filter(|std| *std != 0.0).unwrap_or(0.02);
    if std > 0.0 { Ok(std as f32) } else { Err(fields.invalid("initializer_range", "a number of 0 or more")) }
}

fn activation(fields: &Fields<'_>) -> Result<Activation, ConfigError> {
    let name = fields.text("hidden_act")?.unwrap_or("silu");
    Activation::from_name(name).ok_or_else(|| fields.unsupported("hidden_act", Activation::NAMES))
}
