//! What comes between a model's layers, for those who want to see it: hidden states, and by which shares tokens attend to
//! each other.

use std::rc::Rc;

use super::crossing::read_back;
use super::forward::{Output, Run};
use super::on_gpu::OnGpu;
use super::runner::Runner;
use super::session::{GpuSession, Session};
use crate::Result;
use crate::models::Experts;
use crate::tensor::cpu::{CpuError, resize};
use crate::tensor::gpu::device::{Encoder, GpuError, Usage};
use crate::tensor::gpu::program::Program;
use crate::weights::loader::Loader;

/// What messages call them.
const WEIGHTS: &str = "attention weights";

/// What is kept of it.
#[derive(Debug, Default)]
pub(super) struct Between {
    /// What each block leaves, row after row, but for the last layer where what the norm behind it gives is wanted instead.
    pub states: Option<Vec<Vec<f32>>>,
    /// Of each layer, the weights of its attention.
    pub attentions: Option<Attentions>,
}

/// The weights of each layer's attention over a whole text.
#[derive(Debug)]
pub(super) struct Attentions {
    /// The text's tokens, and how many of them those that run come behind.
    tokens: usize,
    past: usize,
    /// `[heads][tokens behind the past][tokens]` of each layer.
    pub layers: Vec<Vec<f32>>,
}

impl Attentions {
    /// None yet of a text of so many tokens, the first of which have been read before.
    pub fn of(past: usize, tokens: usize) -> Attentions {
        Attentions { tokens, past, layers: Vec::new() }
    }

    /// Takes those of `[rows][heads][keys]`, the rows being those of tokens from `position` on.
    ///
    /// # Errors
    /// `CPU_OUT_OF_MEMORY`: they grow with the square of the text.
    fn take(&mut self, nth: usize, weights: &[f32], rows: usize, position: usize) -> Result<(), CpuError> {
        let (tokens, keys) = (self.tokens, position + rows);
        let run = tokens.saturating_sub(self.past);
        let heads = weights.len() / (rows * keys).max(1);
        if self.layers.len() <= nth {
            self.layers.resize(nth + 1, Vec::new());
        }
        let Some(layer) = self.layers.get_mut(nth) else { return Ok(()) };
        let len = heads.saturating_mul(run).saturating_mul(tokens);
        resize(layer, len, WEIGHTS)?;
        for (i, row) in weights.chunks_exact(keys.max(1)).enumerate() {
            let (token, head) = (i / heads.max(1), i % heads.max(1));
            let at = (head * run + position.saturating_sub(self.past) + token) * tokens;
            layer.iter_mut().skip(at).zip(row).for_each(|(to, weight)| *to = *weight);
        }
        Ok(())
    }
}

impl Runner {
    /// Keeps the weights of a block's attention, where they are wanted; its experts, if it has some, have not run yet. Gives the
    /// work, to be gone on with.
    pub(super) async fn keep_attention(
        &self,
        session: &mut Session,
        run: Run<'_>,
        block: usize,
        mut left: Option<Output>,
        between: &mut Between,
    ) -> Result<Option<Output>> {
        if let (Some(attentions), true) = (&mut between.attentions, self.is_layer(block)) {
            let weights;
            (left, weights) = self.read_shown(session, left).await?;
            // An encoder's layers come before the run.
            let layer = (run.blocks.0..block).filter(|before| self.is_layer(*before)).count();
            attentions.take(layer, &weights, session.ids.len(), session.position)?;
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

    /// The weights of the attention that ran last: `[tokens][heads][keys]`.
    async fn read_shown(&self, session: &mut Session, left: Option<Output>) -> Result<(Option<Output>, Vec<f32>)> {
        let encoder = match left {
            Some(Output::Gpu(encoder)) => encoder,
            left => return Ok((left, session.memory.shown().to_vec())),
        };
        let gpu = &self.on_gpu()?.gpu;
        let shown = session.on_gpu()?.shown()?;
        let bytes = read_back(gpu, encoder, WEIGHTS, &[(shown, shown.size())]).await?;
        let words = bytes.as_chunks::<4>().0;
        let mut weights = Vec::new();
        resize(&mut weights, words.len(), WEIGHTS)?;
        weights.iter_mut().zip(words).for_each(|(to, word)| *to = f32::from_le_bytes(*word));
        Ok((Some(Output::Gpu(gpu.encoder())), weights))
    }
}

impl GpuSession {
    /// Encodes what shows the weights of a block's attention, where it has one. The block has just been encoded.
    pub(super) async fn encode_show(
        &mut self,
        on: &OnGpu,
        loader: &Loader,
        run: Run<'_>,
        block: usize,
        encoder: &mut Encoder,
    ) -> Result<()> {
        let OnGpu { gpu, recorded, .. } = on;
        let Some(dispatch) = recorded.shown_by(run.mode, block) else { return Ok(()) };
        let [heads, tokens, keys] =
            [dispatch.params.first().copied().unwrap_or(0), self.running.tokens, self.running.keys].map(u64::from);
        let needed = heads * tokens * keys * 4;
        let allowed = gpu.capabilities().max_storage_buffer_binding_size;
        if needed > allowed {
            let what = format!("{WEIGHTS} of {tokens} tokens");
            return Err(GpuError::Limit { what, limit: "maxStorageBufferBindingSize", needed, allowed }.into());
        }
        // Of exactly their size, as they are read back whole.
        let make = || gpu.create_buffer(WEIGHTS, needed, Usage::Storage);
        self.shown = Some((Rc::new(gpu.checked(WEIGHTS, make).await?), None));
        self.rare.compile(gpu, [&dispatch.kernel]).await?;
        let link = || Program::link(gpu, &self.rare, std::slice::from_ref(dispatch), |name| self.buffer(loader, name));
        let program = gpu.checked("a program's parameters", link).await?;
        program.encode(&mut encoder.pass(), self.running);
        // It must be there until it has been submitted.
        if let Some((_, shows)) = &mut self.shown {
            *shows = Some(program);
        }
        Ok(())
    }
}
