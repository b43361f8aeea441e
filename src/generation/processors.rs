//! What changes scores before a token is chosen, be it greedily or by sampling: transformers' logits processors.

/// Makes tokens that the text already has less likely (above 1) or more likely (below 1).
#[derive(Debug)]
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
#[derive(Debug)]
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
#[derive(Debug)]
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
