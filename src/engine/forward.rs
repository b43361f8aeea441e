//! One run of tokens through the blocks, waiting for each block's weights as it is reached.

use std::pin::pin;
use std::rc::Rc;

use futures_util::future::{Either, select};
use futures_util::lock::MutexGuard;

use super::Engine;
use super::recorded::{Ending, PREFILL_TOKENS};
use super::runner::Runner;
use super::session::Session;
use crate::Result;
use crate::generation::{GenerationError, check_ids, check_length};
use crate::hub::Abort;
use crate::tensor::gpu::device::{Buffer, Encoder, Usage};
use crate::tensor::gpu::record::{Mode, Running, stride};
use crate::weights::store::State;

impl Engine {
    /// Logits of the token that follows `ids`: `[vocab_size]`.
    ///
    /// # Errors
    /// `INPUT_IDS` where an id is unknown, `CONTEXT_LENGTH`, `NO_HEAD`; what the load or the device says.
    pub async fn next_logits(&self, ids: &[u32], abort: &Abort) -> Result<Vec<f32>> {
        self.has_head()?;
        self.on_some_device(async |runner| runner.next_logits(ids, abort).await).await
    }

    /// Logits for every token of `ids`, row-major `[ids.len(), vocab_size]`; of a model without a head the hidden states,
    /// `[ids.len(), hidden_size]`.
    ///
    /// # Errors
    /// `INPUT_IDS` where an id is unknown; `CONTEXT_LENGTH` where there are more than the model has positions for; what the load or the device says.
    pub async fn forward(&self, ids: &[u32], abort: &Abort) -> Result<Vec<f32>> {
        self.on_some_device(async |runner| runner.forward(ids, abort).await).await
    }
}

impl Runner {
    async fn next_logits(&self, ids: &[u32], abort: &Abort) -> Result<Vec<f32>> {
        let mut session = self.open(ids, ids.len()).await?;
        let encoder = self.prefill(&mut session, ids, abort).await?;
        let logits = self.recorded.last_logits;
        self.read_rows(encoder, session.activation(logits.id)?, 1, logits.width).await
    }

