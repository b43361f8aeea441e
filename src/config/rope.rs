//! Rotary position embeddings: the frequencies, as transformers' `modeling_rope_utils` computes them.
//!
//! Semantics: transformers 5.23 (`ROPE_INIT_FUNCTIONS`), which reads v4's `rope_theta` + `rope_scaling` as well as v5's
//! `rope_parameters`. Arithmetic is in f32 where torch's is, so that long positions turn by the same angle.

use std::f64::consts::PI;

use super::ConfigError;
use super::fields::Fields;

/// How positions turn into angles.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeConfig {
    /// The base of the wavelengths.
    pub theta: f64,
    /// How many elements of a head are rotated; even.
    pub dim: usize,
    /// `max_position_embeddings`
    pub max_position_embeddings: usize,
    /// What is done to reach beyond the length trained on.
    pub scaling: RopeScaling,
}

/// `rope_type`. `original` is `original_max_position_embeddings`: the length trained on.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum RopeScaling {
    Default,
    Linear { factor: f64 },
    Dynamic { factor: f64 },
    Yarn { factor: f64, attention_factor: f64, beta_fast: f64, beta_slow: f64, original: usize, truncate: bool },
    Longrope { attention_factor: f64, short_factor: Vec<f64>, long_factor: Vec<f64>, original: usize },
    Llama3 { factor: f64, low_freq_factor: f64, high_freq_factor: f64, original: usize },
}

/// In which layers a rope's parameters hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RopePlace {
    /// In all.
    Everywhere,
    /// In those without a window, where those with one have a rope of their own.
    Full,
    /// In those with a window.
    Sliding,
}

/// What the keys of a rope are called that stand beside its object. Within it their names are always those of Llama's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RopeKeys {
    /// The base of the wavelengths.
    pub theta: &'static str,
    /// The base in layers with a window, where that is another.
    pub local_theta: &'static str,
    /// Whether `rope_scaling` is for those layers too.
    pub scales_local: bool,
    /// The part of each head that is rotated.
    pub partial_factor: &'static str,
}

impl RopeKeys {
    /// Llama's and Gemma's.
    pub const LLAMA: RopeKeys = RopeKeys {
        theta: "rope_theta",
        local_theta: "rope_local_base_freq",
        scales_local: false,
        partial_factor: "partial_rotary_factor",
    };
}

/// The heads that are rotated.
#[derive(Debug, Clone, Copy)]
pub(super) struct RotaryHead {
    /// Elements.
    pub dim: usize,
    /// Whether the config may leave some of them as they are.
    pub may_be_partial: bool,
    /// Which part is rotated where the config says nothing.
    pub factor: f64,
    /// What the config calls that.
    pub keys: RopeKeys,
}

impl RopePlace {
    /// The rope's own object.
    fn parameters<'a>(self, config: &Fields<'a>, keys: RopeKeys) -> Result<Option<Fields<'a>>, ConfigError> {
        // The older key names no layers.
        let scaling = config.object("rope_scaling")?.map(|rope| ("rope_scaling", rope));
        let (key, rope) = match (self, scaling) {
            (RopePlace::Everywhere | RopePlace::Full, Some(scaling)) => scaling,
            (RopePlace::Sliding, Some(scaling)) if keys.scales_local => scaling,
            _ => match config.object("rope_parameters")? {
                Some(rope) => ("rope_parameters", rope),
                None => return Ok(None),
            },
        };
        match self {
            RopePlace::Full if key == "rope_parameters" => rope.object("full_attention"),
            RopePlace::Sliding if key == "rope_parameters" => rope.object("sliding_attention"),
            _ if rope.values().any(serde_json::Value::is_object) => {
                Err(config.unsupported(key, "one set of parameters for all layers"))
            }
            _ => Ok(Some(rope)),
        }
    }

    /// The key of the base beside it.
    fn theta_key(self, keys: RopeKeys) -> &'static str {
        if self == RopePlace::Sliding { keys.local_theta } else { keys.theta }
    }
}

