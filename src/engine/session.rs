//! What a model keeps beside its weights: activations and the key and value cache, on the GPU with linked programs, and in
//! CPU memory.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use super::offload::Way;
use super::on_gpu::{OnGpu, no_gpu};
use super::recorded::{Ending, PREFILL_TOKENS, Recorded};
use crate::Result;
use crate::models::ModelShape;
use crate::tensor::cpu::Memory;
use crate::tensor::gpu::device::{Buffer, Gpu, GpuError, Usage};
use crate::tensor::gpu::dispatch::{BufferName, Running, Shape, stride};
use crate::tensor::gpu::program::Program;
use crate::tensor::gpu::record::{ARGMAX_SPAN, Mode};
use crate::tensor::ops::Rows;
use crate::weights::loader::Loader;

/// The cache grows by this many positions.
const CACHE_STEP: usize = 256;

type Key = (Mode, bool, usize);

/// Everything that changes while a model runs.
#[derive(Default)]
pub(super) struct Session {
    /// On the GPU, where there is one.
    pub gpu: Option<GpuSession>,
    /// On the CPU.
    pub memory: Memory,
    /// Ids of the tokens that run, where they are known here.
    pub ids: Vec<u32>,
    /// Their types, where the model has some.
    pub types: Vec<u32>,
    /// Their positions, where the model numbers them.
    pub position_ids: Vec<u32>,
    /// Their rows, where the model reads such.
    pub features: Vec<f32>,
    /// The first one's position.
    pub position: usize,
    /// Their cosines and sines.
    pub angles: Vec<f32>,
    /// When others last had their turn.
    pub breath: f64,
}

impl Session {
    /// One with a GPU.
    pub fn new(gpu: &Gpu, shape: &ModelShape, recorded: &Recorded) -> Result<Session, GpuError> {
        Ok(Session { gpu: Some(GpuSession::new(gpu, shape, recorded)?), ..Session::default() })
    }

    /// Makes room in the caches for `positions` positions, from the first on, for layers that are computed by any of
    /// these ways; what was there is forgotten.
    pub async fn reserve(
        &mut self,
        on: Option<&OnGpu>,
        shape: &ModelShape,
        ways: &[&[Way]],
        positions: usize,
    ) -> Result<()> {
        let is_on = |layer: usize, way: Way| ways.iter().any(|ways| ways.get(layer + 1) == Some(&way));
        let layers = |way| (0..shape.layers).filter(move |layer| is_on(*layer, way));
        let layers = |way| -> Vec<usize> {
            match shape.causal {
                true => layers(way).collect(),
                // One cache for all, for a layer is done with it when the next one begins.
                false => layers(way).take(1).map(|_| 0).collect(),
            }
        };
        for layer in layers(Way::Cpu) {
            self.memory.reserve(layer, positions, shape.kv_heads * shape.head_dim)?;
        }
        if let (Some(on), Some(session)) = (on, &mut self.gpu) {
            if !shape.causal {
                session.reserve_rows(&on.gpu, shape, positions).await?;
            }
            session.reserve(&on.gpu, shape, positions, layers(Way::Gpu)).await?;
        }
        Ok(())
    }

    /// What is on the GPU.
    ///
    /// # Errors
    /// Where there is none: a bug.
    pub fn on_gpu(&mut self) -> Result<&mut GpuSession, GpuError> {
        self.gpu.as_mut().ok_or_else(no_gpu)
    }
}

/// What changes on the GPU while a model runs.
pub(super) struct GpuSession {
    /// `tokens, position, 0, 0`, then (cos, sin) pairs.
    pub step: Rc<Buffer>,
    /// Ids of the tokens that run.
    pub ids: Rc<Buffer>,
    /// Their types.
    pub types: Rc<Buffer>,
    /// Their positions, where the model numbers them.
    pub position_ids: Rc<Buffer>,
    /// How many tokens may run at a time.
    rows: usize,
    candidates: Rc<Buffer>,
    activations: HashMap<usize, Rc<Buffer>>,
    /// Of the layers that the GPU has computed.
    cache: HashMap<usize, [Rc<Buffer>; 2]>,
    capacity: usize,
    programs: HashMap<Key, Program>,
    /// Four-byte buffers in which chosen ids come back, free ones.
    pub readbacks: Vec<Rc<Buffer>>,
    /// What runs, as `step` says it to the kernels.
    pub running: Running,
    /// The step's bytes, kept so that the token loop allocates nothing.
    pub step_bytes: Vec<u8>,
}

