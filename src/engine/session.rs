//! What a model keeps beside its weights: activations and the key and value cache, on the GPU with linked programs, and in
//! CPU memory.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::forward::Run;
use super::offload::Way;
use super::on_gpu::{OnGpu, no_gpu};
use super::recorded::{Ending, PREFILL_TOKENS, Recorded};
use super::room::{CACHE_STEP, Room};
use super::routing::Routing;
use crate::Result;
use crate::generation::Positions;
use crate::models::{Cache, Model, ModelShape};
use crate::tensor::cpu::Memory;
use crate::tensor::gpu::device::{Buffer, Gpu, GpuError, Usage};
use crate::tensor::gpu::dispatch::{BufferName, Running, Shape, stride};
use crate::tensor::gpu::program::{Pipelines, Program};
use crate::tensor::gpu::record::{ARGMAX_SPAN, Mode};
use crate::tensor::ops::Rows;
use crate::weights::loader::Loader;

/// What messages call the caches.
const WHAT: &str = "the key and value cache";

/// In which form, for the output of all tokens or not, of rows that were given or not, and which block.
type Key = (Mode, bool, bool, usize);

/// Under which a run has the program of a block: the first one alone is given rows.
fn key(run: Run<'_>, block: usize) -> Key {
    (run.mode, run.ending == Ending::Output, run.given && block == 0, block)
}

/// By the caches' numbers: keys and values, and how many positions they have room for.
type Caches = HashMap<usize, Held>;

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
    /// Their positions.
    pub position_ids: Vec<u32>,
    /// Those of the text.
    pub positions: Positions,
    /// Their rows, where the model reads such.
    pub features: Vec<f32>,
    /// The first one's position.
    pub position: usize,
    /// How many tokens an encoder has read for them.
    pub read: usize,
    /// Rows of the hidden state that the block before has left.
    pub carried: usize,
    /// Their cosines and sines.
    pub angles: Vec<f32>,
    /// When others last had their turn.
    pub breath: f64,
    /// The text whose keys and values are in the caches, from the first position on, where a text that begins likewise may go
    /// on from them.
    pub cached: Vec<u32>,
}

impl Session {
    /// One with a GPU.
    pub fn new(gpu: &Gpu, model: &dyn Model, recorded: &Recorded) -> Result<Session, GpuError> {
        Ok(Session { gpu: Some(GpuSession::new(gpu, model, recorded)?), ..Session::default() })
    }

    /// Makes room in the caches, from the first position on, for blocks that are computed by any of these ways. What is there
    /// stays, unless there is no room for it beside that: then the session has no cached text any more.
    pub async fn reserve(&mut self, on: Option<&OnGpu>, model: &dyn Model, ways: &[&[Way]], room: Room) -> Result<()> {
        let shape = model.shape();
        let caches = model.caches();
        let positions = |cache: &Cache| if cache.of_encoder { room.memory } else { room.positions };
        let is_on = |cache: &Cache, way: Way| {
            let mut ways = ways.iter().flat_map(|ways| cache.blocks.iter().map(|block| ways.get(*block)));
            ways.any(|one| one == Some(&way))
        };
        for cache in caches.iter().filter(|cache| is_on(cache, Way::Cpu)) {
            self.memory.reserve(cache.index, positions(cache), cache.width)?;
        }
        if let (Some(on), Some(session)) = (on, &mut self.gpu) {
            session.reserve_rows(&on.gpu, &shape, room.rows).await?;
            let caches = caches.iter().filter(|cache| is_on(cache, Way::Gpu));
            let rooms = caches.map(|cache| (cache.index, (positions(cache), cache.width))).collect();
            let cached = std::mem::take(&mut self.cached);
            if session.reserve(&on.gpu, rooms, !cached.is_empty()).await? {
                self.cached = cached;
            }
        }
        Ok(())
    }

    /// Whether attentions are to leave their weights; those that were left are given up.
    pub fn show(&mut self, wanted: bool) {
        self.memory.show(wanted);
        if let Some(session) = &mut self.gpu {
            session.shown.clear();
        }
    }

