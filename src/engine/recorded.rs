//! All of a model's programs, recorded before any weight is there.

use std::collections::HashMap;

use crate::Result;
use crate::models::{HeadRows, Model, ModelShape, Outputs};
use crate::tensor::gpu::device::GpuError;
use crate::tensor::gpu::dispatch::{Activations, Dispatch};
use crate::tensor::gpu::kernel::{Kernel, Tuning};
use crate::tensor::gpu::record::{Mode, Recorder};
use crate::tensor::ops::{AttentionKind, Ops, Tensor};
use crate::weights::layout::Layout;

/// Tokens that run at a time when a prompt is read. Longer prompts are cut: it bounds the activations' memory.
pub const PREFILL_TOKENS: usize = 256;

/// What a run through the blocks ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The largest logit's index becomes the next token.
    Greedy,
    /// The output for all the tokens that ran: logits, or hidden states of a model without a head.
    Output,
}

/// A model's blocks as dispatches.
pub struct Recorded {
    decode: Blocks,
    prefill: Blocks,
    all_rows: Vec<Dispatch>,
    /// The buffers that the blocks share.
    pub activations: Activations,
    /// Where [`Ending::Greedy`] leaves the last token's logits, in either mode.
    pub last_logits: Tensor,
    /// The first block, where it is given rows in the place of its embeddings.
    given: Vec<Dispatch>,
    /// Where the first block reads the rows that its caller gives, if it can.
    pub features: Option<Tensor>,
    /// Where [`Ending::Output`] leaves its rows.
    pub output: Outputs,
}

/// Blocks in one form.
#[derive(Default)]
struct Blocks {
    dispatches: Vec<Vec<Dispatch>>,
    /// The hidden state that each block leaves.
    hidden: HashMap<usize, Tensor>,
    /// The logits of those that route to experts.
    routing: HashMap<usize, Tensor>,
    /// What shows the weights of their attentions.
    shown: HashMap<usize, Vec<(AttentionKind, Dispatch)>>,
    /// The first one, where it is given rows in the place of its embeddings.
    given: Vec<Dispatch>,
    /// Where the first one reads what its caller gives.
    features: Option<Tensor>,
}

/// Output of this many bytes is computed at a time when it is wanted for all tokens.
const OUTPUT_BYTES: usize = 8 << 20;

impl Recorded {
    /// Records every block in every form it runs in. A model without a head has no tokens to choose.
    pub fn new(model: &dyn Model, tuning: &Tuning, layouts: &[Layout]) -> Result<Recorded> {
        let mut activations = Activations::default();
        let mut record = |mode, ending| run(model, tuning, layouts, &mut activations, mode, ending);
        let (all, output) = record(Mode::Prefill, Ending::Output)?;
        let all_rows = all.dispatches.last().cloned().unwrap_or_default();
        let (decode, prefill, last_logits) = match model.task() {
            task if task.writes() => {
                let (prefill, last) = record(Mode::Prefill, Ending::Greedy)?;
                (record(Mode::Decode, Ending::Greedy)?.0, prefill, last.main())
            }
            _ => (Blocks::default(), all, output.main()),
        };
        let (given, features) = (prefill.given.clone(), prefill.features);
        Ok(Recorded { decode, prefill, all_rows, given, activations, last_logits, features, output })
    }

    /// The dispatches of one block.
    pub fn block(&self, mode: Mode, ending: Ending, index: usize) -> &[Dispatch] {
        let blocks = &self.blocks(mode).dispatches;
        if ending == Ending::Output && index + 1 == blocks.len() {
            return &self.all_rows;
        }
        blocks.get(index).map_or(&[], Vec::as_slice)
    }

    /// The dispatches of the first block where it is given rows in the place of its embeddings. Their kernels are not among
    /// [`kernels`](Self::kernels), since hardly anybody wants them.
    pub fn given(&self) -> &[Dispatch] {
        &self.given
    }

    /// The hidden state that a block leaves, unless it is the last one.
    pub fn left_by(&self, mode: Mode, block: usize) -> Option<Tensor> {
        self.blocks(mode).hidden.get(&block).copied()
    }

    /// The logits of the router of a block that has one.
    pub fn routing_of(&self, mode: Mode, block: usize) -> Option<Tensor> {
        self.blocks(mode).routing.get(&block).copied()
    }

    /// What shows the weights of a block's attentions of many tokens, in their order.
    pub fn shown_by(&self, mode: Mode, block: usize) -> &[(AttentionKind, Dispatch)] {
        self.blocks(mode).shown.get(&block).map(Vec::as_slice).unwrap_or_default()
    }