impl RopeConfig {
    /// Reads a rope's keys of a config; `theta` is the base where it names none.
    pub(super) fn parse(
        config: &Fields<'_>,
        place: RopePlace,
        head: RotaryHead,
        max_position_embeddings: usize,
        theta: f64,
    ) -> Result<RopeConfig, ConfigError> {
        let parameters = place.parameters(config, head.keys)?;
        let top_theta = config.positive(place.theta_key(head.keys))?;
        let Some(rope) = parameters else {
            let theta = top_theta.unwrap_or(theta);
            let dim = rotated(config, head.keys.partial_factor, head)?;
            return Ok(RopeConfig { theta, dim, max_position_embeddings, scaling: RopeScaling::Default });
        };
        let within = rope.get("partial_rotary_factor").is_some();
        let dim = match within {
            true => rotated(&rope, "partial_rotary_factor", head)?,
            false => rotated(config, head.keys.partial_factor, head)?,
        };
        let theta = rope.positive("rope_theta")?.or(top_theta).unwrap_or(theta);
        let type_key = if rope.get("rope_type").is_some() { "rope_type" } else { "type" };
        let factor = || rope.positive("factor")?.map_or_else(|| Err(rope.invalid("factor", "a number above 0")), Ok);
        let original = || -> Result<usize, ConfigError> {
            let outer = config.count("original_max_position_embeddings")?;
            Ok(outer.or(rope.count("original_max_position_embeddings")?).unwrap_or(max_position_embeddings))
        };
        let scaling = match rope.text(type_key)?.unwrap_or("default") {
            "default" => RopeScaling::Default,
            "linear" => RopeScaling::Linear { factor: factor()? },
            "dynamic" if dim > 2 => RopeScaling::Dynamic { factor: factor()? },
            // Its exponent is dim / (dim - 2).
            "dynamic" => return Err(config.invalid("head_dim", "more than 2 with dynamic rotary embeddings")),
            "yarn" => yarn(&rope, original()?, theta, max_position_embeddings)?,
            "longrope" => longrope(&rope, original()?, dim, max_position_embeddings)?,
            "llama3" => {
                let low = rope.require("low_freq_factor", rope.positive("low_freq_factor")?)?;
                let high = rope.require("high_freq_factor", rope.positive("high_freq_factor")?)?;
                if low >= high {
                    return Err(rope.invalid("high_freq_factor", format!("more than low_freq_factor ({low})")));
                }
                RopeScaling::Llama3 {
                    factor: factor()?,
                    low_freq_factor: low,
                    high_freq_factor: high,
                    original: original()?,
                }
            }
            _ => return Err(rope.unsupported(type_key, "default, linear, dynamic, yarn, longrope, llama3")),
        };
        Ok(RopeConfig { theta, dim, max_position_embeddings, scaling })
    }

    /// Radians a position, `dim / 2` of them, for a sequence of `seq_len` positions.
    pub fn inv_freq(&self, seq_len: usize) -> Vec<f32> {
        match &self.scaling {
            RopeScaling::Default => self.plain(self.theta).collect(),
            RopeScaling::Linear { factor } => self.plain(self.theta).map(|freq| freq / *factor as f32).collect(),
            RopeScaling::Dynamic { factor } => {
                let (dim, max) = (self.dim as f64, self.max_position_embeddings as f64);
                let stretch = factor * (seq_len as f64).max(max) / max - (factor - 1.0);
                self.plain(self.theta * stretch.powf(dim / (dim - 2.0))).collect()
            }
            RopeScaling::Yarn { factor, beta_fast, beta_slow, original, truncate, .. } => {
                let (mut low, mut high) =
                    (self.dim_of_rotations(*beta_fast, *original), self.dim_of_rotations(*beta_slow, *original));
                if *truncate {
                    (low, high) = (low.floor(), high.ceil());
                }
                let (low, mut high) = (low.max(0.0), high.min(self.dim as f64 - 1.0));
                if low == high {
                    high += 0.001;
                }
                let wavelengths = self.wavelengths(self.theta);
                wavelengths
                    .enumerate()
                    .map(|(i, length)| {
                        let ramp = ((i as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0);
                        let keep = 1.0 - ramp;
                        1.0 / (*factor as f32 * length) * (1.0 - keep) + 1.0 / length * keep
                    })
                    .collect()
            }
            RopeScaling::Longrope { short_factor, long_factor, original, .. } => {
                let factors = if seq_len > *original { long_factor } else { short_factor };
                let wavelengths = self.wavelengths(self.theta);
                wavelengths.zip(factors).map(|(length, factor)| 1.0 / (*factor as f32 * length)).collect()
            }
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original } => {
                let (factor, low, high) = (*factor as f32, *low_freq_factor as f32, *high_freq_factor as f32);
                let original = *original as f32;
                self.plain(self.theta)
                    .map(|freq| {
                        let wavelength = (2.0 * PI) as f32 / freq;
                        if wavelength > original / low {
                            freq / factor
                        } else if wavelength < original / high {
                            freq
                        } else {
                            let smooth = (original / wavelength - low) / (high - low);
                            (1.0 - smooth) * freq / factor + smooth * freq
                        }
                    })
                    .collect()
            }
        }
    }

