//! What comes between a model's layers, for those who want to see it: hidden states, and by which shares tokens attend to
//! each other.

use std::rc::Rc;

use super::crossing::read_back;
use super::forward::{Output, Run};
use super::on_gpu::OnGpu;
use super::output::Array;
use super::runner::Runner;
use super::session::{GpuSession, Session};
use crate::Result;
use crate::models::Experts;
use crate::tensor::cpu::{CpuError, resize};
use crate::tensor::gpu::device::{Encoder, GpuError, Usage};
use crate::tensor::gpu::dispatch::BufferName;
use crate::tensor::gpu::program::Program;
use crate::tensor::ops::AttentionKind;
use crate::weights::loader::Loader;

/// What messages call them.
const WEIGHTS: &str = "attention weights";

/// What is kept of it.
#[derive(Debug, Default)]
pub(super) struct Between {
    /// What each block leaves, row after row, but for the last layer where what the norm behind it gives is wanted instead.
    pub states: Option<Vec<Vec<f32>>>,
    /// Of each layer that has one, the weights of its attention; and of that to what an encoder has read, if it has one.
    pub attentions: Vec<Attentions>,
}

impl Between {
    /// What is wanted of it: hidden states, and the weights of these attentions of each layer.
    pub fn of(states: bool, attentions: Vec<Attentions>) -> Between {
        Between { states: states.then(Vec::new), attentions }
    }

    /// Whether something is.
    pub fn is_wanted(&self) -> bool {
        self.states.is_some() || !self.attentions.is_empty()
    }

    /// Whether attentions are to show their weights.
    pub fn shows(&self) -> bool {
        !self.attentions.is_empty()
    }
}

/// The weights of one of each layer's attentions over a whole text.
#[derive(Debug)]
pub(super) struct Attentions {
    /// How many tokens attend, those behind the first `past`.
    tokens: usize,
    past: usize,
    /// To how many.
    keys: usize,
    /// Whether those are the text's own, of which there are as many as have run by then.
    of_text: bool,
    /// `[heads][tokens][keys]` of each layer; nothing of one without attention.
    layers: Vec<Vec<f32>>,
}

impl Attentions {
    /// None yet of a text of so many tokens, the first of which have been read before, to each other.
    pub fn of_text(past: usize, tokens: usize) -> Attentions {
        Attentions { tokens: tokens.saturating_sub(past), past, keys: tokens, of_text: true, layers: Vec::new() }
    }

    /// None yet of so many tokens to those that an encoder has read.
    pub fn of_source(tokens: usize, read: usize) -> Attentions {
        Attentions { tokens, past: 0, keys: read, of_text: false, layers: Vec::new() }
    }

    /// Of each layer that has an attention, `[heads, tokens, keys]`.
    pub fn into_arrays(self) -> Vec<Array> {
        let (tokens, keys) = (self.tokens, self.keys);
        let array = |data: Vec<f32>| Array { dims: vec![data.len() / (tokens * keys).max(1), tokens, keys], data };
        self.layers.into_iter().filter(|layer| !layer.is_empty()).map(array).collect()
    }

    /// Takes those of `[rows][heads][keys]`, the rows being those of tokens from `position` on.
    ///
    /// # Errors
    /// `CPU_OUT_OF_MEMORY`: they grow with the square of the text.
    fn take(&mut self, nth: usize, weights: &[f32], rows: usize, position: usize) -> Result<(), CpuError> {
        let (run, width) = (self.tokens, self.keys);
        let keys = if self.of_text { position + rows } else { width };
        let heads = weights.len() / (rows * keys).max(1);
        if self.layers.len() <= nth {
            self.layers.resize(nth + 1, Vec::new());
        }
        let Some(layer) = self.layers.get_mut(nth) else { return Ok(()) };
        let len = heads.saturating_mul(run).saturating_mul(width);
        resize(layer, len, WEIGHTS)?;
        for (i, row) in weights.chunks_exact(keys.max(1)).enumerate() {
            let (token, head) = (i / heads.max(1), i % heads.max(1));
            let at = (head * run + position.saturating_sub(self.past) + token) * width;
            layer.iter_mut().skip(at).zip(row).for_each(|(to, weight)| *to = *weight);
        }
        Ok(())
    }
}

