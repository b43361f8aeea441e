//! The token loop: on the GPU one encoder, one pass and one submit a token, one id read back.
//!
//! In greedy generation the next token's id stays on the GPU, so the loop submits tokens ahead of the ids that it has
//! read: the GPU never waits for the page, and a browser that reports completion only now and then (Firefox: every
//! 100 ms) doesn't slow it down. Steps past the end of the text are dropped. Where a [`Chooser`] has a say, the CPU
//! computes a part of the model, or tokens are routed to experts, it goes one step at a time.

use std::collections::VecDeque;
use std::rc::Rc;

use futures_util::lock::MutexGuard;

use super::Engine;
use super::encode::Source;
use super::forward::{Asked, Output, Run, Tokens};
use super::offload::Way;
use super::room::MOST_AHEAD;
use super::runner::Runner;
use super::session::{GpuSession, Session};
use crate::clock::now_ms;
use crate::generation::{Chooser, GenerateOptions, GenerationError, Prompt, check_length, likeliest};
use crate::hub::Abort;
use crate::tensor::gpu::device::{Buffer, Encoder, Gpu, GpuError, Readback, Usage};
use crate::tensor::gpu::record::Mode;
use crate::{Error, Result};

/// Steps submitted ahead of the ids read, at least and at most.
const AHEAD: std::ops::RangeInclusive<usize> = 2..=MOST_AHEAD;

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
    /// `INPUT_IDS`, `CONTEXT_LENGTH` where the text goes on beyond the positions that the model has, `UNSUPPORTED_OPTION`,
    /// `NO_HEAD`, `ABORTED`; what the load or the device says.
    pub async fn generate(
        &self,
        ids: &[u32],
        options: &GenerateOptions,
        on_token: OnToken<'_>,
        abort: &Abort,
    ) -> Result<Vec<u32>> {
        self.generate_from(Source::default(), Prompt::of(ids), options, on_token, abort).await
    }

    /// Writes a text of what an encoder reads: continues `prompt`, which is the text's own. Gives the new ids, an end-of-text id
    /// included. Tokens that are given as rows have no ids that could count as repeated.
    ///
    /// # Errors
    /// As [`generate`](Self::generate); `INPUT_IDS` where `source` is not what the encoder reads.
    pub async fn generate_from(
        &self,
        source: Source<'_>,
        prompt: Prompt<'_>,
        options: &GenerateOptions,
        on_token: OnToken<'_>,
        abort: &Abort,
    ) -> Result<Vec<u32>> {
        self.has_head()?;
        let mut ids = prompt.ids.to_vec();
        let Wished { most, by_ids, options } = self.wished(prompt, options)?;
        let mut chooser = Chooser::new(&options, &self.generation, by_ids)?;
        let eos = options.eos(&self.generation);
        let mut text = Text { prompt: ids.len(), most, eos, new: Vec::new(), on_token, abort };

        self.on_some_device(async |runner| {
            // What a device that was lost has chosen is read anew, as a part of the prompt.
            ids.truncate(text.prompt);
            ids.extend(&text.new);
            runner.go_on(source, Prompt { ids: &ids, ..prompt }, &mut text, chooser.as_mut()).await
        })
        .await?;
        Ok(text.new)
    }

    /// What is wished for what follows a prompt.
    pub(super) fn wished<'a>(&self, prompt: Prompt<'a>, options: &GenerateOptions) -> Result<Wished<'a>> {
        let tokens = prompt.ids.len();
        let most = options.new_tokens(&self.generation, tokens)?;
        let given = prompt.given(self.shape().embeds);
        let by_ids = prompt.ids.get(given..).unwrap_or_default();
        let mut options = options.clone();
        if given > 0 {
            // Lengths count rows too, and what is chosen from counts ids alone.
            let least = options.min_length(&self.generation, tokens).saturating_sub(given);
            (options.min_length, options.min_new_tokens, options.max_new_tokens) = (Some(least), None, Some(most));
        }
        Ok(Wished { most, by_ids, options })
    }
}

/// What is wished for what follows a prompt.
pub(super) struct Wished<'a> {
    /// New tokens at most.
    pub most: usize,
    /// What of the prompt was told by ids.
    pub by_ids: &'a [u32],
    /// As they are for a prompt of those alone.
    pub options: GenerateOptions,
}

/// A prompt that has been read.
pub(super) struct Begun<'a> {
    pub session: MutexGuard<'a, Session>,
    /// The device that computes each block of what is written.
    pub writing: Vec<Way>,
    /// What the prompt has left.
    pub left: Output,
}

