//! Mixtures of experts: once a block has routed its tokens, the experts that they are routed to come in, and run over them.
//!
//! Which experts those are is known when the router's logits have been read back, so that a token waits once in each layer
//! that has experts. An expert that no token is routed to is neither fetched nor run.

use std::rc::Rc;

use super::crossing::values;
use super::forward::{Output, Run};
use super::offload::Way;
use super::on_gpu::no_gpu;
use super::recorded::PREFILL_TOKENS;
use super::runner::Runner;
use super::session::{GpuSession, Session};
use crate::Result;
use crate::hub::Abort;
use crate::models::{Chosen, Experts, Model};
use crate::tensor::gpu::device::{Buffer, Encoder, Gpu, GpuError, Usage};
use crate::tensor::gpu::dispatch::stride;
use crate::tensor::ops::Route;

/// Bytes of the step's words that say how many tokens run, and where.
const STEP_BYTES: usize = 16;

/// What routing needs on the GPU.
pub(super) struct Routing {
    /// The tokens that are routed to the expert that runs.
    pub routes: Rc<Buffer>,
    /// What all experts of a layer are given, one after the other: the step's words, and the routes.
    staged: Rc<Buffer>,
    /// Where the router's logits come back.
    back: Rc<Buffer>,
}

impl Routing {
    /// The buffers, where the model has experts.
    pub fn new(gpu: &Gpu, model: &dyn Model) -> Result<Option<Routing>, GpuError> {
        let Some([routes, staged, back]) = Self::sizes(model) else { return Ok(None) };
        let buffer = |what, bytes: usize, usage| gpu.create_buffer(what, bytes as u64, usage).map(Rc::new);
        Ok(Some(Routing {
            routes: buffer("routes", routes, Usage::Storage)?,
            staged: buffer("staged routes", staged, Usage::Storage)?,
            back: buffer("routing", back, Usage::Readback)?,
        }))
    }

    /// Their bytes.
    pub fn bytes(model: &dyn Model) -> u64 {
        Self::sizes(model).map_or(0, |sizes| sizes.iter().sum::<usize>() as u64)
    }

    fn sizes(model: &dyn Model) -> Option<[usize; 3]> {
        let experts = (0..model.blocks().len()).find_map(|block| model.experts(block))?;
        let route = size_of::<Route>();
        // Each token may be an expert's only one.
        let most = PREFILL_TOKENS * experts.per_token;
        Some([
            PREFILL_TOKENS * route,
            most * (route + STEP_BYTES) + STEP_BYTES,
            PREFILL_TOKENS * stride(experts.blocks.len()) * 4,
        ])
    }
}

impl Runner {
    /// Runs the experts to which `block` has routed its tokens, each over those that it is chosen for. Gives what they leave.
    pub(super) async fn run_experts(
        &self,
        session: &mut Session,
        run: Run<'_>,
        (block, experts): (usize, &Experts),
        left: Output,
        abort: &Abort,
    ) -> Result<Output> {
        let (mut left, logits) = self.read_routing(session, run, block, left).await?;
        let mut chosen = experts.choose(&logits);
        let loader = self.loader();
        loader.request_first(&chosen.iter().map(|one| one.block).collect::<Vec<_>>());
        // The hidden state crosses to the other device once at most. Else they run in their order, whichever comes first: sums
        // are the same each time.
        let is_on_cpu = |block: usize| run.ways.get(block) == Some(&Way::Cpu);
        let starts_on_cpu = matches!(left, Output::Cpu(_));
        chosen.sort_by_key(|one| is_on_cpu(one.block) != starts_on_cpu);
        let on_gpu: Vec<&Chosen> = chosen.iter().filter(|one| !is_on_cpu(one.block)).collect();
        let mut staged = 0;
        if !on_gpu.is_empty() {
            let session = session.on_gpu()?;
            self.on_gpu()?.gpu.write(&session.routing()?.staged, 0, &stage(&on_gpu, session))?;
        }
        for Chosen { block, routes } in &chosen {
            let run = Run { routes, ..run };
            left = if is_on_cpu(*block) {
                let x = self.to_cpu(session, run, *block, Some(left)).await?;
                Output::Cpu(self.run_on_cpu(session, run, *block, x, abort).await?)
            } else {
                let mut encoder = self.to_gpu(session, run, *block, Some(left)).await?;
                staged = give(session.on_gpu()?, &mut encoder, staged, routes.len())?;
                Output::Gpu(self.run_on_gpu(session, run, *block, encoder, abort).await?)
            };
        }
        // All tokens run again.
        match &mut left {
            Output::Gpu(encoder) if staged > 0 => {
                give(session.on_gpu()?, encoder, staged, 0)?;
            }
            Output::Cpu(_) if staged > 0 => {
                let session = session.on_gpu()?;
                self.on_gpu()?.gpu.write(&session.step, 0, words(session))?;
            }
            _ => {}
        }
        Ok(left)
    }

