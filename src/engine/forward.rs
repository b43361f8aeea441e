//! One run of tokens through the blocks, each on the device that computes it, waiting for each block's weights as it is
//! reached.

use std::ops::Range;
use std::pin::pin;

use futures_util::future::{Either, select};
use futures_util::lock::MutexGuard;

use super::Engine;
use super::between::Between;
use super::encode::Source;
use super::offload::Way;
use super::output::More;
use super::recorded::{Ending, PREFILL_TOKENS};
use super::room::Room;
use super::runner::Runner;
use super::session::Session;
use crate::Result;
use crate::clock::{breathe, now_ms};
use crate::generation::{GenerationError, Positions, Prompt};
use crate::hub::Abort;
use crate::models::{HeadRows, Outputs};
use crate::tensor::cpu;
use crate::tensor::gpu::device::Encoder;
use crate::tensor::gpu::dispatch::Running;
use crate::tensor::gpu::record::Mode;
use crate::tensor::ops::{Ops, Route, Tensor};
use crate::weights::loader::Home;
use crate::weights::store::State;

/// How long the CPU computes before others have their turn: the page hears of an abort by then.
const BREATH_MS: f64 = 10.0;

/// What a run through the blocks leaves.
pub(super) enum Output {
    /// On the GPU, where the work is still to be submitted.
    Gpu(Encoder),
    /// In CPU memory.
    Cpu(Outputs),
}

/// How blocks are run.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    /// Each block's device.
    pub ways: &'a [Way],
    /// In which form, on the GPU.
    pub mode: Mode,
    /// What comes of it.
    pub ending: Ending,
    /// The blocks: from the first of these up to the second.
    pub blocks: (usize, usize),
    /// Whether the first one is given rows in the place of its embeddings.
    pub given: bool,
    /// Whether attentions are to show their weights.
    pub shows: bool,
    /// The tokens that are routed to the expert that runs, if one does: else all run.
    pub routes: &'a [Route],
}

impl<'a> Run<'a> {
    /// These blocks, for the next token.
    pub fn greedy(mode: Mode, ways: &'a [Way], blocks: (usize, usize)) -> Run<'a> {
        Run { ways, mode, ending: Ending::Greedy, blocks, given: false, shows: false, routes: &[] }
    }

    /// These blocks, for the output of all tokens.
    pub fn output(ways: &'a [Way], blocks: (usize, usize)) -> Run<'a> {
        Run { ending: Ending::Output, ..Run::greedy(Mode::Prefill, ways, blocks) }
    }
}

/// Tokens that run.
#[derive(Clone, Copy)]
pub(super) struct Tokens<'a> {
    /// The first one's position.
    pub position: usize,
    /// Of all that there will be in this call, which long-context ropes ask for.
    pub length: usize,
    /// How many.
    pub count: usize,
    /// Which; none: the one that the GPU chose last.
    pub ids: Option<&'a [u32]>,
    /// Their types, where not each is of type 0.
    pub types: &'a [u32],
    /// How many tokens an encoder has read for them.
    pub read: usize,
}

/// What a call asks for.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    /// Positions in the caches.
    pub positions: usize,
    /// The output of all tokens, and more, or not.
    pub outputs: Option<More>,
    /// Texts that grow side by side.
    pub beams: usize,
}

impl Asked {
    /// One text with so many positions.
    pub fn of(positions: usize) -> Asked {
        Asked { positions, outputs: None, beams: 1 }
    }
}

impl Engine {
    /// Logits of the token that follows `prompt`: `[vocab_size]`.
    ///
    /// # Errors
    /// `INPUT_IDS` where an id is unknown, `CONTEXT_LENGTH`, `NO_HEAD`; what the load or the device says.
    pub async fn next_logits(&self, prompt: Prompt<'_>, abort: &Abort) -> Result<Vec<f32>> {
        self.has_head()?;
        self.on_some_device(async |runner| runner.next_logits(prompt, abort).await).await
    }
}