impl Runner {
    /// Reads `prompt`, and what an encoder is given: what follows can be written.
    pub(super) async fn begin_text(
        &self,
        source: Source<'_>,
        prompt: Prompt<'_>,
        asked: Asked,
        abort: &Abort,
    ) -> Result<Begun<'_>> {
        let (writing, tokens) = (self.ways(1), prompt.ids.len());
        let encoder = self.model.shape().encoder;
        // What an encoder has read is where the text is written.
        let reading = if encoder.is_some() { writing.clone() } else { self.ways(tokens) };
        let encoding = match &encoder {
            Some(encoder) => self.ways(source.size(encoder, self.model.shape().vocab_size)?.tokens),
            None => reading.clone(),
        };
        let mut session = self.open(prompt, &[&reading, &writing, &encoding], source, asked).await?;
        self.read(&mut session, source, &encoding, &writing, None, abort).await?;
        let start = now_ms();
        let was_ready = reading != writing && self.is_ready();
        let cached = self.take_cached(&mut session, prompt, &reading);
        let mut left = self.prefill(&mut session, prompt, cached, &reading, abort).await?;
        if reading != writing {
            if let Output::Gpu(encoder) = left {
                encoder.submit();
                left = Output::Gpu(self.on_gpu()?.gpu.encoder());
            }
            self.move_caches(&mut session, &reading, &writing, tokens, false).await?;
            if was_ready {
                self.note_streaming(&reading, tokens, now_ms() - start);
            }
        }
        Ok(Begun { session, writing, left })
    }

    /// Reads `prompt`, and what an encoder is given, and generates until the text ends.
    async fn go_on(
        &self,
        source: Source<'_>,
        prompt: Prompt<'_>,
        text: &mut Text<'_>,
        chooser: Option<&mut Chooser>,
    ) -> Result<()> {
        let tokens = prompt.ids.len();
        let asked = Asked::of(text.prompt.saturating_add(text.most));
        let Begun { mut session, writing, left } = self.begin_text(source, prompt, asked, text.abort).await?;
        let on_gpu = writing.iter().all(|way| *way == Way::Gpu);
        if on_gpu {
            self.link_decode(&mut session).await?;
            self.timings.dispatches.set(self.on_gpu()?.recorded.dispatches_per_token(&*self.model) as u32);
        }
        let written = match (chooser, left) {
            // What is chosen as it goes can't be encoded ahead.
            (None, Output::Gpu(left)) if on_gpu && !self.offload.has_experts() => {
                self.run_ahead(&mut session, left, text, &writing).await
            }
            (chooser, left) => self.step_by_step(&mut session, left, text, chooser, &writing).await,
        };
        // Whoever gives up has the tokens that have come by then, and each came after the one before had run.
        if matches!(written, Ok(()) | Err(Error::Generation(GenerationError::Aborted))) {
            // After a lost device some of the new ones are read with the prompt.
            let new = text.new.get(tokens - text.prompt..).unwrap_or_default();
            self.keep_cached(&mut session, prompt, new, &writing);
        }
        written
    }

    /// Greedy: several steps are under way at a time.
    async fn run_ahead(&self, session: &mut Session, prompt: Encoder, text: &mut Text<'_>, ways: &[Way]) -> Result<()> {
        let gpu = &self.on_gpu()?.gpu;
        let readbacks = &mut session.on_gpu()?.readbacks;
        while readbacks.len() < *AHEAD.end() {
            readbacks.push(Rc::new(gpu.create_buffer("next id", 4, Usage::Readback)?));
        }
        let mut pending = VecDeque::from([read_id(gpu, session.on_gpu()?, prompt)?]);
        let mut submitted = text.new.len() + 1;
        let mut ahead = *AHEAD.start();
        let mut last = now_ms();
        let mut step_ms = AHEAD_MS;
        let result = loop {
            // Whether the text gets to where there are no more positions isn't known yet.
            let fits = |session: &Session, submitted| self.check_place(session, text.prompt + submitted - 1);
            while pending.len() < ahead && submitted < text.most && fits(session, submitted).is_ok() {
                let position = text.prompt + submitted - 1;
                let Output::Gpu(encoder) = self.step(session, position, None, ways, text.abort).await? else {
                    return Err(left_elsewhere().into());
                };
                pending.push_back(read_id(gpu, session.on_gpu()?, encoder)?);
                submitted += 1;
            }
            let Some((readback, buffer)) = pending.pop_front() else { break fits(session, submitted) };
            let bytes = readback.bytes().await?;
            session.on_gpu()?.readbacks.push(buffer);
            // A moving mean over a few steps: several ids may arrive at once.
            step_ms += 0.2 * (now_ms() - last - step_ms);
            last = now_ms();
            ahead = ((AHEAD_MS / step_ms.max(1.0)).ceil() as usize).clamp(*AHEAD.start(), *AHEAD.end());
            let id = bytes.first_chunk().map_or(0, |word| u32::from_le_bytes(*word));
            gpu.alive()?;
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
                session.on_gpu()?.readbacks.push(buffer);
            }
        }
        result
    }

    /// Each row of logits is here before the next step starts; without a chooser, its largest is the next token.
    async fn step_by_step(
        &self,
        session: &mut Session,
        prompt: Output,
        text: &mut Text<'_>,
        mut chooser: Option<&mut Chooser>,
        ways: &[Way],
    ) -> Result<()> {
        let mut back = None;
        let mut logits = Vec::with_capacity(self.model.shape().vocab_size);
        let mut output = prompt;
        loop {
            self.last_logits(session, output, &mut back)?.into(&mut logits).await?;
            self.alive()?;
            let id = match &mut chooser {
                Some(chooser) => chooser.choose(&mut logits),
                None => likeliest(&logits),
            };
            if !text.push(id)? {
                return Ok(());
            }
            let position = text.prompt + text.new.len() - 1;
            output = self.step(session, position, Some(id), ways, text.abort).await?;
        }
    }

    /// The logits of the last token that ran; they come back in `back`, which is made where there is none.
    pub(super) fn last_logits(
        &self,
        session: &mut Session,
        output: Output,
        back: &mut Option<Rc<Buffer>>,
    ) -> Result<Logits> {
        let mut encoder = match output {
            Output::Cpu(outputs) => return Ok(Logits::Here(session.memory.row(outputs.main(), 0).to_vec())),
            Output::Gpu(encoder) => encoder,
        };
        let on = self.on_gpu()?;
        let bytes = (self.model.shape().vocab_size * 4) as u64;
        let back = match back {
            Some(back) => back,
            None => back.insert(Rc::new(on.gpu.create_buffer("logits", bytes, Usage::Readback)?)),
        };
        encoder.copy(session.on_gpu()?.activation(on.recorded.last_logits.id)?, 0, back, 0, bytes)?;
        encoder.submit();
        Ok(Logits::Coming(on.gpu.map(back, bytes)))
    }

    /// One token at `position`: this one, or the one that the GPU has chosen.
    pub(super) async fn step(
        &self,
        session: &mut Session,
        position: usize,
        id: Option<u32>,
        ways: &[Way],
        abort: &Abort,
    ) -> Result<Output> {
        let start = now_ms();
        let ids = id.as_ref().map(std::slice::from_ref);
        self.check_place(session, position)?;
        self.begin(session, Tokens { position, length: position + 1, count: 1, ids, types: &[], read: session.read })?;
        let output = self.decode(session, ways, abort).await?;
        self.timings.encode_ms.set(self.timings.encode_ms.get() + now_ms() - start);
        self.timings.encoded.set(self.timings.encoded.get() + 1);
        Ok(output)
    }

    /// Fails where the token in a place has a position that the model has not learned.
    fn check_place(&self, session: &Session, place: usize) -> Result<()> {
        Ok(check_length(session.positions.at(place) as usize + 1, self.model.shape().positions)?)
    }

    /// One token through all blocks: one encoder, one pass, where all blocks stay on the GPU.
    async fn decode(&self, session: &mut Session, ways: &[Way], abort: &Abort) -> Result<Output> {
        if !self.is_one_pass() {
            let blocks = self.writing_blocks();
            return self.run(session, Run::greedy(Mode::Decode, ways, blocks), None, None, abort).await;
        }
        let gpu = &self.on_gpu()?.gpu;
        let session = session.on_gpu()?;
        let mut encoder = gpu.encoder();
        let mut pass = encoder.pass();
        let (first, end) = self.writing_blocks();
        let run = Run::greedy(Mode::Decode, ways, (first, end));
        for block in first..end {
            session.linked(run, block)?.encode(&mut pass, session.running);
        }
        drop(pass);
        Ok(Output::Gpu(encoder))
    }

    /// Links every block's decode program, so that the token loop creates nothing.
    pub(super) async fn link_decode(&self, session: &mut Session) -> Result<()> {
        if !self.is_one_pass() {
            return Ok(());
        }
        let (on, loader) = (self.on_gpu()?, self.loader());
        let (first, end) = self.writing_blocks();
        let run = Run::greedy(Mode::Decode, &[], (first, end));
        for block in first..end {
            session.on_gpu()?.program(on, &loader, run, block).await?;
        }
        Ok(())
    }
}

/// A row of logits.
pub(super) enum Logits {
    Here(Vec<f32>),
    Coming(Readback),
}

impl Logits {
    /// Puts them into `row`, in the place of what it has.
    pub async fn into(self, row: &mut Vec<f32>) -> Result<()> {
        match self {
            Logits::Here(logits) => *row = logits,
            Logits::Coming(readback) => {
                row.clear();
                row.extend(readback.bytes().await?.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)));
            }
        }
        Ok(())
    }
}

/// Submits the work and asks for the id that it chooses.
fn read_id(gpu: &Gpu, session: &mut GpuSession, mut encoder: Encoder) -> Result<(Readback, Rc<Buffer>)> {
    let empty = || GpuError::Refused { what: "a read", message: "all buffers are being read".to_owned() };
    let buffer = session.readbacks.pop().ok_or_else(empty)?;
    encoder.copy(&session.ids, 0, &buffer, 0, 4)?;
    encoder.submit();
    Ok((gpu.map(&buffer, 4), buffer))
}

fn left_elsewhere() -> GpuError {
    GpuError::Refused { what: "a step", message: "its output is in CPU memory".to_owned() }
}
