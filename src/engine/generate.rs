//! The token loop: one encoder, one pass and one submit a token, one id read back.
//!
//! In greedy generation the next token's id stays on the device, so the loop submits tokens ahead of the ids that it
//! has read: the device never waits for the page, and a browser that reports completion only now and then (Firefox:
//! every 100 ms) doesn't slow it down. Steps past the end of the text are dropped. Where a [`Chooser`] has a say, a row
//! of logits is read back instead, one step at a time.

use std::collections::VecDeque;
use std::rc::Rc;

use super::Engine;
use super::runner::Runner;
use super::session::Session;
use crate::Result;
use crate::clock::now_ms;
use crate::generation::{Chooser, GenerateOptions, GenerationError, check_length};
use crate::hub::Abort;
use crate::tensor::gpu::device::{Buffer, Encoder, GpuError, Readback, Usage};

/// Steps submitted ahead of the ids read, at least and at most.
const AHEAD: std::ops::RangeInclusive<usize> = 2..=8;

/// Milliseconds of work to keep submitted: longer than a browser takes to report completion.
const AHEAD_MS: f64 = 120.0;

/// Told of each new token; `false` ends the text.
pub type OnToken<'a> = &'a mut dyn FnMut(u32) -> bool;

/// A text that grows.
struct Text<'a> {
    prompt: usize,
    most: usize,
    eos: Vec<u32>,
    new: Vec<u32>,
    on_token: OnToken<'a>,
    abort: &'a Abort,
}

impl Text<'_> {
    /// Appends a token. `true`: the text goes on.
    fn push(&mut self, id: u32) -> Result<bool> {
        if self.abort.is_aborted() {
            return Err(GenerationError::Aborted.into());
        }
        self.new.push(id);
        let wanted = (self.on_token)(id);
        Ok(wanted && !self.eos.contains(&id) && self.new.len() < self.most)
    }
}

impl Engine {
    /// Continues `ids`. Gives the new ids, an end-of-text id included.
    ///
    /// # Errors
    /// `INPUT_IDS`, `CONTEXT_LENGTH` where the text goes on beyond the positions that the model has, `UNSUPPORTED_OPTION`, `NO_HEAD`, `ABORTED`; what the load or the device says.
    pub async fn generate(
        &self,
        ids: &[u32],
        options: &GenerateOptions,
        on_token: OnToken<'_>,
        abort: &Abort,
    ) -> Result<Vec<u32>> {
        self.has_head()?;
        let most = options.new_tokens(&self.generation, ids.len())?;
        let mut chooser = Chooser::new(options, &self.generation, ids)?;
        let eos = options.eos(&self.generation);
        let mut text = Text { prompt: ids.len(), most, eos, new: Vec::new(), on_token, abort };

        let mut ids = ids.to_vec();
        self.on_some_device(async |runner| {
            // What a device that was lost has chosen is read anew, as a part of the prompt.
            ids.truncate(text.prompt);
            ids.extend(&text.new);
            runner.go_on(&ids, &mut text, chooser.as_mut()).await
        })
        .await?;
        Ok(text.new)
    }
}

impl Runner {
    /// Reads `ids`, and generates until the text ends.
    async fn go_on(&self, ids: &[u32], text: &mut Text<'_>, chooser: Option<&mut Chooser>) -> Result<()> {
        let mut session = self.open(ids, text.prompt.saturating_add(text.most)).await?;
        let prompt = self.prefill(&mut session, ids, text.abort).await?;
        self.link_decode(&mut session).await?;
        self.timings.dispatches.set(self.recorded.dispatches_per_token() as u32);
        match chooser {
            None => self.run_ahead(&mut session, prompt, text).await,
            Some(chooser) => self.step_by_step(&mut session, prompt, text, chooser).await,
        }
    }

