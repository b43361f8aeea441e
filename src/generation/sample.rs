//! Sampling: keeps the likelier tokens, as transformers' warpers do, and draws one of them.

use std::cmp::Ordering;

/// Tokens that `top_p` looks at first; where they don't hold enough of the probability, eight times as many, and so on.
const FEW: usize = 64;

/// Temperature, then `top_k`, `top_p` and `min_p`, then a draw from what is left.
#[derive(Debug)]
pub(super) struct Sampler {
    /// Above 0.
    pub(super) temperature: f32,
    /// 0 keeps all.
    pub(super) top_k: usize,
    /// Above 0; 1 keeps all.
    pub(super) top_p: f64,
    /// 0 keeps all; at most 1.
    pub(super) min_p: f32,
    pub(super) rng: fastrand::Rng,
    /// What is left of the last row. Kept for its memory.
    pub(super) kept: Vec<Candidate>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) id: u32,
    pub(super) logit: f32,
    /// Probability over the likeliest token's.
    pub(super) weight: f32,
}

impl Sampler {
    /// `None` where no token has a score.
    pub(super) fn draw(&mut self, logits: &[f32]) -> Option<u32> {
        self.keep(logits);
        let mut left = self.rng.f64() * mass(&self.kept);
        let drawn = self.kept.iter().find(|candidate| {
            left -= f64::from(candidate.weight);
            left < 0.0
        });
        // Rounding may leave a crumb after the last one.
        drawn.or(self.kept.last()).map(|candidate| candidate.id)
    }

    /// Fills `kept`, in no particular order. Neither NaN nor minus infinity is a score.
    pub(super) fn keep(&mut self, logits: &[f32]) {
        let kept = &mut self.kept;
        kept.clear();
        let scored = logits.iter().zip(0..).filter(|(logit, _)| **logit > f32::NEG_INFINITY);
        kept.extend(scored.map(|(logit, id)| Candidate { id, logit: *logit, weight: 0.0 }));
        if (1..kept.len()).contains(&self.top_k) {
            let (_, last, _) = kept.select_nth_unstable_by(self.top_k - 1, likelier);
            let least = last.logit;
            // Equals of the last one stay.
            kept.retain(|candidate| candidate.logit >= least);
        }
        let max = kept.iter().fold(f32::NEG_INFINITY, |max, candidate| max.max(candidate.logit));
        for candidate in kept.iter_mut() {
            // The temperature divides differences, which a tiny one can't turn into infinity minus infinity.
            let below = if candidate.logit == max { 0.0 } else { (candidate.logit - max) / self.temperature };
            candidate.weight = below.exp();
        }
        if self.top_p < 1.0 {
            keep_mass(kept, self.top_p * mass(kept));
        }
        kept.retain(|candidate| candidate.weight >= self.min_p);
    }
}

/// Keeps the likeliest tokens that together have a weight of `wanted`, the one that reaches it included.
fn keep_mass(kept: &mut Vec<Candidate>, wanted: f64) {
    let mut count = FEW;
    while count < kept.len() {
        let (before, _, _) = kept.select_nth_unstable_by(count, likelier);
        if mass(before) >= wanted {
            kept.truncate(count);
            break;
        }
        count = count.saturating_mul(8);
    }
    kept.sort_unstable_by(likelier);
    let mut above = 0.0;
    let reached = kept.iter().position(|candidate| {
        above += f64::from(candidate.weight);
        above >= wanted
    });
    if let Some(last) = reached {
        kept.truncate(last + 1);
    }
}

fn mass(candidates: &[Candidate]) -> f64 {
    candidates.iter().map(|candidate| f64::from(candidate.weight)).sum()
}

/// The likelier one first; of equals the last in the vocabulary, which is the one that transformers' `top_p` keeps.
fn likelier(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(b.id.cmp(&a.id))
}