    /// What cosines and sines are multiplied by.
    pub fn attention_scaling(&self) -> f32 {
        match self.scaling {
            RopeScaling::Yarn { attention_factor, .. } | RopeScaling::Longrope { attention_factor, .. } => {
                attention_factor as f32
            }
            _ => 1.0,
        }
    }

    /// The longest sequence that has the frequencies of a short one; `None` where the length doesn't matter.
    pub fn changes_beyond(&self) -> Option<usize> {
        match self.scaling {
            RopeScaling::Dynamic { .. } => Some(self.max_position_embeddings),
            RopeScaling::Longrope { original, .. } => Some(original),
            _ => None,
        }
    }

    /// `theta ^ (2i / dim)`. torch rounds the base, the exponent and the power to f32.
    fn wavelengths(&self, theta: f64) -> impl Iterator<Item = f32> {
        let (base, dim) = (f64::from(theta as f32), self.dim as f32);
        (0..self.dim / 2).map(move |i| base.powf(f64::from((2 * i) as f32 / dim)) as f32)
    }

    fn plain(&self, theta: f64) -> impl Iterator<Item = f32> {
        self.wavelengths(theta).map(|length| 1.0 / length)
    }

    /// The dimension that turns `rotations` times in `original` positions.
    fn dim_of_rotations(&self, rotations: f64, original: usize) -> f64 {
        self.dim as f64 * (original as f64 / (rotations * 2.0 * PI)).ln() / (2.0 * self.theta.ln())
    }
}

/// How many elements of each head are rotated, the first ones: all of them, but in architectures that say which.
fn rotated(fields: &Fields<'_>, key: &str, head: RotaryHead) -> Result<usize, ConfigError> {
    let factor = fields.number(key)?.unwrap_or(head.factor);
    if factor == 1.0 {
        return Ok(head.dim);
    }
    if !head.may_be_partial {
        return Err(fields.unsupported(key, "1.0"));
    }
    let dim = (head.dim as f64 * factor) as usize;
    if !(0.0..1.0).contains(&factor) || dim == 0 || !dim.is_multiple_of(4) {
        let expected = format!("a factor that makes a multiple of 4 of head_dim ({})", head.dim);
        return Err(fields.invalid(key, expected));
    }
    Ok(dim)
}

fn yarn(rope: &Fields<'_>, original: usize, theta: f64, max: usize) -> Result<RopeScaling, ConfigError> {
    if theta <= 1.0 {
        return Err(rope.invalid("rope_theta", "more than 1 with yarn"));
    }
    let factor = rope.positive("factor")?.unwrap_or(max as f64 / original as f64);
    let scale = |mscale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 };
    let nonzero = |key| rope.number(key).map(|value| value.filter(|value| *value != 0.0));
    let attention_factor = match (rope.positive("attention_factor")?, nonzero("mscale")?, nonzero("mscale_all_dim")?) {
        (Some(given), ..) => given,
        (None, Some(mscale), Some(all)) => scale(mscale) / scale(all),
        _ => scale(1.0),
    };
    Ok(RopeScaling::Yarn {
        factor,
        attention_factor,
        beta_fast: rope.positive("beta_fast")?.unwrap_or(32.0),
        beta_slow: rope.positive("beta_slow")?.unwrap_or(1.0),
        original,
        truncate: rope.flag("truncate")?.unwrap_or(true),
    })
}

fn longrope(rope: &Fields<'_>, original: usize, dim: usize, max: usize) -> Result<RopeScaling, ConfigError> {
    let factors = |key| -> Result<Vec<f64>, ConfigError> {
        let factors = rope.require(key, rope.positives(key)?)?;
        if factors.len() == dim / 2 {
            Ok(factors)
        } else {
            Err(rope.invalid(key, format!("a list of {} numbers, not {}", dim / 2, factors.len())))
        }
    };
    let factor = rope.positive("factor")?.unwrap_or(max as f64 / original as f64);
    let attention_factor = match rope.positive("attention_factor")? {
        Some(given) => given,
        None if factor <= 1.0 || original <= 1 => 1.0,
        None => (1.0 + factor.ln() / (original as f64).ln()).sqrt(),
    };
    Ok(RopeScaling::Longrope {
        attention_factor,
        short_factor: factors("short_factor")?,
        long_factor: factors("long_factor")?,
        original,
    })
}