impl Runner {
    async fn next_logits(&self, prompt: Prompt<'_>, abort: &Abort) -> Result<Vec<f32>> {
        let tokens = prompt.ids.len();
        let ways = self.ways(tokens);
        let mut session = self.open(prompt, &[&ways], Source::default(), Asked::of(tokens)).await?;
        let cached = self.take_cached(&mut session, prompt, &ways);
        let output = self.prefill(&mut session, prompt, cached, &ways, abort).await?;
        let logits = match output {
            Output::Gpu(encoder) => {
                let from = self.on_gpu()?.recorded.last_logits;
                self.read_activations(&mut session, encoder, &[(from, 1)]).await?.pop().unwrap_or_default()
            }
            Output::Cpu(outputs) => session.memory.row(outputs.main(), 0).to_vec(),
        };
        self.keep_cached(&mut session, prompt, &[], &ways);
        Ok(logits)
    }

    /// Checks `prompt` and what an encoder reads, and waits for the session, with room for what is asked and for what is read,
    /// whichever of `ways` compute.
    pub(super) async fn open(
        &self,
        prompt: Prompt<'_>,
        ways: &[&[Way]],
        source: Source<'_>,
        Asked { positions, outputs: wanted, beams }: Asked,
    ) -> Result<MutexGuard<'_, Session>> {
        self.alive()?;
        let shape = self.model.shape();
        prompt.check(&shape.readable())?;
        let tokens = prompt.ids.len();
        let positions = shape.positions.map_or(positions, |most| positions.min(most));
        let size = shape.encoder.as_ref().map(|encoder| source.size(encoder, shape.vocab_size)).transpose()?;
        let size = size.unwrap_or_default();
        let rows = if shape.causal { size.rows } else { positions };
        let (outputs, attentions) = (wanted.is_some(), wanted.is_some_and(|more| more.attentions));
        let apart = if beams > 1 { beams.saturating_mul(positions.saturating_sub(tokens)) } else { 0 };
        let room = Room { rows, positions, memory: size.tokens, outputs, attentions, beams, apart };
        if ways.iter().any(|ways| ways.contains(&Way::Gpu)) {
            self.keep_room(room)?;
        }
        let mut session = self.session.lock().await;
        // A call that failed may have wanted to see them.
        session.show(false);
        // Where padding's id makes positions, rows are none.
        let of_rows = if prompt.embeds.is_empty() { None } else { self.model.position_ids(&vec![u32::MAX; tokens]) };
        session.positions = match of_rows {
            Some(positions) if prompt.position_ids.is_empty() => Positions::of(&positions),
            _ => Positions::of(prompt.position_ids),
        };
        // A call that failed may have asked for blocks that it didn't come to.
        let loader = self.loader();
        (0..self.offload.len()).filter(|block| self.offload.passes(*block)).for_each(|block| loader.evict(block));
        session.reserve(self.gpu.as_deref(), &*self.model, ways, room).await?;
        Ok(session)
    }

    /// Runs a prompt from a place on, chunk by chunk; the caches have what comes before it. The last chunk's work on the GPU
    /// is left unsubmitted.
    pub(super) async fn prefill(
        &self,
        session: &mut Session,
        prompt: Prompt<'_>,
        from: usize,
        ways: &[Way],
        abort: &Abort,
    ) -> Result<Output> {
        let output = self.read_on(session, prompt, from..prompt.ids.len(), ways, abort).await?;
        output.ok_or_else(|| GenerationError::EmptyInput.into())
    }

    /// Runs the tokens in these places likewise. Where they are not the prompt's last ones, all that is left of them is in the
    /// caches.
    pub(super) async fn read_on(
        &self,
        session: &mut Session,
        prompt: Prompt<'_>,
        range: Range<usize>,
        ways: &[Way],
        abort: &Abort,
    ) -> Result<Option<Output>> {
        let shape = self.model.shape();
        let length = prompt.ids.len();
        let mut output = None;
        self.timings.prefilled.set(self.timings.prefilled.get() + range.len() as u32);
        for chunk in prompt.chunks(range, PREFILL_TOKENS, shape.embeds) {
            submit(output.take());
            let (position, read) = (chunk.range.start, session.read);
            let ids = prompt.ids.get(chunk.range.clone()).unwrap_or_default();
            let tokens = Tokens { position, length, count: ids.len(), ids: Some(ids), types: &[], read };
            self.begin(session, tokens)?;
            if chunk.given {
                let rows = chunk.range.start * shape.embeds..chunk.range.end * shape.embeds;
                self.give(session, prompt.embeds.get(rows).unwrap_or_default()).await?;
            }
            let (first, last) = self.writing_blocks();
            let blocks = (first, if chunk.range.end == length { last } else { last - 1 });
            let run = Run { given: chunk.given, ..Run::greedy(Mode::Prefill, ways, blocks) };
            output = Some(self.run(session, run, None, None, abort).await?);
        }
        Ok(output)
    }

    /// Tells the devices which tokens run: at which position, with which ids, rotated how.
    pub(super) fn begin(&self, session: &mut Session, tokens: Tokens<'_>) -> Result<()> {
        let Session { gpu, ids, types, position_ids, positions, position, angles, read, .. } = session;
        position_ids.clear();
        position_ids.extend((tokens.position..tokens.position + tokens.count).map(|place| positions.at(place)));
        let length = positions.length(tokens.length);
        angles.clear();
        for position in position_ids.iter() {
            self.model.rope(*position as usize, length, angles);
        }
        *position = tokens.position;
        *read = tokens.read;
        ids.clear();
        ids.extend(tokens.ids.unwrap_or_default());
        types.clear();
        let shape = self.model.shape();
        if shape.token_types > 0 {
            types.extend(tokens.types);
            types.resize(tokens.count, 0);
        }
        if let Some(own) = self.model.position_ids(ids).filter(|_| positions.are_places()) {
            *position_ids = own;
        }
        let (Some(on), Some(session)) = (&self.gpu, gpu) else { return Ok(()) };
        session.read = tokens.read as u32;
        session.running = Running { tokens: tokens.count as u32, keys: (tokens.position + tokens.count) as u32 };
        let bytes = &mut session.step_bytes;
        bytes.clear();
        for word in [tokens.count as u32, tokens.position as u32, tokens.read as u32, 0] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(angles.iter().flat_map(|angle| angle.to_le_bytes()));
        on.gpu.write(&session.step, 0, bytes)?;
        let numbers = tokens.ids.map(|ids| (&session.ids, ids)).into_iter();
        let position_ids = if shape.has_positions { position_ids.as_slice() } else { &[] };
        let numbers = numbers.chain([(&session.types, types.as_slice()), (&session.position_ids, position_ids)]);
        for (buffer, numbers) in numbers.filter(|(_, numbers)| !numbers.is_empty()) {
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            on.gpu.write(buffer, 0, &bytes)?;
        }
        Ok(())
    }

    /// Runs all blocks, each where it is computed; the hidden state goes where the next one is. `between` is given what is wanted
    /// of what comes between them. `left` is what a run of the blocks before has left.
    pub(super) async fn run(
        &self,
        session: &mut Session,
        run: Run<'_>,
        left: Option<Output>,
        mut between: Option<&mut Between>,
        abort: &Abort,
    ) -> Result<Output> {
        let mut output = left;
        let loader = self.loader();
        let (first, end) = run.blocks;
        // Experts are a part of the layer that routes to them.
        let all = || (first..end).filter(|block| !self.model.is_expert(*block));
        let count = between.as_ref().map_or(0, |_| all().count());
        for (nth, block) in all().enumerate() {
            self.offload.soon(block).filter(|soon| *soon < end).for_each(|soon| loader.request(soon));
            output = Some(match run.ways.get(block) {
                Some(Way::Cpu) => {
                    let x = self.to_cpu(session, run, block, output).await?;
                    Output::Cpu(self.run_on_cpu(session, run, block, x, abort).await?)
                }
                _ => {
                    let encoder = self.to_gpu(session, run, block, output).await?;
                    Output::Gpu(self.run_on_gpu(session, run, block, encoder, abort).await?)
                }
            });
            session.carried = session.ids.len();
            if let Some(between) = between.as_mut() {
                output = self.keep_attention(session, run, block, output, between).await?;
            }
            let experts = self.model.experts(block);
            if let (Some(experts), Some(left)) = (&experts, output.take_if(|_| experts.is_some())) {
                output = Some(self.run_experts(session, run, (block, experts), left, abort).await?);
            }
            if let Some(between) = between.as_mut() {
                output = self.keep_state(session, run, block, (nth, count), output, between).await?;
            }
        }
        output.ok_or_else(|| GenerationError::EmptyInput.into())
    }

    /// Encodes a block. Where it must be waited for, what comes before it is submitted first.
    pub(super) async fn run_on_gpu(
        &self,
        session: &mut Session,
        run: Run<'_>,
        block: usize,
        mut encoder: Encoder,
        abort: &Abort,
    ) -> Result<Encoder> {
        let on = self.on_gpu()?;
        let gpu = &on.gpu;
        let loader = self.loader();
        let reads = self.offload.reads_of(block);
        for needed in reads {
            let is_lent = self.offload.home(*needed) == Home::Cpu;
            if loader.state(*needed) == State::Resident && !is_lent {
                continue;
            }
            encoder.submit();
            wait(loader.ready(*needed), abort).await?;
            gpu.alive()?;
            if is_lent {
                loader.lend(*needed).await?;
            }
            encoder = gpu.encoder();
        }
        let session = session.on_gpu()?;
        let mut running = session.running;
        if !run.routes.is_empty() {
            running.tokens = run.routes.len() as u32;
        }
        let program = session.program(on, &loader, run, block).await?;
        program.encode(&mut encoder.pass(), running);
        if run.shows {
            session.encode_show(on, &loader, run, block, &mut encoder).await?;
        }
        let passing = || reads.iter().filter(|block| self.offload.is_offloaded(**block));
        if passing().next().is_some() {
            // The device goes through what is submitted before it gives memory back.
            encoder.submit();
            session.unlink_block(block);
            for block in passing() {
                loader.take_back(*block);
                if self.offload.passes(*block) {
                    loader.evict(*block);
                }
            }
            encoder = gpu.encoder();
        }
        Ok(encoder)
    }

    /// Computes a block on the CPU; `x` is in its memory.
    pub(super) async fn run_on_cpu(
        &self,
        session: &mut Session,
        run: Run<'_>,
        block: usize,
        x: Option<Tensor>,
        abort: &Abort,
    ) -> Result<Outputs> {
        let loader = self.loader();
        let reads = self.offload.reads_of(block);
        for needed in reads {
            if loader.state(*needed) != State::Resident {
                wait(loader.ready(*needed), abort).await?;
            }
        }
        if now_ms() - session.breath > BREATH_MS {
            breathe().await;
            session.breath = now_ms();
        }
        if abort.is_aborted() {
            return Err(GenerationError::Aborted.into());
        }
        let head = if run.ending == Ending::Output { HeadRows::All } else { HeadRows::Last };
        let start = now_ms();
        let Session { memory, ids, types, position_ids, features, position, angles, read, .. } = session;
        let is_expert = !run.routes.is_empty();
        let given = (run.given && block == 0).then_some(self.model.shape().embeds);
        let ids = if is_expert { ids.get(..run.routes.len()).unwrap_or_default() } else { ids.as_slice() };
        let x = match x {
            Some(x) => Some(memory.carry(x)),
            None => {
                memory.clear();
                None
            }
        };
        let left = {
            let store = loader.store();
            let weights = |id| store.matrix(id);
            let (position, read, routes) = (*position, *read, run.routes);
            let running = cpu::Running { ids, types, position_ids, features, position, memory: read, angles, routes };
            let mut executor = cpu::Executor::new(memory, &weights, running);
            let x = if let Some(width) = given { Some(executor.features(width)?) } else { x };
            self.model.block(&mut executor, block, x, head)?
        };
        if ids.len() > 1 && (is_expert || self.is_layer(block)) {
            self.rates.note_cpu(self.offload.bytes(block), ids.len(), now_ms() - start);
        }
        reads.iter().filter(|block| self.offload.passes(**block)).for_each(|block| loader.evict(*block));
        Ok(left)
    }

    /// Whether a block is a layer, with a cache, and not the embeddings or the head.
    pub(super) fn is_layer(&self, block: usize) -> bool {
        self.model.is_layer(block)
    }

    /// The blocks that write a text, behind an encoder's, if there is one: from the first up to the second.
    pub(super) fn writing_blocks(&self) -> (usize, usize) {
        let first = self.model.shape().encoder.map_or(0, |encoder| encoder.blocks);
        (first, self.model.blocks().len())
    }
}

/// Submits what is left on the GPU, if something is.
pub(super) fn submit(left: Option<Output>) {
    if let Some(Output::Gpu(encoder)) = left {
        encoder.submit();
    }
}

/// Waits for weights, unless the caller gives up.
async fn wait(ready: impl Future<Output = Result<()>>, abort: &Abort) -> Result<()> {
    match select(pin!(ready), pin!(abort.aborted())).await {
        Either::Left((ready, _)) => ready,
        Either::Right(_) => Err(GenerationError::Aborted.into()),
    }
}