    /// The router's logits, row after row; and the work, to be gone on with.
    async fn read_routing(
        &self,
        session: &mut Session,
        run: Run<'_>,
        block: usize,
        left: Output,
    ) -> Result<(Output, Vec<f32>)> {
        let tokens = session.ids.len();
        let mut encoder = match left {
            Output::Cpu(outputs) => {
                let from = outputs.routing.ok_or_else(|| no_router(block))?;
                let rows = (0..tokens).flat_map(|row| session.memory.row(from, row).to_vec()).collect();
                return Ok((Output::Cpu(outputs), rows));
            }
            Output::Gpu(encoder) => encoder,
        };
        let on = self.on_gpu()?;
        let from = on.recorded.routing_of(run.mode, block).ok_or_else(|| no_router(block))?;
        let session = session.on_gpu()?;
        let bytes = (tokens * stride(from.width) * 4) as u64;
        let back = session.routing()?.back.clone();
        encoder.copy(session.activation(from.id)?, 0, &back, 0, bytes)?;
        encoder.submit();
        let bytes = on.gpu.map(&back, bytes).bytes().await?;
        on.gpu.alive()?;
        Ok((Output::Gpu(on.gpu.encoder()), values(&bytes, from.width)))
    }
}

/// The step's words as they are when all tokens run.
fn words(session: &GpuSession) -> &[u8] {
    session.step_bytes.get(..STEP_BYTES).unwrap_or_default()
}

/// What the GPU is given for each expert: how many tokens run and where, and which; and at the end that all run.
fn stage(chosen: &[&Chosen], session: &GpuSession) -> Vec<u8> {
    let words = words(session);
    let mut bytes = Vec::new();
    for Chosen { routes, .. } in chosen {
        bytes.extend((routes.len() as u32).to_le_bytes());
        bytes.extend(words.get(4..).unwrap_or_default());
        bytes.extend(
            routes.iter().flat_map(|Route { token, weight }| [*token, weight.to_bits()]).flat_map(u32::to_le_bytes),
        );
    }
    bytes.extend(words);
    bytes
}

/// Gives the next expert what is staged for it from `at` on, on the GPU itself: nothing has to be submitted between experts.
/// Gives where the next one's begins.
fn give(session: &GpuSession, encoder: &mut Encoder, at: u64, routes: usize) -> Result<u64, GpuError> {
    let routing = session.routing()?;
    let bytes = (routes * size_of::<Route>()) as u64;
    encoder.copy(&routing.staged, at, &session.step, 0, STEP_BYTES as u64)?;
    if routes > 0 {
        encoder.copy(&routing.staged, at + STEP_BYTES as u64, &routing.routes, 0, bytes)?;
    }
    Ok(at + STEP_BYTES as u64 + bytes)
}

impl GpuSession {
    /// What routing needs.
    ///
    /// # Errors
    /// Where the model has no experts: a bug.
    fn routing(&self) -> Result<&Routing, GpuError> {
        self.routing.as_ref().ok_or_else(no_gpu)
    }
}

fn no_router(block: usize) -> GpuError {
    GpuError::Refused { what: "a block", message: format!("{block} routes nothing") }
}
