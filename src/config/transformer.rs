//! What the configurations of transformers have in common.
//!
//! transformers has a class a family; their keys are the same and their defaults differ, which [`TransformerDefaults`] holds.

use super::fields::Fields;
use super::rope::{RopeKeys, RopePlace, RotaryHead};
use super::{Activation, ConfigError, ModelConfig, RopeConfig, SpecialTokenIds};
use crate::tensor::Dtype;

/// Deeper than any model there is, by a factor of ten.
const MAX_LAYERS: usize = 4096;
/// Elements of one weight, or of what is read: WGSL indexes them by u32, and so does wasm32.
pub(crate) const MAX_ELEMENTS: u64 = (1 << 32) - 1;

/// What a family's config class has where a file says nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)]
pub struct TransformerDefaults {
    pub vocab_size: usize,
    pub hidden_size: usize,
    /// The key of the width within the feed-forward layer, and what it is without one; `None`: four times `hidden_size`.
    pub intermediate_size: (&'static str, Option<usize>),
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    /// Whether configs may name `num_key_value_heads` and `head_dim`.
    pub own_heads: bool,
    /// `None`: as many as query heads.
    pub num_key_value_heads: Option<usize>,
    /// `None`: `hidden_size / num_attention_heads`.
    pub head_dim: Option<usize>,
    pub max_position_embeddings: usize,
    /// The key of the norms' epsilon (empty: none), and what it is without one.
    pub norm_eps: (&'static str, f64),
    /// The key of the activation, and what it is without one.
    pub hidden_act: (&'static str, &'static str),
    /// The keys of a rope's base and of the part of each head that it rotates, where they stand beside the rope's object.
    pub rope_keys: RopeKeys,
    pub rope_theta: f64,
    /// Whether configs may rotate a part of each head only.
    pub partial_rotary: bool,
    /// The part that is rotated where the config says nothing.
    pub partial_rotary_factor: f64,
    /// The base of layers with a window, where they have angles of their own.
    pub rope_local_base_freq: Option<f64>,
    /// Other names for keys, under which they are looked for where they are not there themselves: transformers'
    /// `attribute_map`.
    pub aliases: &'static [(&'static str, &'static str)],
    /// Other names for keys, under which alone they are looked for: what stands under the common name is another stack's.
    pub renamed: &'static [(&'static str, &'static str)],
    pub tie_word_embeddings: bool,
    pub bos_token_id: Option<u32>,
    pub eos_token_id: Option<u32>,
    pub pad_token_id: Option<u32>,
}

impl TransformerDefaults {
    /// `LlamaConfig`'s, from which the others' differ in a few.
    pub const LLAMA: TransformerDefaults = TransformerDefaults {
        vocab_size: 32_000,
        hidden_size: 4096,
        intermediate_size: ("intermediate_size", Some(11_008)),
        num_hidden_layers: 32,
        num_attention_heads: 32,
        own_heads: true,
        num_key_value_heads: None,
        head_dim: None,
        max_position_embeddings: 2048,
        norm_eps: ("rms_norm_eps", 1e-6),
        hidden_act: ("hidden_act", "silu"),
        rope_keys: RopeKeys::LLAMA,
        rope_theta: 10_000.0,
        partial_rotary: false,
        partial_rotary_factor: 1.0,
        rope_local_base_freq: None,
        aliases: &[],
        renamed: &[],
        tie_word_embeddings: false,
        bos_token_id: Some(1),
        eos_token_id: Some(2),
        pad_token_id: None,
    };

    /// A config's keys, as the family calls them.
    fn fields<'a>(&self, config: &'a ModelConfig) -> Fields<'a> {
        config.fields().with_aliases(self.aliases).with_renamed(self.renamed)
    }
}

/// A checked configuration of a transformer.
#[derive(Debug, Clone, PartialEq)]
pub struct TransformerConfig {
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
    /// The norms' epsilon.
    pub norm_eps: f32,
    /// The activation of the gate, or of the feed-forward layer where there is none.
    pub hidden_act: Activation,
    /// Rotary embeddings.
    pub rope: RopeConfig,
    /// Those of layers with a window, where they have their own.
    pub local_rope: Option<RopeConfig>,
    /// Whether the head is the embedding.
    pub tie_word_embeddings: bool,
    /// Whether q, k, v and o have biases, where a family leaves it to the config.
    pub attention_bias: bool,
    /// Whether gate, up and down have biases, likewise.
    pub mlp_bias: bool,
    /// Standard deviation of weights that are initialised anew.
    pub initializer_range: f32,
    /// The dtype that the weights were saved in, where it is said.
    pub dtype: Option<Dtype>,
    /// bos, eos and pad.
    pub special: SpecialTokenIds,
}

