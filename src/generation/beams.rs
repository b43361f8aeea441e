//! Beam search: texts that grow side by side, of which the likeliest go on. Transformers' `GenerationMixin._beam_search`, for one
//! prompt: the same arithmetic in float32, penalties of -1e9 included.

use super::processors::Processors;
use super::{GenerateOptions, GenerationError};
use crate::config::{EarlyStopping, GenerationConfig};

/// What takes a text out of the running without a score of its own.
const OUT: f32 = -1.0e9;

/// Beams at most: each has a row of logits and caches of its own, and a repo may ask for any number.
const MOST_BEAMS: usize = 128;

/// A search's state.
#[derive(Debug)]
pub struct Beams {
    /// The texts that grow, best first; at first they are all the prompt.
    running: Vec<Beam>,
    /// The best whole texts so far, best first; as many as beams, of which the last may be none yet.
    whole: Vec<Whole>,
    /// How many of those are wanted.
    returned: usize,
    length_penalty: f64,
    early_stopping: EarlyStopping,
    /// Whether the probabilities of what may be said add up to 1.
    renormalizes: bool,
    eos: Vec<u32>,
    /// New tokens at most.
    most: usize,
    /// Whether what grows may still become better.
    may_improve: bool,
}

/// A text that grows.
#[derive(Debug, Clone)]
struct Beam {
    new: Vec<u32>,
    /// The sum of its tokens' log-probabilities.
    score: f32,
    processors: Processors,
}

/// A text that has ended.
#[derive(Debug, Clone)]
struct Whole {
    new: Vec<u32>,
    score: f32,
    is_there: bool,
}

/// A token behind a text.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    /// The text: which of the running ones.
    beam: usize,
    id: u32,
    score: f32,
}

impl Beams {
    /// A search for what follows `prompt`.
    ///
    /// # Errors
    /// [`GenerationError::Option`] for a value that transformers would refuse too, for `do_sample`, and for more than 128 beams.
    pub fn new(options: &GenerateOptions, config: &GenerationConfig, prompt: &[u32]) -> Result<Beams, GenerationError> {
        let beams = options.num_beams.or(config.num_beams).unwrap_or(1);
        let returned = options.num_return_sequences.or(config.num_return_sequences).unwrap_or(1);
        let wrong =
            |option, value: usize, expected| GenerationError::Option { option, value: value.to_string(), expected };
        if !(1..=MOST_BEAMS).contains(&beams) {
            return Err(wrong("num_beams", beams, "give a number from 1 to 128"));
        }
        if returned == 0 || returned > beams {
            return Err(wrong("num_return_sequences", returned, "give a number from 1 to num_beams"));
        }
        if options.do_sample.or(config.do_sample) == Some(true) {
            let (option, value) = ("do_sample", "true".to_owned());
            let expected = "beams are not drawn at random; give do_sample: false, or num_beams: 1";
            return Err(GenerationError::Option { option, value, expected });
        }
        let processors = Processors::new(options, config, prompt)?;
        // The first tokens are those of the first beam alone: the others are the same text.
        let score = |beam| if beam == 0 { 0.0 } else { OUT };
        let beam = |beam| Beam { new: Vec::new(), score: score(beam), processors: processors.clone() };
        Ok(Beams {
            running: (0..beams).map(beam).collect(),
            whole: vec![Whole { new: Vec::new(), score: OUT, is_there: false }; beams],
            returned,
            length_penalty: options.length_penalty.or(config.length_penalty).unwrap_or(1.0),
            early_stopping: options.early_stopping.or(config.early_stopping).unwrap_or_default(),
            renormalizes: options.renormalize_logits.or(config.renormalize_logits).unwrap_or(false),
            eos: options.eos(config),
            most: options.new_tokens(config, prompt.len())?,
            may_improve: true,
        })
    }

    /// New tokens at most.
    pub fn most(&self) -> usize {
        self.most
    }

    /// The last token of each text that grows.
    pub fn last_ids(&self) -> Vec<u32> {
        self.running.iter().map(|beam| beam.new.last().copied().unwrap_or_default()).collect()
    }

