//! Choosing the next token from a row of logits, on the CPU.

use super::processors::{Processors, above_zero, invalid};
use super::sample::Sampler;
use super::{GenerateOptions, GenerationError};
use crate::config::GenerationConfig;

/// How many of the likeliest tokens sampling looks at where nothing says how many.
const DEFAULT_TOP_K: usize = 50;

/// Chooses the tokens of one text: what the [`Processors`] make of the logits, then either the likeliest token or, with
/// `do_sample`, one drawn after `temperature`, `top_k`, `top_p` and `min_p`.
#[derive(Debug)]
pub struct Chooser {
    processors: Processors,
    sampler: Option<Sampler>,
}

impl Chooser {
    /// A chooser for what follows `prompt`. `None`: the likeliest token of the unchanged logits is the one, always.
    ///
    /// # Errors
    /// [`GenerationError::Option`] for a value that transformers would refuse too, in `options` or in `config`.
    pub fn new(
        options: &GenerateOptions,
        config: &GenerationConfig,
        prompt: &[u32],
    ) -> Result<Option<Chooser>, GenerationError> {
        let processors = Processors::new(options, config, prompt)?;
        let sampler = match options.do_sample.or(config.do_sample).unwrap_or(false) {
            true => Some(sampler(options, config)?),
            false => None,
        };
        Ok((!processors.is_none() || sampler.is_some()).then_some(Chooser { processors, sampler }))
    }

    /// The next token's id; it is part of the text from now on. `logits` has a score for each id of the vocabulary, and
    /// is changed. NaN is taken as minus infinity; where no id has a score, the answer is 0.
    pub fn choose(&mut self, logits: &mut [f32]) -> u32 {
        self.processors.apply(logits);
        let drawn = self.sampler.as_mut().and_then(|sampler| sampler.draw(logits));
        let id = drawn.unwrap_or_else(|| likeliest(logits));
        self.processors.record(id);
        id
    }
}

fn sampler(options: &GenerateOptions, config: &GenerationConfig) -> Result<Sampler, GenerationError> {
    let temperature = above_zero(
        "temperature",
        options.temperature.or(config.temperature),
        "give a number above 0, or do_sample: false for the likeliest token each time",
    )?;
    let top_p = options.top_p.or(config.top_p).unwrap_or(1.0);
    if !(top_p > 0.0 && top_p <= 1.0) {
        return Err(invalid("top_p", top_p, "give a number above 0 and up to 1; 1 keeps all tokens"));
    }
    let min_p = options.min_p.or(config.min_p).unwrap_or(0.0);
    if !(0.0..=1.0).contains(&min_p) {
        return Err(invalid("min_p", min_p, "give a number from 0 to 1; 0 keeps all tokens"));
    }
    Ok(Sampler {
        temperature,
        top_k: options.top_k.or(config.top_k).unwrap_or(DEFAULT_TOP_K),
        top_p,
        min_p: min_p as f32,
        rng: fastrand::Rng::with_seed(options.seed.unwrap_or_else(random_seed)),
        kept: Vec::new(),
    })
}

/// The first of the largest; NaN isn't large.
pub fn likeliest(logits: &[f32]) -> u32 {
    let first = (0, f32::NEG_INFINITY);
    let best =
        logits.iter().zip(0..).fold(first, |best, (logit, id)| if *logit > best.1 { (id, *logit) } else { best });
    best.0
}

/// Another seed each time. Not for secrets.
#[cfg(target_arch = "wasm32")]
fn random_seed() -> u64 {
    const MANTISSA: f64 = (1u64 << 53) as f64;
    (js_sys::Math::random() * MANTISSA) as u64
}

/// Another seed each time. Not for secrets.
#[cfg(not(target_arch = "wasm32"))]
fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    // The standard library's way to the system's entropy.
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
#[path = "chooser_tests.rs"]
mod tests;
