//! All of a model's programs, recorded before any weight is there.

use crate::Result;
use crate::models::{HeadRows, Model};
use crate::tensor::gpu::kernel::{Kernel, Tuning};
use crate::tensor::gpu::record::{Activations, Dispatch, Mode, Recorder};
use crate::tensor::ops::Tensor;
use crate::weights::layout::Layout;

/// What a run through the blocks ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The largest logit's index becomes the next token.
    Greedy,
    /// Logits of all the tokens that ran.
    Logits,
}

/// A model's blocks as dispatches.
pub struct Recorded {
    decode: Vec<Vec<Dispatch>>,
    prefill: Vec<Vec<Dispatch>>,
    all_logits: Vec<Dispatch>,
    /// The buffers that the blocks share.
    pub activations: Activations,
    /// Where [`Ending::Greedy`] leaves the last token's logits, in either mode.
    pub last_logits: Tensor,
    /// Where [`Ending::Logits`] leaves its logits.
    pub logits: Tensor,
    /// Tokens that may run at a time when all their logits are wanted.
    pub logits_tokens: usize,
}

/// Logits of this many bytes are computed at a time when they are wanted for all tokens.
const LOGITS_BYTES: usize = 8 << 20;

impl Recorded {
    /// Records every block in every form it runs in.
    pub fn new(model: &dyn Model, tuning: &Tuning, layouts: &[Layout]) -> Result<Recorded> {
        let mut activations = Activations::default();
        let (decode, _) = run(model, tuning, layouts, &mut activations, Mode::Decode, Ending::Greedy)?;
        let (prefill, last_logits) = run(model, tuning, layouts, &mut activations, Mode::Prefill, Ending::Greedy)?;
        let (mut all, logits) = run(model, tuning, layouts, &mut activations, Mode::Prefill, Ending::Logits)?;
        let logits_tokens = logits_tokens(model);
        Ok(Recorded {
            decode,
            prefill,
            all_logits: all.pop().unwrap_or_default(),
            activations,
            last_logits,
            logits,
            logits_tokens,
        })
    }

    /// The dispatches of one block.
    pub fn block(&self, mode: Mode, ending: Ending, index: usize) -> &[Dispatch] {
        let blocks = match mode {
            Mode::Decode => &self.decode,
            Mode::Prefill => &self.prefill,
        };
        if ending == Ending::Logits && index + 1 == blocks.len() {
            return &self.all_logits;
        }
        blocks.get(index).map_or(&[], Vec::as_slice)
    }

    /// Every kernel that some block needs.
    pub fn kernels(&self) -> impl Iterator<Item = &Kernel> {
        let blocks = self.decode.iter().chain(&self.prefill).flatten();
        blocks.chain(&self.all_logits).map(|dispatch| &dispatch.kernel)
    }

    /// Dispatches of one decoded token.
    pub fn dispatches_per_token(&self) -> usize {
        self.decode.iter().map(Vec::len).sum()
    }
}

fn logits_tokens(model: &dyn Model) -> usize {
    (LOGITS_BYTES / (model.shape().vocab_size * 4)).clamp(1, 256)
}

fn run(
    model: &dyn Model,
    tuning: &Tuning,
    layouts: &[Layout],
    activations: &mut Activations,
    mode: Mode,
    ending: Ending,
) -> Result<(Vec<Vec<Dispatch>>, Tensor)> {
    let mut recorder = Recorder::new(mode, tuning, layouts, activations);
    let head = if ending == Ending::Logits { HeadRows::All } else { HeadRows::Last };
    let last = model.blocks().len().saturating_sub(1);
    let mut x = model.block(&mut recorder, 0, None, head)?;
    let mut blocks = vec![recorder.take()];
    for index in 1..=last {
        let input = recorder.carry(x);
        if index == last && ending == Ending::Logits {
            recorder.limit_rows(logits_tokens(model));
        }
        x = model.block(&mut recorder, index, Some(input), head)?;
        if index == last && ending == Ending::Greedy {
            recorder.argmax(x);
        }
        blocks.push(recorder.take());
    }
    Ok((blocks, x))
}
