//! How much of a GPU what isn't weights takes: activations, caches, what is on its way. It is known before any of it is there, so
//! that the weights get the rest.

use std::collections::BTreeSet;

use super::recorded::{PREFILL_TOKENS, Recorded, output_tokens};
use super::routing::Routing;
use crate::models::Model;
use crate::tensor::gpu::device::Gpu;
use crate::tensor::gpu::dispatch::{BufferName, stride};
use crate::tensor::gpu::program::params_bytes;
use crate::tensor::gpu::record::{ARGMAX_SPAN, Mode};
use crate::tensor::ops::Rows;

/// Caches grow by this many positions.
pub(super) const CACHE_STEP: usize = 256;

/// Steps submitted ahead of the ids read, at most.
pub(super) const MOST_AHEAD: usize = 8;

/// What a call needs room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// Tokens that run at a time.
    pub rows: usize,
    /// Positions of the text.
    pub positions: usize,
    /// Tokens that an encoder reads.
    pub memory: usize,
    /// Whether the output of all tokens is wanted.
    pub outputs: bool,
    /// Whether attentions' weights are.
    pub attentions: bool,
    /// Texts that grow side by side: of each there is a row of logits that is read back.
    pub beams: usize,
    /// Positions that are kept apart for them.
    pub apart: usize,
}

impl Room {
    /// What room is kept for until something needs more.
    pub fn first(model: &dyn Model) -> Room {
        let shape = model.shape();
        let (rows, memory) = match &shape.encoder {
            None => (PREFILL_TOKENS, 0),
            Some(encoder) => {
                let tokens = encoder.positions.filter(|_| encoder.features > 0).unwrap_or(PREFILL_TOKENS);
                (if encoder.features > 0 { 2 * tokens } else { tokens }, tokens)
            }
        };
        Room {
            rows,
            positions: CACHE_STEP,
            memory,
            outputs: !model.task().writes(),
            attentions: false,
            beams: 1,
            apart: 0,
        }
    }

    /// Room for either.
    pub fn or(self, other: Room) -> Room {
        Room {
            rows: self.rows.max(other.rows),
            positions: self.positions.max(other.positions),
            memory: self.memory.max(other.memory),
            outputs: self.outputs || other.outputs,
            attentions: self.attentions || other.attentions,
            beams: self.beams.max(other.beams),
            apart: self.apart.max(other.apart),
        }
    }

    /// Room for twice as long a text, as long texts become longer.
    pub fn doubled(self) -> Room {
        Room { positions: self.positions.next_power_of_two(), ..self }
    }
}

/// Bytes that a model takes on a GPU beside its weights, by what there is room for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beside {
    /// In any case.
    fixed: u64,
    /// For each row that runs.
    row: u64,
    /// For each position, of all caches, and of the widest once more: one that grows is copied.
    position: u64,
    /// For each token that an encoder reads.
    memory: u64,
    /// Where the output of all tokens is wanted.
    outputs: u64,
    /// Tokens whose output is made at a time.
    output_tokens: usize,
    /// Heads whose weights are shown.
    heads: u64,
    /// A row of logits.
    logits: u64,
}

impl Beside {
    /// What is recorded of a model for a GPU; `staging` is what its weights wait in on their way.
    pub fn of(gpu: &Gpu, model: &dyn Model, recorded: &Recorded, staging: u64) -> Beside {
        let shape = model.shape();
        let own = recorded.places();
        let all = model.caches();
        let caches = |of_encoder| {
            let bytes = all.iter().filter(|cache| cache.of_encoder == of_encoder).map(|cache| cache.width as u64 * 4);
            bytes.clone().sum::<u64>() + bytes.max().unwrap_or_default()
        };
        let candidates = shape.vocab_size.div_ceil(ARGMAX_SPAN) * 8;
        // Ids that are read back, and the smallest buffers that stand for what a model hasn't.
        let read_back = 4 * MOST_AHEAD + 24;
        let params = params_bytes(gpu, recorded.dispatches().chain(recorded.given()).count());
        let fixed = (candidates + read_back) as u64 + params + staging + Routing::bytes(model);
        // The step's angles, ids, types and positions; and what crosses to the CPU.
        let row = (shape.angles.max(1) * 8 + 12 + 4 * stride(recorded.output.hidden.width)) as u64;
        let mut beside = Beside {
            fixed,
            row,
            position: caches(false),
            memory: caches(true),
            outputs: 0,
            output_tokens: output_tokens(&shape),
            heads: recorded.heads_shown(),
            logits: (4 * stride(shape.vocab_size)) as u64,
        };
        for (place, shape) in recorded.activations.shapes().iter().enumerate() {
            let bytes = (stride(shape.width) * 4) as u64;
            let fixed = match (shape.rows, shape.most) {
                (Rows::One, _) => bytes,
                (Rows::All, Some(most)) => bytes * most as u64,
                (Rows::All, None) => {
                    let is_read_back = [recorded.output.logits, recorded.output.pooled].into_iter().flatten();
                    let times = 1 + is_read_back.filter(|output| output.id == place).count() as u64;
                    beside.row += bytes * times;
                    continue;
                }
            };
            // What only the output of all tokens needs is read back whole.
            if own.contains(&place) { beside.fixed += fixed } else { beside.outputs += 2 * fixed }
        }
        beside
    }

    /// Bytes for this room.
    pub fn bytes(&self, room: Room) -> u64 {
        let steps = |positions: usize| positions.next_multiple_of(CACHE_STEP) as u64;
        let rows = room.rows.next_multiple_of(PREFILL_TOKENS) as u64;
        let outputs = if room.outputs { self.outputs } else { 0 };
        // Of an encoder's tokens to each other; of the text's, as many as run together, to each other and to those.
        let of_text = room.positions.min(self.output_tokens).saturating_mul(room.positions.max(room.memory));
        let shown = room.memory.saturating_mul(room.memory).max(of_text) as u64;
        // They are read back, too.
        let attentions = if room.attentions { self.heads.saturating_mul(shown).saturating_mul(8) } else { 0 };
        let kept = [
            self.fixed,
            rows.saturating_mul(self.row),
            steps(room.positions).saturating_mul(self.position),
            steps(room.memory).saturating_mul(self.memory),
            outputs,
            attentions,
            (room.beams.max(1) as u64).saturating_mul(self.logits),
            (room.apart as u64).saturating_mul(self.position),
        ];
        kept.into_iter().fold(0, u64::saturating_add)
    }
}

impl Recorded {
    /// The activations that are there whether or not the output of all tokens is wanted.
    fn places(&self) -> BTreeSet<usize> {
        let own = [Mode::Decode, Mode::Prefill].into_iter().flat_map(|mode| self.all(mode)).chain(self.given());
        let names = own.flat_map(|dispatch| &dispatch.buffers);
        names.filter_map(|name| if let BufferName::Activation(place) = name { Some(*place) } else { None }).collect()
    }
}