impl TransformerConfig {
    /// The keys that are read, be they in a file or not.
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
        "hidden_activation",
        "rope_theta",
        "rope_local_base_freq",
        "rope_scaling",
        "rope_parameters",
        "partial_rotary_factor",
        "tie_word_embeddings",
        "sliding_window",
        "layer_types",
        "attention_bias",
        "mlp_bias",
        "initializer_range",
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
        "sep_token_id",
        // What logits mean, and a loss.
        "id2label",
        "label2id",
        "num_labels",
        "problem_type",
    ];

    /// Reads and checks a config, with the defaults of its family.
    pub fn parse(config: &ModelConfig, defaults: &TransformerDefaults) -> Result<TransformerConfig, ConfigError> {
        let fields = defaults.fields(config);
        let count = |key, default| fields.count(key).map(|value| value.unwrap_or(default));
        let flag = |key, default| fields.flag(key).map(|value| value.unwrap_or(default));
        let vocab_size = count("vocab_size", defaults.vocab_size)?;
        let hidden_size = count("hidden_size", defaults.hidden_size)?;
        let (intermediate_key, intermediate_size) = defaults.intermediate_size;
        let intermediate_size = count(intermediate_key, intermediate_size.unwrap_or(hidden_size.saturating_mul(4)))?;
        let num_hidden_layers = count("num_hidden_layers", defaults.num_hidden_layers)?;
        let num_attention_heads = count("num_attention_heads", defaults.num_attention_heads)?;
        // A null is as many as query heads, whatever the default.
        let kv_heads = defaults.num_key_value_heads.filter(|_| !fields.has("num_key_value_heads"));
        let own = |key, default| if defaults.own_heads { count(key, default) } else { Ok(default) };
        let num_key_value_heads = own("num_key_value_heads", kv_heads.unwrap_or(num_attention_heads))?;
        let max_position_embeddings = count("max_position_embeddings", defaults.max_position_embeddings)?;

        if num_hidden_layers > MAX_LAYERS {
            return Err(fields.invalid("num_hidden_layers", format!("at most {MAX_LAYERS}")));
        }
        // Where heads have a width of their own it need not be.
        if defaults.head_dim.is_none() && !hidden_size.is_multiple_of(num_attention_heads) {
            let expected = format!("a multiple of num_attention_heads ({num_attention_heads})");
            return Err(fields.invalid("hidden_size", expected));
        }
        if !num_attention_heads.is_multiple_of(num_key_value_heads) {
            let expected = format!("a multiple of num_key_value_heads ({num_key_value_heads})");
            return Err(fields.invalid("num_attention_heads", expected));
        }
        let head_dim = defaults.head_dim.filter(|_| !fields.has("head_dim"));
        let head_dim = own("head_dim", head_dim.unwrap_or(hidden_size / num_attention_heads))?;
        if !head_dim.is_multiple_of(2) {
            let expected = format!("an even number, by which rotary embeddings need it, but it is {head_dim}");
            return Err(fields.invalid("head_dim", expected));
        }
        let matrix = |key, rows, columns| fits(&fields, key, rows, columns);
        matrix("vocab_size", vocab_size, hidden_size)?;
        matrix(intermediate_key, intermediate_size, hidden_size)?;
        let attention = num_attention_heads.saturating_mul(head_dim);
        matrix("head_dim", attention, hidden_size)?;

        let head = RotaryHead {
            dim: head_dim,
            may_be_partial: defaults.partial_rotary,
            factor: defaults.partial_rotary_factor,
            keys: defaults.rope_keys,
        };
        let parse = |place, theta| RopeConfig::parse(&fields, place, head, max_position_embeddings, theta);
        let (rope, local_rope) = match defaults.rope_local_base_freq {
            None => (parse(RopePlace::Everywhere, defaults.rope_theta)?, None),
            Some(local) => (parse(RopePlace::Full, defaults.rope_theta)?, Some(parse(RopePlace::Sliding, local)?)),
        };

        Ok(TransformerConfig {
            vocab_size,
            hidden_size,
            intermediate_size,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads,
            head_dim,
            max_position_embeddings,
            norm_eps: eps(&fields, defaults.norm_eps)?,
            hidden_act: activation(&fields, defaults.hidden_act)?,
            rope,
            local_rope,
            tie_word_embeddings: flag("tie_word_embeddings", defaults.tie_word_embeddings)?,
            attention_bias: flag("attention_bias", false)?,
            mlp_bias: flag("mlp_bias", false)?,
            initializer_range: initializer_range(&fields)?,
            dtype: config.dtype()?,
            special: special_token_ids(&fields, defaults)?,
        })
    }
}

