//! The token loop: one encoder, one pass and one submit a token, one id read back.
//!
//! The next token's id stays on the device, so the loop submits tokens ahead of the ids that it has read: the device
//! never waits for the page, and a browser that reports completion only now and then (Firefox: every 100 ms) doesn't
//! slow it down. Steps past the end of the text are dropped.

use std::collections::VecDeque;
use std::rc::Rc;

use super::Engine;
use super::session::Session;
use crate::Result;
use crate::clock::now_ms;
use crate::generation::{GenerateOptions, GenerationError, check_ids};
use crate::hub::Abort;
use crate::tensor::gpu::device::{Encoder, Readback, Usage};

/// Steps submitted ahead of the ids read, at least and at most.
const AHEAD: std::ops::RangeInclusive<usize> = 2..=8;

/// Milliseconds of work to keep submitted: longer than a browser takes to report completion.
const AHEAD_MS: f64 = 120.0;

/// Told of each new token; `false` ends the text.
pub type OnToken<'a> = &'a mut dyn FnMut(u32) -> bool;

impl Engine {
    /// Continues `ids`, greedily. Gives the new ids, an end-of-text id included.
    ///
    /// # Errors
    /// `INPUT_IDS`, `UNSUPPORTED_OPTION`, `ABORTED`; what the load or the device says.
    pub async fn generate(
        &self,
        ids: &[u32],
        options: &GenerateOptions,
        on_token: OnToken<'_>,
        abort: &Abort,
    ) -> Result<Vec<u32>> {
        self.alive()?;
        let shape = self.model.shape();
        check_ids(ids, shape.vocab_size)?;
        let new_tokens = options.new_tokens(&self.generation, ids.len())?;
        let eos = options.eos(&self.generation);
        let length = ids.len() + new_tokens;

        let mut session = self.session.lock().await;
        session.reserve(&self.gpu, &shape, length).await?;
        let encoder = self.prefill(&mut session, ids, ids.len(), abort).await?;
        self.link_decode(&mut session).await?;
        self.timings.dispatches.set(self.recorded.dispatches_per_token() as u32);

        let mut pending = VecDeque::from([self.choose(&mut session, encoder)?]);
        let mut submitted = 1;
        let mut chosen = Vec::with_capacity(new_tokens);
        let mut ahead = *AHEAD.start();
        let mut last = now_ms();
        let mut step_ms = AHEAD_MS;
        let result = loop {
            while pending.len() < ahead && submitted < new_tokens {
                let start = now_ms();
                let position = ids.len() + submitted - 1;
                self.begin(&mut session, position, position + 1, None, 1)?;
                let encoder = self.decode(&session)?;
                pending.push_back(self.choose(&mut session, encoder)?);
                submitted += 1;
                self.timings.encoded.set(self.timings.encoded.get() + 1);
                self.timings.encode_ms.set(self.timings.encode_ms.get() + now_ms() - start);
            }
            let Some((readback, buffer)) = pending.pop_front() else { break Ok(()) };
            let id = read(readback).await?;
            session.readbacks.push(buffer);
            // A moving mean over a few steps: several ids may arrive at once.
            step_ms += 0.2 * (now_ms() - last - step_ms);
            last = now_ms();
            ahead = ((AHEAD_MS / step_ms.max(1.0)).ceil() as usize).clamp(*AHEAD.start(), *AHEAD.end());
            if abort.is_aborted() {
                break Err(GenerationError::Aborted.into());
            }
            self.alive()?;
            chosen.push(id);
            if !on_token(id) || eos.contains(&id) {
                break Ok(());
            }
        };
        // Buffers that are still being mapped can't be used again before their maps resolve.
        for (readback, buffer) in pending {
            read(readback).await?;
            session.readbacks.push(buffer);
        }
        result.map(|()| chosen)
    }

    /// Submits the encoder's work and starts to read the id that it chooses.
    fn choose(
        &self,
        session: &mut Session,
        mut encoder: Encoder,
    ) -> Result<(Readback, Rc<crate::tensor::gpu::device::Buffer>)> {
        let buffer = match session.readbacks.pop() {
            Some(buffer) => buffer,
            None => Rc::new(self.gpu.create_buffer("next id", 4, Usage::Readback)?),
        };
        encoder.copy(&session.ids, 0, &buffer, 0, 4)?;
        encoder.submit();
        Ok((self.gpu.map(&buffer, 4), buffer))
    }
}

async fn read(readback: Readback) -> Result<u32> {
    let bytes = readback.bytes().await?;
    Ok(bytes.first_chunk().map_or(0, |word| u32::from_le_bytes(*word)))
}