impl Runner {
    /// Keeps the weights of a block's attentions, where they are wanted; its experts, if it has some, have not run yet. Gives the
    /// work, to be gone on with.
    pub(super) async fn keep_attention(
        &self,
        session: &mut Session,
        run: Run<'_>,
        block: usize,
        mut left: Option<Output>,
        between: &mut Between,
    ) -> Result<Option<Output>> {
        if between.shows() && self.is_layer(block) {
            let shown;
            (left, shown) = self.read_shown(session, left).await?;
            // An encoder's layers come before the run.
            let layer = (run.blocks.0..block).filter(|before| self.is_layer(*before)).count();
            for (attentions, weights) in between.attentions.iter_mut().zip(&shown) {
                attentions.take(layer, weights, session.ids.len(), session.position)?;
            }
        }
        Ok(left)
    }

    /// Keeps what a block, the `nth` of `count`, and its experts have left, where it is wanted. Gives the work, to be gone on
    /// with.
    pub(super) async fn keep_state(
        &self,
        session: &mut Session,
        run: Run<'_>,
        block: usize,
        (nth, count): (usize, usize),
        mut left: Option<Output>,
        between: &mut Between,
    ) -> Result<Option<Output>> {
        let last = if self.model.shape().bare_states { 1 } else { 2 };
        if let (Some(states), true) = (&mut between.states, nth + last < count) {
            states.resize(states.len().max(nth + 1), Vec::new());
            let rows;
            (left, rows) = self.read_state(session, run, block, left).await?;
            states.get_mut(nth).into_iter().for_each(|state| match self.model.experts(block) {
                None => state.extend_from_slice(&rows),
                // Without what its experts have read.
                Some(Experts { hidden_size, .. }) => {
                    rows.chunks_exact(2 * hidden_size).for_each(|row| state.extend(row.iter().take(hidden_size)));
                }
            });
        }
        Ok(left)
    }

    /// The weights of the attentions of the block that ran last: `[tokens][heads][keys]` each.
    async fn read_shown(&self, session: &mut Session, left: Option<Output>) -> Result<(Option<Output>, Vec<Vec<f32>>)> {
        let encoder = match left {
            Some(Output::Gpu(encoder)) => encoder,
            left => return Ok((left, session.memory.take_shown())),
        };
        let gpu = &self.on_gpu()?.gpu;
        let shown = std::mem::take(&mut session.on_gpu()?.shown);
        let parts: Vec<_> = shown.iter().map(|(weights, _)| (weights, weights.size())).collect();
        let bytes = read_back(gpu, encoder, WEIGHTS, &parts).await?;
        let mut words = bytes.as_chunks::<4>().0.iter();
        let mut all = Vec::new();
        for (_, size) in parts {
            let mut weights = Vec::new();
            resize(&mut weights, usize::try_from(size / 4).unwrap_or(usize::MAX), WEIGHTS)?;
            weights.iter_mut().zip(words.by_ref()).for_each(|(to, word)| *to = f32::from_le_bytes(*word));
            all.push(weights);
        }
        Ok((Some(Output::Gpu(gpu.encoder())), all))
    }
}

impl GpuSession {
    /// Encodes what shows the weights of a block's attentions. The block has just been encoded.
    pub(super) async fn encode_show(
        &mut self,
        on: &OnGpu,
        loader: &Loader,
        run: Run<'_>,
        block: usize,
        encoder: &mut Encoder,
    ) -> Result<()> {
        let OnGpu { gpu, recorded, .. } = on;
        self.shown.clear();
        for (kind, dispatch) in recorded.shown_by(run.mode, block) {
            let keys = if *kind == AttentionKind::Cross { self.read } else { self.running.keys };
            let heads = dispatch.params.first().copied().unwrap_or(0);
            let tokens = self.running.tokens;
            let needed = [heads, tokens, keys].map(u64::from).iter().product::<u64>() * 4;
            let allowed = gpu.capabilities().max_storage_buffer_binding_size;
            if needed > allowed {
                let what = format!("{WEIGHTS} of {tokens} tokens to {keys}");
                return Err(GpuError::Limit { what, limit: "maxStorageBufferBindingSize", needed, allowed }.into());
            }
            // Of exactly their size, as they are read back whole.
            let make = || gpu.create_buffer(WEIGHTS, needed, Usage::Storage);
            let weights = Rc::new(gpu.checked(WEIGHTS, make).await?);
            self.rare.compile(gpu, [&dispatch.kernel]).await?;
            let buffer = |name| match name {
                BufferName::AttentionWeights => Ok(weights.clone()),
                name => self.buffer(loader, name),
            };
            let link = || Program::link(gpu, &self.rare, std::slice::from_ref(dispatch), buffer);
            let program = gpu.checked("a program's parameters", link).await?;
            program.encode(&mut encoder.pass(), self.running);
            // It must be there until it has been submitted.
            self.shown.push((weights, program));
        }
        Ok(())
    }
}