    fn blocks(&self, mode: Mode) -> &Blocks {
        match mode {
            Mode::Decode => &self.decode,
            Mode::Prefill => &self.prefill,
        }
    }

    /// The dispatches of all blocks in one form.
    pub fn all(&self, mode: Mode) -> impl Iterator<Item = &Dispatch> {
        self.blocks(mode).dispatches.iter().flatten()
    }

    /// All dispatches in all forms, but for those where the first block is given rows.
    pub fn dispatches(&self) -> impl Iterator<Item = &Dispatch> {
        self.all(Mode::Decode).chain(self.all(Mode::Prefill)).chain(&self.all_rows)
    }

    /// Every kernel that some block needs.
    pub fn kernels(&self) -> impl Iterator<Item = &Kernel> {
        self.dispatches().map(|dispatch| &dispatch.kernel)
    }

    /// The heads of all attentions of the block that has the most, as many as can be shown at a time.
    pub fn heads_shown(&self) -> u64 {
        let heads = |dispatch: &Dispatch| dispatch.params.first().copied().map_or(0, u64::from);
        let of = |shown: &Vec<(AttentionKind, Dispatch)>| shown.iter().map(|(_, dispatch)| heads(dispatch)).sum();
        self.prefill.shown.values().map(of).max().unwrap_or(0)
    }

    /// Dispatches of one decoded token: of a layer's experts, those to which it is routed.
    pub fn dispatches_per_token(&self, model: &dyn Model) -> usize {
        let of = |block: usize| self.decode.dispatches.get(block).map_or(0, Vec::len);
        let passed = (0..self.decode.dispatches.len()).filter(|block| !model.is_expert(*block));
        let routed = |block| model.experts(block).map_or(0, |experts| experts.per_token * of(experts.blocks.start));
        passed.map(|block| of(block) + routed(block)).sum()
    }
}

/// Tokens that may run at a time when the output of them all is wanted.
pub fn output_tokens(shape: &ModelShape) -> usize {
    // Where tokens attend to those behind them, the text can't be cut.
    if shape.causal { (OUTPUT_BYTES / (shape.output_size * 4)).clamp(1, PREFILL_TOKENS) } else { usize::MAX }
}

fn run(
    model: &dyn Model,
    tuning: &Tuning,
    layouts: &[Layout],
    activations: &mut Activations,
    mode: Mode,
    ending: Ending,
) -> Result<(Blocks, Outputs)> {
    let mut recorder = Recorder::new(mode, tuning, layouts, activations);
    let head = if ending == Ending::Output { HeadRows::All } else { HeadRows::Last };
    let last = model.blocks().len().saturating_sub(1);
    let shape = model.shape();
    let first = shape.encoder.as_ref().map_or(0, |encoder| encoder.blocks);
    let mut blocks = Blocks::default();
    let mut left: Option<Outputs> = None;
    for index in 0..=last {
        // One token at a time is never read by an encoder.
        if index < first && mode == Mode::Decode {
            blocks.dispatches.push(Vec::new());
            continue;
        }
        let input = left.filter(|_| index != first).map(|left| recorder.carry(left.hidden));
        if index == last && ending == Ending::Output && shape.causal {
            recorder.limit_rows(output_tokens(&shape));
        }
        let outputs = model.block(&mut recorder, index, input, head)?;
        if index == last && ending == Ending::Greedy {
            recorder.argmax(outputs.main());
        }
        blocks.dispatches.push(recorder.take());
        if index == 0 && shape.embeds > 0 && mode == Mode::Prefill {
            let rows = recorder.features(shape.embeds)?;
            let given = model.block(&mut recorder, 0, Some(rows), head)?;
            blocks.given = recorder.take();
            if given.hidden != outputs.hidden {
                let message = "rows that are given lie elsewhere than embeddings".to_owned();
                return Err(GpuError::Refused { what: "a model", message }.into());
            }
        }
        blocks.hidden.insert(index, outputs.hidden);
        blocks.shown.insert(index, recorder.take_shown());
        blocks.routing.extend(outputs.routing.map(|routing| (index, routing)));
        left = Some(outputs);
    }
    blocks.features = recorder.features_read();
    let nothing = || GpuError::Refused { what: "a model", message: "it has no blocks".to_owned() };
    let left = left.ok_or_else(nothing)?;
    Ok((blocks, left))
}