impl TransformerConfig {
    /// Checks that a table of learned positions isn't too large.
    pub fn positions_fit(&self, raw: &ModelConfig, defaults: &TransformerDefaults) -> Result<(), ConfigError> {
        self.rows_fit(&defaults.fields(raw), "max_position_embeddings", self.max_position_embeddings)
    }

    /// Checks that a weight with a row, or a column, of the residual stream's width for each of `rows`, which are as many as
    /// `key` says, isn't too large.
    pub(crate) fn rows_fit(&self, fields: &Fields<'_>, key: &str, rows: usize) -> Result<(), ConfigError> {
        fits(fields, key, rows, self.hidden_size)
    }

    /// `sliding_window`, or what the family has where the config says nothing. A null is none.
    pub fn sliding_window(raw: &ModelConfig, default: Option<usize>) -> Result<Option<usize>, ConfigError> {
        let fields = raw.fields();
        if fields.has("sliding_window") { fields.count("sliding_window") } else { Ok(default) }
    }

    /// Of each layer, to how many positions a token attends: to `window` in those that slide by `layer_types`, or by
    /// `slides` where the config names no types. There must be a window where one slides.
    pub fn windows(
        &self,
        raw: &ModelConfig,
        window: Option<usize>,
        slides: impl Fn(usize) -> bool,
    ) -> Result<Vec<Option<usize>>, ConfigError> {
        let fields = raw.fields();
        let types = fields.texts("layer_types", self.num_hidden_layers)?;
        let slides = |layer: usize| match types.as_ref().and_then(|types| types.get(layer)) {
            None => Ok(slides(layer)),
            Some(&"sliding_attention") => Ok(true),
            // transformers reads the older name as well.
            Some(&"full_attention" | &"attention") => Ok(false),
            Some(_) => Err(fields.unsupported("layer_types", "full_attention, sliding_attention")),
        };
        let window = |layer| match (slides(layer)?, window) {
            (false, _) => Ok(None),
            (true, Some(window)) => Ok(Some(window)),
            // It is there, so it is switched off.
            (true, None) if fields.get("sliding_window").is_some() => {
                Err(fields.invalid("use_sliding_window", format!("true, since layer {layer} has a window")))
            }
            (true, None) => {
                Err(fields.invalid("sliding_window", format!("a number, since layer {layer} has a window")))
            }
        };
        (0..self.num_hidden_layers).map(window).collect()
    }
}

/// Checks the size of a weight that is as large as `key` says.
fn fits(fields: &Fields<'_>, key: &str, rows: usize, columns: usize) -> Result<(), ConfigError> {
    match (rows as u64).checked_mul(columns as u64) {
        Some(elements) if elements <= MAX_ELEMENTS => Ok(()),
        _ => Err(fields.invalid(key, format!("a weight of at most {MAX_ELEMENTS} elements, not {rows} × {columns}"))),
    }
}

/// A null is none, a key that isn't there is the family's.
fn special_token_ids(fields: &Fields<'_>, defaults: &TransformerDefaults) -> Result<SpecialTokenIds, ConfigError> {
    let one = |key, default: Option<u32>| match fields.has(key) {
        true => fields.token_id(key),
        false => Ok(default),
    };
    Ok(SpecialTokenIds {
        bos: one("bos_token_id", defaults.bos_token_id)?,
        eos: match fields.has("eos_token_id") {
            true => fields.token_ids("eos_token_id")?,
            false => defaults.eos_token_id.into_iter().collect(),
        },
        pad: one("pad_token_id", defaults.pad_token_id)?,
    })
}

fn eps(fields: &Fields<'_>, (key, default): (&str, f64)) -> Result<f32, ConfigError> {
    let eps = fields.number(key)?.unwrap_or(default);
    if (0.0..=1.0).contains(&eps) { Ok(eps as f32) } else { Err(fields.invalid(key, "a number from 0 to 1")) }
}

/// transformers takes a 0 for its default.
fn initializer_range(fields: &Fields<'_>) -> Result<f32, ConfigError> {
    let std = fields.number("initializer_range")?.filter(|std| *std != 0.0).unwrap_or(0.02);
    if std > 0.0 { Ok(std as f32) } else { Err(fields.invalid("initializer_range", "a number of 0 or more")) }
}

fn activation(fields: &Fields<'_>, (key, default): (&str, &str)) -> Result<Activation, ConfigError> {
    let name = fields.text(key)?.unwrap_or(default);
    Activation::from_name(name).ok_or_else(|| fields.unsupported(key, Activation::NAMES))
}
