//! Choosing the next token from a row of logits, on the CPU.

use super::processors::{MinLength, NoRepeatNgram, RepetitionPenalty};
use super::sample::Sampler;
use super::{GenerateOptions, GenerationError, WhisperRules};
use crate::config::GenerationConfig;

/// How many of the likeliest tokens sampling looks at where nothing says how many.
const DEFAULT_TOP_K: usize = 50;

/// Chooses the tokens of one text, in transformers' order: `repetition_penalty`, `no_repeat_ngram_size`, `min_length` and
/// `min_new_tokens`, the rules of what may be said, then either the likeliest token or, with `do_sample`, one drawn after
/// `temperature`, `top_k`, `top_p` and `min_p`.
#[derive(Debug)]
pub struct Chooser {
    /// Tokens so far, the prompt's included.
    length: usize,
    repetition_penalty: Option<RepetitionPenalty>,
    no_repeat: Option<NoRepeatNgram>,
    min_length: Option<MinLength>,
    rules: Option<WhisperRules>,
    /// Tokens after the prompt, where there are rules.
    new_ids: Vec<u32>,
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
        let penalty = above_zero(
            "repetition_penalty",
            options.repetition_penalty.or(config.repetition_penalty),
            "give a number above 0; 1 is no penalty",
        )?;
        let repetition_penalty = (penalty != 1.0).then(|| RepetitionPenalty::new(penalty, prompt));
        let size = options.no_repeat_ngram_size.or(config.no_repeat_ngram_size).filter(|size| *size > 0);
        let no_repeat = size.map(|size| NoRepeatNgram::new(size, prompt));
        let min_length = MinLength { length: options.min_length(config, prompt.len()), eos: options.eos(config) };
        let min_length = (min_length.length > prompt.len() && !min_length.eos.is_empty()).then_some(min_length);
        let sampler = match options.do_sample.or(config.do_sample).unwrap_or(false) {
            true => Some(sampler(options, config)?),
            false => None,
        };
        let rules = options.whisper_rules(config)?;
        let plain = repetition_penalty.is_none() && no_repeat.is_none() && min_length.is_none() && rules.is_none();
        let (length, new_ids) = (prompt.len(), Vec::new());
        let chooser = Chooser { length, repetition_penalty, no_repeat, min_length, rules, new_ids, sampler };
        Ok((!plain || chooser.sampler.is_some()).then_some(chooser))
    }

    /// The next token's id; it is part of the text from now on. `logits` has a score for each id of the vocabulary, and
    /// is changed. NaN is taken as minus infinity; where no id has a score, the answer is 0.
    pub fn choose(&mut self, logits: &mut [f32]) -> u32 {
        self.process(logits);
        let drawn = self.sampler.as_mut().and_then(|sampler| sampler.draw(logits));
        let id = drawn.unwrap_or_else(|| likeliest(logits));
        self.record(id);
        id
    }

    fn process(&self, logits: &mut [f32]) {
        if let Some(penalty) = &self.repetition_penalty {
            penalty.apply(logits);
        }
        if let Some(no_repeat) = &self.no_repeat {
            no_repeat.apply(logits);
        }
        if let Some(min_length) = &self.min_length {
            min_length.apply(self.length, logits);
        }
        if let Some(rules) = &self.rules {
            rules.apply(&self.new_ids, logits);
        }
    }

    fn record(&mut self, id: u32) {
        self.length += 1;
        if let Some(penalty) = &mut self.repetition_penalty {
            penalty.record(id);
        }
        if let Some(no_repeat) = &mut self.no_repeat {
            no_repeat.record(id);
        }
        if self.rules.is_some() {
            self.new_ids.push(id);
        }
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

/// `value`, or 1; an error where it is not a finite number above 0 in float32, in which the logits are.
fn above_zero(option: &'static str, value: Option<f64>, expected: &'static str) -> Result<f32, GenerationError> {
    let value = value.unwrap_or(1.0);
    let single = value as f32;
    if single > 0.0 && single.is_finite() { Ok(single) } else { Err(invalid(option, value, expected)) }
}

fn invalid(option: &'static str, value: f64, expected: &'static str) -> GenerationError {
    GenerationError::Option { option, value: value.to_string(), expected }
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