    /// Goes on by the logits of each text's next token, which are changed. Gives of which of the texts each that grows now is a
    /// continuation; `None`: the search is over.
    pub fn advance(&mut self, logits: &mut [Vec<f32>]) -> Option<Vec<usize>> {
        let beams = self.running.len();
        for (beam, row) in self.running.iter().zip(logits.iter_mut()) {
            log_softmax(row);
            beam.processors.apply(row);
            if self.renormalizes {
                log_softmax(row);
            }
        }
        let best = best(&self.running, logits, (1 + self.eos.len()).max(2) * beams);
        let length = self.running.first().map_or(0, |beam| beam.new.len()) + 1;
        let ends = |candidate: &Candidate| length >= self.most || self.eos.contains(&candidate.id);

        let mut going = Vec::with_capacity(beams + 1);
        for candidate in &best {
            let score = candidate.score + if ends(candidate) { OUT } else { 0.0 };
            keep_best(&mut going, beams, Candidate { score, ..*candidate }, |candidate| candidate.score);
        }
        let running = going.iter().filter_map(|candidate| {
            let mut beam = self.running.get(candidate.beam)?.clone();
            beam.new.push(candidate.id);
            beam.processors.record(candidate.id);
            Some(Beam { score: candidate.score, ..beam })
        });
        let running: Vec<Beam> = running.collect();
        let all_end = best.iter().all(ends);

        self.finish(&best, length);
        self.running = running;
        self.may_improve &= self.could_improve(length);
        (self.may_improve && !self.is_full() && !all_end)
            .then(|| going.iter().map(|candidate| candidate.beam).collect())
    }

    /// The best whole texts' new ids, best first, and their scores.
    pub fn into_best(self) -> Vec<(Vec<u32>, f32)> {
        self.whole.into_iter().take(self.returned).map(|whole| (whole.new, whole.score)).collect()
    }

    /// Puts those of the best that end among the whole texts; only the first ones, as many as there are beams, count.
    fn finish(&mut self, best: &[Candidate], length: usize) {
        let beams = self.running.len();
        let is_full = self.is_full();
        let ended = best.iter().take(beams).filter(|candidate| length >= self.most || self.eos.contains(&candidate.id));
        for candidate in ended {
            let mut score = candidate.score / self.penalty(length);
            if is_full {
                score += OUT;
            }
            if !self.may_improve {
                score += OUT;
            }
            let mut new = self.running.get(candidate.beam).map(|beam| beam.new.clone()).unwrap_or_default();
            new.push(candidate.id);
            keep_best(&mut self.whole, beams, Whole { new, score, is_there: true }, |whole| whole.score);
        }
    }

    /// Whether there are as many whole texts as are enough.
    fn is_full(&self) -> bool {
        self.early_stopping == EarlyStopping::AtOnce && self.whole.iter().all(|whole| whole.is_there)
    }

    /// Whether the best text that grows may become better than the worst whole one. With a penalty it's a guess, which is how
    /// [`EarlyStopping`]s differ.
    fn could_improve(&self, length: usize) -> bool {
        let hopes = self.early_stopping == EarlyStopping::Never && self.length_penalty > 0.0;
        let possible = self.running.first().map_or(OUT, |beam| beam.score);
        let possible = possible / self.penalty(if hopes { self.most } else { length });
        let worst = self.whole.iter().fold(f32::INFINITY, |worst, whole| worst.min(whole.score));
        self.whole.iter().any(|whole| possible > if whole.is_there { worst } else { OUT })
    }

    fn penalty(&self, length: usize) -> f32 {
        (length as f64).powf(self.length_penalty) as f32
    }
}

/// The best of all continuations of all texts, best first; of equals, the first.
fn best(running: &[Beam], scores: &[Vec<f32>], count: usize) -> Vec<Candidate> {
    let mut best: Vec<Candidate> = Vec::with_capacity(count + 1);
    for (beam, (text, row)) in running.iter().zip(scores).enumerate() {
        for (score, id) in row.iter().zip(0..) {
            let score = if score.is_nan() { f32::NEG_INFINITY } else { score + text.score };
            keep_best(&mut best, count, Candidate { beam, id, score }, |candidate| candidate.score);
        }
    }
    best
}

/// Puts `one` into its place among the best, of which `count` are kept; behind its equals.
fn keep_best<T>(best: &mut Vec<T>, count: usize, one: T, score: impl Fn(&T) -> f32) {
    let own = score(&one);
    if best.len() >= count && best.last().is_some_and(|last| own <= score(last)) {
        return;
    }
    best.insert(best.partition_point(|other| score(other) >= own), one);
    best.truncate(count);
}

fn log_softmax(row: &mut [f32]) {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = row.iter().filter(|x| !x.is_nan()).map(|x| f64::from((x - most).exp())).sum();
    let log = sum.ln() as f32;
    row.iter_mut().for_each(|x| *x = *x - most - log);
}

#[cfg(test)]
#[path = "beams_tests.rs"]
mod tests;