impl GpuSession {
    /// The small buffers. Activations and the cache come when they are first needed.
    fn new(gpu: &Gpu, shape: &ModelShape, recorded: &Recorded) -> Result<GpuSession, GpuError> {
        let storage = |label, bytes: usize| gpu.create_buffer(label, bytes as u64, Usage::Storage).map(Rc::new);
        let [step, ids, types, position_ids] = per_token(gpu, shape, PREFILL_TOKENS)?;
        Ok(GpuSession {
            step,
            ids,
            types,
            position_ids,
            rows: PREFILL_TOKENS,
            candidates: storage("candidates", shape.vocab_size.div_ceil(ARGMAX_SPAN) * 8)?,
            activations: HashMap::with_capacity(recorded.activations.shapes().len()),
            cache: HashMap::new(),
            capacity: 0,
            programs: HashMap::new(),
            readbacks: Vec::new(),
            running: Running::default(),
            step_bytes: Vec::new(),
        })
    }

    /// Makes room in these layers' caches for `positions` positions, from the first on; what was there is forgotten.
    async fn reserve(
        &mut self,
        gpu: &Gpu,
        shape: &ModelShape,
        positions: usize,
        layers: Vec<usize>,
    ) -> Result<(), GpuError> {
        if positions <= self.capacity && layers.iter().all(|layer| self.cache.contains_key(layer)) {
            return Ok(());
        }
        let position_bytes = (shape.kv_heads * shape.head_dim * 2) as u64;
        let allowed = gpu.capabilities().max_storage_buffer_binding_size;
        let most = usize::try_from(allowed / position_bytes).unwrap_or(usize::MAX);
        if positions > most {
            let (what, needed) =
                (format!("a cache of {positions} tokens"), (positions as u64).saturating_mul(position_bytes));
            return Err(GpuError::Limit { what, limit: "maxStorageBufferBindingSize", needed, allowed });
        }
        let capacity = positions.next_multiple_of(CACHE_STEP).min(most).max(self.capacity);
        let bytes = capacity as u64 * position_bytes;
        // Other calls may have had other layers here.
        let layers: BTreeSet<usize> = layers.into_iter().chain(self.cache.keys().copied()).collect();
        // The bind groups hold the old buffers.
        self.programs.clear();
        self.cache.clear();
        self.capacity = 0;
        let make = || {
            let one = |label| gpu.create_buffer(label, bytes, Usage::Storage).map(Rc::new);
            layers.into_iter().map(|layer| Ok((layer, [one("keys")?, one("values")?]))).collect()
        };
        self.cache = gpu.checked("the key and value cache", make).await?;
        self.capacity = capacity;
        Ok(())
    }

    /// Makes room for `tokens` tokens to run at a time.
    async fn reserve_rows(&mut self, gpu: &Gpu, shape: &ModelShape, tokens: usize) -> Result<(), GpuError> {
        if tokens <= self.rows {
            return Ok(());
        }
        let rows = tokens.next_multiple_of(PREFILL_TOKENS);
        self.programs.clear();
        self.activations.clear();
        let made = gpu.checked("what tokens have", || per_token(gpu, shape, rows)).await?;
        [self.step, self.ids, self.types, self.position_ids] = made;
        self.rows = rows;
        Ok(())
    }

    /// A layer's keys and values.
    pub fn cache(&self, layer: usize) -> Option<&[Rc<Buffer>; 2]> {
        self.cache.get(&layer)
    }

    /// Forgets the linked programs, whose bind groups hold the weights' buffers.
    pub fn unlink(&mut self) {
        self.programs.clear();
    }

    /// Forgets a block's linked programs.
    pub fn unlink_block(&mut self, block: usize) {
        self.programs.retain(|(_, _, linked), _| *linked != block);
    }

