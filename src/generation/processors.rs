//! What changes scores before a token is chosen, be it greedily, by sampling or for a beam: transformers' logits processors.

use std::rc::Rc;

use super::{GenerateOptions, GenerationError, WhisperRules};
use crate::config::GenerationConfig;

/// What a text's next scores go through, in transformers' order: `repetition_penalty`, `no_repeat_ngram_size`, `bad_words_ids`,
/// `min_length` and `min_new_tokens`, the ids that are forced, the rules of what may be said.
#[derive(Debug, Clone)]
pub(super) struct Processors {
    /// Tokens so far, the prompt's included.
    length: usize,
    repetition_penalty: Option<RepetitionPenalty>,
    no_repeat: Option<NoRepeatNgram>,
    bad_words: Option<BadWords>,
    min_length: Option<MinLength>,
    forced: Option<Forced>,
    rules: Option<WhisperRules>,
    /// Tokens after the prompt, where there are rules.
    new_ids: Vec<u32>,
}

impl Processors {
    /// Those for what follows `prompt`.
    ///
    /// # Errors
    /// [`GenerationError::Option`] for a value that transformers would refuse too, in `options` or in `config`.
    pub(super) fn new(
        options: &GenerateOptions,
        config: &GenerationConfig,
        prompt: &[u32],
    ) -> Result<Processors, GenerationError> {
        let penalty = above_zero(
            "repetition_penalty",
            options.repetition_penalty.or(config.repetition_penalty),
            "give a number above 0; 1 is no penalty",
        )?;
        let size = options.no_repeat_ngram_size.or(config.no_repeat_ngram_size).filter(|size| *size > 0);
        let min_length = MinLength { length: options.min_length(config, prompt.len()), eos: options.eos(config) };
        let bad_words = options.bad_words_ids.as_ref().unwrap_or(&config.bad_words_ids);
        Ok(Processors {
            length: prompt.len(),
            bad_words: BadWords::of(bad_words, &min_length.eos, prompt)?,
            repetition_penalty: (penalty != 1.0).then(|| RepetitionPenalty::new(penalty, prompt)),
            no_repeat: size.map(|size| NoRepeatNgram::new(size, prompt)),
            min_length: (min_length.length > prompt.len() && !min_length.eos.is_empty()).then_some(min_length),
            forced: Forced::of(options, config, prompt.len())?,
            rules: options.whisper_rules(config)?,
            new_ids: Vec::new(),
        })
    }

    /// Whether scores stay as they are.
    pub(super) fn is_none(&self) -> bool {
        let Processors { repetition_penalty, no_repeat, bad_words, min_length, forced, rules, .. } = self;
        let of_text = repetition_penalty.is_none() && no_repeat.is_none() && bad_words.is_none();
        of_text && min_length.is_none() && forced.is_none() && rules.is_none()
    }

    /// Changes the next token's scores, one for each id of the vocabulary.
    pub(super) fn apply(&self, scores: &mut [f32]) {
        if let Some(penalty) = &self.repetition_penalty {
            penalty.apply(scores);
        }
        if let Some(no_repeat) = &self.no_repeat {
            no_repeat.apply(scores);
        }
        if let Some(bad_words) = &self.bad_words {
            bad_words.apply(scores);
        }
        if let Some(min_length) = &self.min_length {
            min_length.apply(self.length, scores);
        }
        if let Some(forced) = &self.forced {
            forced.apply(self.length, scores);
        }
        if let Some(rules) = &self.rules {
            rules.apply(&self.new_ids, scores);
        }
    }

    /// The text has another token.
    pub(super) fn record(&mut self, id: u32) {
        self.length += 1;
        if let Some(penalty) = &mut self.repetition_penalty {
            penalty.record(id);
        }
        if let Some(no_repeat) = &mut self.no_repeat {
            no_repeat.record(id);
        }
        if let Some(bad_words) = &mut self.bad_words {
            bad_words.text.push(id);
        }
        if self.rules.is_some() {
            self.new_ids.push(id);
        }
    }
}

/// `value`, or 1; an error where it is not a finite number above 0 in float32, in which the logits are.
pub(super) fn above_zero(
    option: &'static str,
    value: Option<f64>,
    expected: &'static str,
) -> Result<f32, GenerationError> {
    let value = value.unwrap_or(1.0);
    let single = value as f32;
    if single > 0.0 && single.is_finite() { Ok(single) } else { Err(invalid(option, value, expected)) }
}

pub(super) fn invalid(option: &'static str, value: f64, expected: &'static str) -> GenerationError {
    GenerationError::Option { option, value: value.to_string(), expected }
}

/// Makes tokens that the text already has less likely (above 1) or more likely (below 1).
#[derive(Debug, Clone)]
pub(super) struct RepetitionPenalty {
    penalty: f32,
    /// Every id of the text, once, in order.
    seen: Vec<u32>,
}