    /// What is on the GPU.
    ///
    /// # Errors
    /// Where there is none: a bug.
    pub fn on_gpu(&mut self) -> Result<&mut GpuSession, GpuError> {
        self.gpu.as_mut().ok_or_else(no_gpu)
    }
}

/// A cache on the GPU.
struct Held {
    /// Keys and values.
    halves: [Rc<Buffer>; 2],
    /// How many positions there is room for.
    positions: usize,
    /// Elements of a position, of each half.
    width: usize,
}

/// What changes on the GPU while a model runs.
pub(super) struct GpuSession {
    /// `tokens, position, 0, 0`, then (cos, sin) pairs.
    pub step: Rc<Buffer>,
    /// Ids of the tokens that run.
    pub ids: Rc<Buffer>,
    /// Their types.
    pub types: Rc<Buffer>,
    /// Their positions, where the model has a table of such.
    pub position_ids: Rc<Buffer>,
    /// How many tokens may run at a time.
    rows: usize,
    candidates: Rc<Buffer>,
    activations: HashMap<usize, Rc<Buffer>>,
    /// By their numbers: keys and values of what the GPU has computed, and how many positions they have room for.
    cache: Caches,
    programs: HashMap<Key, Program>,
    /// The weights of the last block's attentions, where they were to show them, and what shows them.
    pub shown: Vec<(Rc<Buffer>, Program)>,
    /// Kernels that hardly anybody wants, compiled when somebody does.
    pub rare: Pipelines,
    /// Where the model has experts.
    pub routing: Option<Routing>,
    /// Four-byte buffers in which chosen ids come back, free ones.
    pub readbacks: Vec<Rc<Buffer>>,
    /// What runs, as `step` says it to the kernels; and how many tokens an encoder has read for it.
    pub running: Running,
    pub read: u32,
    /// The step's bytes, kept so that the token loop allocates nothing.
    pub step_bytes: Vec<u8>,
}