    /// Greedy: several steps are under way at a time.
    async fn run_ahead(&self, session: &mut Session, prompt: Encoder, text: &mut Text<'_>) -> Result<()> {
        while session.readbacks.len() < *AHEAD.end() {
            session.readbacks.push(Rc::new(self.gpu.create_buffer("next id", 4, Usage::Readback)?));
        }
        let mut pending = VecDeque::from([self.read_id(session, prompt)?]);
        let mut submitted = text.new.len() + 1;
        let mut ahead = *AHEAD.start();
        let positions = self.model.shape().positions;
        let mut last = now_ms();
        let mut step_ms = AHEAD_MS;
        let result = loop {
            // Whether the text gets to where there are no more positions isn't known yet.
            let fits = |submitted| check_length(text.prompt + submitted, positions);
            while pending.len() < ahead && submitted < text.most && fits(submitted).is_ok() {
                let encoder = self.step(session, text.prompt + submitted - 1, text.abort).await?;
                pending.push_back(self.read_id(session, encoder)?);
                submitted += 1;
            }
            let Some((readback, buffer)) = pending.pop_front() else { break fits(submitted).map_err(Into::into) };
            let bytes = readback.bytes().await?;
            session.readbacks.push(buffer);
            // A moving mean over a few steps: several ids may arrive at once.
            step_ms += 0.2 * (now_ms() - last - step_ms);
            last = now_ms();
            ahead = ((AHEAD_MS / step_ms.max(1.0)).ceil() as usize).clamp(*AHEAD.start(), *AHEAD.end());
            let id = bytes.first_chunk().map_or(0, |word| u32::from_le_bytes(*word));
            self.gpu.alive()?;
            match text.push(id) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        // Buffers that are still being mapped can't be used again before their maps resolve.
        for (readback, buffer) in pending {
            // Where the device is lost by now, the text is still complete.
            if readback.bytes().await.is_ok() {
                session.readbacks.push(buffer);
            }
        }
        result
    }

    /// The chooser sees each row of logits before the next step starts.
    async fn step_by_step(
        &self,
        session: &mut Session,
        prompt: Encoder,
        text: &mut Text<'_>,
        chooser: &mut Chooser,
    ) -> Result<()> {
        let vocab = self.model.shape().vocab_size;
        let bytes = (vocab * 4) as u64;
        let back = Rc::new(self.gpu.create_buffer("logits", bytes, Usage::Readback)?);
        let mut logits = Vec::with_capacity(vocab);
        let mut encoder = prompt;
        loop {
            encoder.copy(session.activation(self.recorded.last_logits.id)?, 0, &back, 0, bytes)?;
            encoder.submit();
            let row = self.gpu.map(&back, bytes).bytes().await?;
            self.gpu.alive()?;
            logits.clear();
            logits.extend(row.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)));
            let id = chooser.choose(&mut logits);
            if !text.push(id)? {
                return Ok(());
            }
            self.gpu.write(&session.ids, 0, &id.to_le_bytes())?;
            encoder = self.step(session, text.prompt + text.new.len() - 1, text.abort).await?;
        }
    }

    /// Encodes one token at `position`.
    async fn step(&self, session: &mut Session, position: usize, abort: &Abort) -> Result<Encoder> {
        let start = now_ms();
        self.begin(session, position, position + 1, None, 1)?;
        let encoder = self.decode(session, abort).await?;
        self.timings.encoded.set(self.timings.encoded.get() + 1);
        self.timings.encode_ms.set(self.timings.encode_ms.get() + now_ms() - start);
        Ok(encoder)
    }

    /// Submits the encoder's work and starts to read the id that it chooses.
    fn read_id(&self, session: &mut Session, mut encoder: Encoder) -> Result<(Readback, Rc<Buffer>)> {
        let empty = || GpuError::Refused { what: "a read", message: "all buffers are being read".to_owned() };
        let buffer = session.readbacks.pop().ok_or_else(empty)?;
        encoder.copy(&session.ids, 0, &buffer, 0, 4)?;
        encoder.submit();
        Ok((self.gpu.map(&buffer, 4), buffer))
    }
}