    /// Checks `ids` and waits for the session, with room in its cache for `positions`.
    pub(super) async fn open(&self, ids: &[u32], positions: usize) -> Result<MutexGuard<'_, Session>> {
        self.gpu.alive()?;
        let shape = self.model.shape();
        check_ids(ids, shape.vocab_size)?;
        check_length(ids.len(), shape.positions)?;
        let mut session = self.session.lock().await;
        let positions = shape.positions.map_or(positions, |most| positions.min(most));
        session.reserve(&self.gpu, &shape, positions).await?;
        Ok(session)
    }

    /// Submits the work and reads rows of an activation back.
    async fn read_rows(&self, mut encoder: Encoder, from: &Buffer, rows: usize, width: usize) -> Result<Vec<f32>> {
        let row = stride(width) * 4;
        let bytes = (row * rows) as u64;
        let back = Rc::new(self.gpu.create_buffer("rows", bytes, Usage::Readback)?);
        encoder.copy(from, 0, &back, 0, bytes)?;
        encoder.submit();
        let bytes = self.gpu.map(&back, bytes).bytes().await?;
        let mut values = Vec::with_capacity(rows * width);
        for row in bytes.chunks_exact(row) {
            values.extend(row.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).take(width));
        }
        Ok(values)
    }

    async fn forward(&self, ids: &[u32], abort: &Abort) -> Result<Vec<f32>> {
        let mut session = self.open(ids, ids.len()).await?;
        let mut output = Vec::new();
        let mut position = 0;
        for chunk in ids.chunks(self.recorded.output_tokens) {
            self.begin(&mut session, position, ids.len(), Some(chunk), chunk.len())?;
            let encoder = self.run(&mut session, Mode::Prefill, Ending::Output, true, abort).await?;
            let from = session.activation(self.recorded.output.id)?;
            output.extend(self.read_rows(encoder, from, chunk.len(), self.recorded.output.width).await?);
            position += chunk.len();
        }
        Ok(output)
    }

    /// Runs a prompt from `position` 0 on, chunk by chunk. The last chunk's work is left in the encoder, unsubmitted.
    pub(super) async fn prefill(&self, session: &mut Session, ids: &[u32], abort: &Abort) -> Result<Encoder> {
        let mut position = 0;
        let mut encoder = self.gpu.encoder();
        for chunk in ids.chunks(PREFILL_TOKENS) {
            encoder.submit();
            self.begin(session, position, ids.len(), Some(chunk), chunk.len())?;
            position += chunk.len();
            let last = position == ids.len();
            encoder = self.run(session, Mode::Prefill, Ending::Greedy, last, abort).await?;
        }
        Ok(encoder)
    }

    /// Tells the kernels which tokens run: at which position, with which ids (or the one chosen last), rotated how.
    pub(super) fn begin(
        &self,
        session: &mut Session,
        position: usize,
        length: usize,
        ids: Option<&[u32]>,
        tokens: usize,
    ) -> Result<()> {
        check_length(position + tokens, self.model.shape().positions)?;
        session.running = Running { tokens: tokens as u32, keys: (position + tokens) as u32 };
        let Session { step, step_bytes, angles, .. } = session;
        angles.clear();
        for offset in 0..tokens {
            self.model.rope(position + offset, length, angles);
        }
        step_bytes.clear();
        for word in [tokens as u32, position as u32, 0, 0] {
            step_bytes.extend(word.to_le_bytes());
        }
        step_bytes.extend(angles.iter().flat_map(|angle| angle.to_le_bytes()));
        self.gpu.write(step, 0, step_bytes)?;
        if let Some(ids) = ids {
            let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
            self.gpu.write(&session.ids, 0, &bytes)?;
        }
        Ok(())
    }

    /// Encodes all blocks. Where one must be waited for, what comes before it is submitted first.
    async fn run(
        &self,
        session: &mut Session,
        mode: Mode,
        ending: Ending,
        head: bool,
        abort: &Abort,
    ) -> Result<Encoder> {
        let blocks = self.model.blocks().len();
        let loader = self.loader();
        let mut encoder = self.gpu.encoder();
        for block in 0..if head { blocks } else { blocks.saturating_sub(1) } {
            for needed in self.offload.reads_of(block) {
                if loader.state(*needed) == State::Resident {
                    continue;
                }
                encoder.submit();
                match select(pin!(loader.ready(*needed)), pin!(abort.aborted())).await {
                    Either::Left((ready, _)) => ready?,
                    Either::Right(_) => return Err(GenerationError::Aborted.into()),
                }
                self.gpu.alive()?;
                encoder = self.gpu.encoder();
            }
            let running = session.running;
            let program = session.program(self, mode, ending, block).await?;
            program.encode(&mut encoder.pass(), running);
            let passing = || self.offload.reads_of(block).iter().filter(|block| self.offload.is_offloaded(**block));
            if passing().next().is_some() {
                // The device goes through what is submitted before it gives memory back.
                encoder.submit();
                session.unlink_block(block);
                passing().for_each(|block| loader.evict(*block));
                encoder = self.gpu.encoder();
            }
        }
        Ok(encoder)
    }

    /// Links every block's decode program, so that the token loop creates nothing.
    pub(super) async fn link_decode(&self, session: &mut Session) -> Result<()> {
        if !self.offload.is_none() {
            return Ok(());
        }
        for block in 0..self.model.blocks().len() {
            session.program(self, Mode::Decode, Ending::Greedy, block).await?;
        }
        Ok(())
    }

    /// One token through all blocks: one encoder, one pass, where all blocks are on the device.
    pub(super) async fn decode(&self, session: &mut Session, abort: &Abort) -> Result<Encoder> {
        if !self.offload.is_none() {
            return self.run(session, Mode::Decode, Ending::Greedy, true, abort).await;
        }
        let mut encoder = self.gpu.encoder();
        let mut pass = encoder.pass();
        for block in 0..self.model.blocks().len() {
            session.linked(Mode::Decode, Ending::Greedy, block)?.encode(&mut pass, session.running);
        }
        drop(pass);
        Ok(encoder)
    }
}