impl GpuSession {
    /// The small buffers. Activations and the cache come when they are first needed.
    fn new(gpu: &Gpu, model: &dyn Model, recorded: &Recorded) -> Result<GpuSession, GpuError> {
        let shape = &model.shape();
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
            programs: HashMap::new(),
            shown: Vec::new(),
            rare: Pipelines::default(),
            routing: Routing::new(gpu, model)?,
            readbacks: Vec::new(),
            running: Running::default(),
            read: 0,
            step_bytes: Vec::new(),
        })
    }

    /// Makes room in these caches, by their numbers, for so many positions each of so many elements, from the first on. Gives whether
    /// what was there still is, which is copied where that `matters`.
    async fn reserve(
        &mut self,
        gpu: &Gpu,
        mut rooms: BTreeMap<usize, (usize, usize)>,
        matters: bool,
    ) -> Result<bool, GpuError> {
        let allowed = gpu.capabilities().max_storage_buffer_binding_size;
        for (positions, width) in rooms.values_mut() {
            let position_bytes = (*width * 2) as u64;
            let most = usize::try_from(allowed / position_bytes.max(1)).unwrap_or(usize::MAX);
            if *positions > most {
                let (what, needed) =
                    (format!("a cache of {positions} tokens"), (*positions as u64).saturating_mul(position_bytes));
                return Err(GpuError::Limit { what, limit: "maxStorageBufferBindingSize", needed, allowed });
            }
            *positions = positions.next_multiple_of(CACHE_STEP).min(most);
        }
        let has = |(index, (room, _)): (&usize, &(usize, usize))| {
            self.cache.get(index).is_some_and(|held| held.positions >= *room)
        };
        if rooms.iter().all(has) {
            return Ok(true);
        }
        // The bind groups hold the old buffers.
        self.programs.clear();
        // Other calls may have had other caches here.
        for (index, held) in &self.cache {
            let (room, _) = rooms.entry(*index).or_insert((0, held.width));
            *room = held.positions.max(*room);
        }
        let make = |positions: usize, width: usize| {
            let bytes = positions as u64 * width as u64 * 2;
            let one = |label| gpu.create_buffer(label, bytes, Usage::Storage).map(Rc::new);
            Ok::<_, GpuError>(Held { halves: [one("keys")?, one("values")?], positions, width })
        };
        if matters {
            // One cache after the other: there may be no room for two of each.
            let grow = || {
                for (index, (room, width)) in &rooms {
                    let old = self.cache.get(index);
                    if old.is_some_and(|held| held.positions >= *room) {
                        continue;
                    }
                    let made = make(*room, *width)?;
                    if let Some(old) = old {
                        copy(gpu, &old.halves, &made.halves)?;
                    }
                    self.cache.insert(*index, made);
                }
                Ok::<_, GpuError>(())
            };
            match gpu.checked(WHAT, grow).await {
                Ok(()) => return Ok(true),
                // There may be room where nothing stays.
                Err(GpuError::OutOfMemory { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.cache.clear();
        let make_one = |(index, (room, width)): (&usize, &(usize, usize))| Ok((*index, make(*room, *width)?));
        let make_all = || rooms.iter().map(make_one).collect::<Result<_, GpuError>>();
        self.cache = gpu.checked(WHAT, make_all).await?;
        Ok(false)
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

    /// A cache's keys and values.
    pub fn cache(&self, layer: usize) -> Option<&[Rc<Buffer>; 2]> {
        self.cache.get(&layer).map(|held| &held.halves)
    }

    /// Forgets the linked programs, whose bind groups hold the weights' buffers.
    pub fn unlink(&mut self) {
        self.programs.clear();
    }

    /// Forgets a block's linked programs.
    pub fn unlink_block(&mut self, block: usize) {
        for mode in [Mode::Decode, Mode::Prefill] {
            for (output, given) in [(false, false), (false, true), (true, false), (true, true)] {
                self.programs.remove(&(mode, output, given, block));
            }
        }
    }

    /// A block's program, linked when its weights are there for the first time.
    pub async fn program(&mut self, on: &OnGpu, loader: &Loader, run: Run<'_>, block: usize) -> Result<&Program> {
        let key = key(run, block);
        let given = key.2;
        if !self.programs.contains_key(&key) {
            let OnGpu { gpu, recorded, .. } = on;
            let dispatches = if given { recorded.given() } else { recorded.block(run.mode, run.ending, block) };
            self.allocate(gpu, recorded, dispatches.iter().flat_map(|d| &d.buffers)).await?;
            if given {
                self.rare.compile(gpu, dispatches.iter().map(|dispatch| &dispatch.kernel)).await?;
            }
            let pipelines = if given { &self.rare } else { on.pipelines()? };
            let link = || Program::link(gpu, pipelines, dispatches, |name| self.buffer(loader, name));
            let program = gpu.checked("a program's parameters", link).await?;
            self.programs.insert(key, program);
        }
        self.linked(run, block)
    }

    /// A block's program, if it has been linked.
    pub fn linked(&self, run: Run<'_>, block: usize) -> Result<&Program> {
        let refused = || GpuError::Refused { what: "a program", message: format!("block {block} is not linked") };
        Ok(self.programs.get(&key(run, block)).ok_or_else(refused)?)
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

    pub(super) fn buffer(&self, loader: &Loader, name: BufferName) -> Result<Rc<Buffer>, GpuError> {
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
            // They are no block's; see `encode_show`.
            BufferName::AttentionWeights => None,
            BufferName::Routes => self.routing.as_ref().map(|routing| routing.routes.clone()),
        };
        found.ok_or_else(|| GpuError::Refused { what: "a program", message: format!("there is no {name:?}") })
    }
}

/// Copies what is in a cache to a larger one.
fn copy(gpu: &Gpu, from: &[Rc<Buffer>; 2], to: &[Rc<Buffer>; 2]) -> Result<(), GpuError> {
    let mut encoder = gpu.encoder();
    for (old, new) in from.iter().zip(to) {
        encoder.copy(old, 0, new, 0, old.size().min(new.size()))?;
    }
    encoder.submit();
    Ok(())
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
        storage("position ids", if shape.has_positions { tokens * 4 } else { 4 })?,
    ])
}