    /// A block's program, linked when its weights are there for the first time.
    pub async fn program(
        &mut self,
        on: &OnGpu,
        loader: &Loader,
        mode: Mode,
        ending: Ending,
        block: usize,
    ) -> Result<&Program> {
        let key = (mode, ending == Ending::Output, block);
        if !self.programs.contains_key(&key) {
            let OnGpu { gpu, recorded, pipelines } = on;
            let dispatches = recorded.block(mode, ending, block);
            self.allocate(gpu, recorded, dispatches.iter().flat_map(|d| &d.buffers)).await?;
            let link = || Program::link(gpu, pipelines, dispatches, |name| self.buffer(loader, name));
            let program = gpu.checked("a program's parameters", link).await?;
            self.programs.insert(key, program);
        }
        self.linked(mode, ending, block)
    }

    /// A block's program, if it has been linked.
    pub fn linked(&self, mode: Mode, ending: Ending, block: usize) -> Result<&Program> {
        let refused = || GpuError::Refused { what: "a program", message: format!("block {block} is not linked") };
        Ok(self.programs.get(&(mode, ending == Ending::Output, block)).ok_or_else(refused)?)
    }

    /// The buffer of an activation that some program has used.
    pub fn activation(&self, place: usize) -> Result<&Rc<Buffer>, GpuError> {
        let missing = || GpuError::Refused { what: "an activation", message: format!("{place} was never made") };
        self.activations.get(&place).ok_or_else(missing)
    }

    /// Makes the activations that are named.
    pub async fn allocate(
        &mut self,
        gpu: &Gpu,
        recorded: &Recorded,
        names: impl Iterator<Item = &BufferName>,
    ) -> Result<(), GpuError> {
        let mut missing: Vec<(usize, Shape)> = Vec::new();
        for name in names {
            if let BufferName::Activation(place) = name
                && !self.activations.contains_key(place)
                && !missing.iter().any(|(there, _)| there == place)
                && let Some(shape) = recorded.activations.shapes().get(*place)
            {
                missing.push((*place, *shape));
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let make = || {
            let one = |(place, shape): &(usize, Shape)| {
                let rows = match shape.rows {
                    Rows::All => shape.most.unwrap_or(self.rows),
                    Rows::One => 1,
                };
                let bytes = (rows * stride(shape.width) * 4) as u64;
                Ok((*place, Rc::new(gpu.create_buffer("activation", bytes, Usage::Storage)?)))
            };
            missing.iter().map(one).collect::<Result<Vec<_>, GpuError>>()
        };
        self.activations.extend(gpu.checked("activations", make).await?);
        Ok(())
    }

    fn buffer(&self, loader: &Loader, name: BufferName) -> Result<Rc<Buffer>, GpuError> {
        let found = match name {
            BufferName::Weight(id, part) => loader.store().buffer(id, part).cloned(),
            BufferName::Activation(place) => self.activations.get(&place).cloned(),
            BufferName::Step => Some(self.step.clone()),
            BufferName::Ids => Some(self.ids.clone()),
            BufferName::TokenTypes => Some(self.types.clone()),
            BufferName::PositionIds => Some(self.position_ids.clone()),
            BufferName::Keys(layer) => self.cache(layer).map(|[keys, _]| keys.clone()),
            BufferName::Values(layer) => self.cache(layer).map(|[_, values]| values.clone()),
            BufferName::Candidates => Some(self.candidates.clone()),
        };
        found.ok_or_else(|| GpuError::Refused { what: "a program", message: format!("there is no {name:?}") })
    }
}

/// Buffers with something for each of so many tokens: the step, ids, types and positions.
fn per_token(gpu: &Gpu, shape: &ModelShape, tokens: usize) -> Result<[Rc<Buffer>; 4], GpuError> {
    let storage = |label, bytes: usize| gpu.create_buffer(label, bytes as u64, Usage::Storage).map(Rc::new);
    // The kernels' binding holds one pair at least.
    let rope = (tokens * shape.angles).max(1) * 8;
    Ok([
        storage("step", 16 + rope)?,
        storage("ids", tokens * 4)?,
        storage("token types", if shape.token_types > 0 { tokens * 4 } else { 4 })?,
        storage("position ids", if shape.numbers_positions { tokens * 4 } else { 4 })?,
    ])
}