impl RepetitionPenalty {
    pub(super) fn new(penalty: f32, prompt: &[u32]) -> Self {
        let mut seen = prompt.to_vec();
        seen.sort_unstable();
        seen.dedup();
        RepetitionPenalty { penalty, seen }
    }

    pub(super) fn apply(&self, logits: &mut [f32]) {
        for id in &self.seen {
            if let Some(logit) = logits.get_mut(*id as usize) {
                // Dividing a negative one would make it more likely.
                *logit = if *logit < 0.0 { *logit * self.penalty } else { *logit / self.penalty };
            }
        }
    }

    pub(super) fn record(&mut self, id: u32) {
        if let Err(at) = self.seen.binary_search(&id) {
            self.seen.insert(at, id);
        }
    }
}

/// Keeps runs of `size` tokens from coming a second time.
#[derive(Debug, Clone)]
pub(super) struct NoRepeatNgram {
    size: usize,
    text: Vec<u32>,
}

impl NoRepeatNgram {
    /// `size` is at least 1.
    pub(super) fn new(size: usize, prompt: &[u32]) -> Self {
        NoRepeatNgram { size, text: prompt.to_vec() }
    }

    pub(super) fn apply(&self, logits: &mut [f32]) {
        // The tokens with which the next one makes a run.
        let Some(last) = self.text.len().checked_sub(self.size - 1).and_then(|at| self.text.get(at..)) else { return };
        for run in self.text.windows(self.size) {
            if let Some((id, before)) = run.split_last()
                && before == last
                && let Some(logit) = logits.get_mut(*id as usize)
            {
                *logit = f32::NEG_INFINITY;
            }
        }
    }

    pub(super) fn record(&mut self, id: u32) {
        self.text.push(id);
    }
}

/// Keeps the text from ending before it has `length` tokens, the prompt's included.
#[derive(Debug, Clone)]
pub(super) struct MinLength {
    pub(super) length: usize,
    pub(super) eos: Vec<u32>,
}

impl MinLength {
    /// `length` is how many tokens there are so far.
    pub(super) fn apply(&self, length: usize, logits: &mut [f32]) {
        if length < self.length {
            for id in &self.eos {
                if let Some(logit) = logits.get_mut(*id as usize) {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
    }
}

/// Ids that are forced: the first one after a prompt of one token, and the last of the longest text.
#[derive(Debug, Clone)]
pub(super) struct Forced {
    /// The first, and how many tokens there are before it.
    first: Option<(usize, u32)>,
    /// Any of these, and how many tokens there are before it.
    last: Option<(usize, Vec<u32>)>,
}

impl Forced {
    /// What `options` force after a prompt of `prompt` tokens.
    fn of(
        options: &GenerateOptions,
        config: &GenerationConfig,
        prompt: usize,
    ) -> Result<Option<Forced>, GenerationError> {
        let first = options.forced_bos_token_id.filter(|_| prompt == 1).map(|id| (prompt, id));
        let last = match &options.forced_eos_token_id {
            Some(ids) => Some((prompt.saturating_add(options.new_tokens(config, prompt)? - 1), ids.clone())),
            None => None,
        };
        Ok((first.is_some() || last.is_some()).then_some(Forced { first, last }))
    }

    fn apply(&self, length: usize, scores: &mut [f32]) {
        let first = self.first.as_ref().map(|(at, id)| (*at, std::slice::from_ref(id)));
        let last = self.last.as_ref().map(|(at, ids)| (*at, ids.as_slice()));
        for (_, ids) in [first, last].into_iter().flatten().filter(|(at, _)| *at == length) {
            scores.fill(f32::NEG_INFINITY);
            for id in ids {
                if let Some(score) = scores.get_mut(*id as usize) {
                    *score = 0.0;
                }
            }
        }
    }
}

/// Keeps words from being said.
#[derive(Debug, Clone)]
struct BadWords {
    /// Of each word its last id, and those before it.
    words: Rc<Vec<(u32, Vec<u32>)>>,
    text: Vec<u32>,
}

impl BadWords {
    /// None where there are no words but those that end the text.
    fn of(words: &[Vec<u32>], eos: &[u32], prompt: &[u32]) -> Result<Option<BadWords>, GenerationError> {
        let mut bad = Vec::new();
        for word in words {
            match word.split_last() {
                Some((last, [])) if eos.contains(last) => {}
                Some((last, before)) => bad.push((*last, before.to_vec())),
                None => {
                    let (option, value) = ("bad_words_ids", format!("{words:?}"));
                    return Err(GenerationError::Option { option, value, expected: "each word is one id or more" });
                }
            }
        }
        Ok((!bad.is_empty()).then(|| BadWords { words: Rc::new(bad), text: prompt.to_vec() }))
    }

    fn apply(&self, scores: &mut [f32]) {
        for (last, before) in self.words.iter() {
            if self.text.ends_with(before)
                && let Some(score) = scores.get_mut(*last as usize)
            {
                *score = f32::NEG_INFINITY;
            }
        }
    }
}
