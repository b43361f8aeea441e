//! Where each block's weights live, and on which device it is computed.

use std::collections::{BTreeSet, HashMap};

use super::wishes::Placement;
use crate::Result;
use crate::models::{Experts, Model};
use crate::placement::{Device, DeviceMap, MaxMemory, ModuleTree, PlacementError, infer_device_map, is_within};
use crate::tensor::ops::WeightId;
use crate::weights::layout::Layout;
use crate::weights::loader::Home;
use crate::weights::spec::{BlockSpec, Piece};

/// Where each of a model's blocks lives.
pub(super) struct Offload {
    /// The modules' devices.
    pub map: DeviceMap,
    /// Of each block, where it lives.
    pub devices: Vec<Device>,
    /// Of each block, the blocks whose weights it reads: itself, and those that it is tied to.
    reads: Vec<Vec<usize>>,
    /// Of each block, its weights' bytes.
    bytes: Vec<u64>,
    /// Whether blocks that are offloaded may be computed on the CPU.
    computes: bool,
    /// Whether there is a GPU with room for what is offloaded.
    streams: bool,
    has_gpu: bool,
    /// How much of the GPU may be taken, where there is a limit.
    gpu_share: Option<u64>,
    /// Blocks that have a row to compute, or look it up, however many tokens run: what makes rows of ids, and the last one.
    light: Vec<usize>,
    /// How many of the blocks that come and go are asked for before their turn.
    ahead: usize,
    /// Of each block, the experts to which it routes its tokens, if it does.
    experts: Vec<Option<Experts>>,
    /// Of each block, whether it is an expert.
    is_expert: Vec<bool>,
}

/// The most blocks that are asked for before their turn.
const MOST_AHEAD: usize = 3;

/// The device that computes a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The GPU, to which the block's weights come where they don't stay.
    Gpu,
    /// The CPU.
    Cpu,
}

impl Offload {
    /// Decides where each block lives, on a machine that has a GPU or none. Of the GPU's share, `kept` bytes are for what isn't
    /// weights.
    ///
    /// # Errors
    /// [`PlacementError`] where a map doesn't fit the model, or the device's share is too small for what must be there.
    pub fn plan(
        model: &dyn Model,
        layouts: &[Layout],
        placement: &Placement,
        has_gpu: bool,
        kept: u64,
    ) -> Result<Offload> {
        let (specs, blocks) = (model.weights(), model.blocks());
        let bytes = |id: WeightId| layouts.get(id.0).map_or(0, Layout::total_bytes);
        let keys = model.keys();
        let mut tensors: Vec<(&str, u64)> = Vec::new();
        let mut seen = BTreeSet::new();
        for (id, spec) in specs.iter() {
            let rows = spec.rows().max(1) as u64;
            let piece = |piece: &Piece| bytes(id) / rows * piece.rows as u64;
            // What several weights are made of is one tensor.
            let new = spec.pieces.iter().filter(|one| seen.insert(one.tensor.as_str()));
            tensors.extend(new.map(|one| (one.tensor.as_str(), piece(one))));
        }
        tensors.extend(keys.tied.iter().map(|(tied, _)| (tied.as_str(), 0)));
        let layers = blocks.iter().enumerate().filter(|(block, _)| model.is_layer(*block));
        let whole: Vec<String> = layers.map(|(_, block)| block.name.clone()).collect();
        let tied = keys.tied.iter().map(|(tied, owner)| vec![owner.clone(), tied.clone()]).collect();
        let tree = ModuleTree::new(tensors, &whole, tied);
        let map = match &placement.device_map {
            Some(map) => {
                map.check(&tree)?;
                map.clone()
            }
            None => infer_device_map(&tree, &budgets(placement, has_gpu, kept)),
        };
        let mut devices = Vec::new();
        for (index, block) in blocks.iter().enumerate() {
            // A layer may have its own copy of what lies elsewhere.
            let is_own = |piece: &&Piece| !whole.contains(&block.name) || is_within(&piece.tensor, &block.name);
            let pieces = block.weights.iter().filter_map(|id| specs.get(*id)).flat_map(|spec| &spec.pieces);
            let pieces = pieces.filter(is_own);
            let mut of: Vec<Device> = pieces.filter_map(|piece| map.device_of(&piece.tensor)).collect();
            of.sort_unstable();
            of.dedup();
            if of.len() > 1 && (model.is_layer(index) || model.is_expert(index)) {
                return Err(PlacementError::Split { block: block.name.clone() }.into());
            }
            // What lies in two places comes from the farther one.
            let before = devices.last().copied();
            // Where there are no weights, the work goes on where it is.
            devices.push(of.last().copied().or(before).unwrap_or(Device::Gpu));
        }
        let owned =
            blocks.iter().enumerate().flat_map(|(index, block)| block.weights.iter().map(move |id| (*id, index)));
        let owners: HashMap<WeightId, usize> = owned.collect();
        let owner = |id: WeightId| owners.get(&id).copied();
        let reads = blocks.iter().map(|block| {
            let mut reads: Vec<usize> = block.reads.iter().filter_map(|id| owner(*id)).collect();
            reads.sort_unstable();
            reads.dedup();
            reads
        });
        let block_bytes = |block: &BlockSpec| block.weights.iter().map(|id| bytes(*id)).sum();
        let mut offload = Offload {
            map,
            reads: reads.collect(),
            bytes: blocks.iter().map(block_bytes).collect(),
            devices,
            computes: !has_gpu || placement.execution_device != Some(Device::Gpu),
            streams: has_gpu && placement.execution_device != Some(Device::Cpu),
            has_gpu,
            gpu_share: placement
                .max_memory
                .filter(|_| has_gpu)
                .map(|most| most.gpu.unwrap_or(0))
                .filter(|most| *most < u64::MAX),
            light: light(model),
            ahead: 0,
            experts: (0..blocks.len()).map(|block| model.experts(block)).collect(),
            is_expert: (0..blocks.len()).map(|block| model.is_expert(block)).collect(),
        };
        offload.join_tied();
        let budget = budget(placement, has_gpu, kept);
        let needed = offload.needed(0);
        if has_gpu && needed > budget {
            offload.streams = false;
            let must = |block| offload.is_offloaded(block) && !offload.is_computed_on_cpu(block);
            if offload.bytes_on(Device::Gpu) > budget || (0..offload.len()).any(must) {
                let given = placement.max_memory.and_then(|most| most.gpu).unwrap_or(0);
                return Err(PlacementError::NoRoom { given, needed: needed.saturating_add(kept), kept }.into());
            }
        }
        offload.ahead = (0..=MOST_AHEAD).rev().find(|ahead| offload.needed(*ahead) <= budget).unwrap_or(0);
        Ok(offload)
    }

    /// Bytes of what stays where blocks come and go, and of the most that comes for one block and so many after it.
    fn needed(&self, ahead: usize) -> u64 {
        let staying = if self.has_gpu { self.bytes_on(Device::Gpu) } else { self.bytes_of(&self.staying()) };
        staying + self.coming(ahead)
    }

    /// Bytes that come at most for one block and so many after it.
    fn coming(&self, ahead: usize) -> u64 {
        let coming: Vec<u64> = self.unchosen(0).map(|block| self.coming_bytes(block)).collect();
        let window = (ahead + 1).min(coming.len()).max(1);
        let most = coming.windows(window).map(|blocks| blocks.iter().sum::<u64>()).max();
        most.unwrap_or(0)
    }

    /// Bytes of the GPU's share that are free while nothing comes; `None`: it has no limit.
    pub fn free_bytes(&self) -> Option<u64> {
        self.gpu_share.map(|_| if self.streams { self.coming(self.ahead) } else { 0 })
    }

    /// Whether the GPU's share has room for the weights that this plan brings there and for so many bytes beside them.
    pub fn has_room_for(&self, beside: u64) -> bool {
        let weights = self.bytes_on(Device::Gpu) + self.free_bytes().unwrap_or(0);
        self.gpu_share.is_none_or(|share| weights.saturating_add(beside) <= share)
    }

    /// Bytes that may come for a block and go again, those lent to the GPU included; of one that routes to experts, for all of
    /// those too.
    fn coming_bytes(&self, block: usize) -> u64 {
        let comes = |block: usize| if self.has_gpu { self.is_offloaded(block) } else { self.passes(block) };
        let experts = self.experts_of(block).map_or(0..0, |experts| experts.blocks.clone());
        let reads = self.reads_of(block).iter().copied().chain(experts);
        reads.filter(|read| comes(*read)).map(|read| self.bytes(read)).sum()
    }

    /// The blocks from `first` on that every token passes: all but experts.
    fn unchosen(&self, first: usize) -> impl Iterator<Item = usize> {
        (first..self.len()).filter(|block| self.is_expert.get(*block) != Some(&true))
    }

    fn experts_of(&self, block: usize) -> Option<&Experts> {
        self.experts.get(block).and_then(Option::as_ref)
    }

    /// Whether some blocks are experts.
    pub fn has_experts(&self) -> bool {
        self.experts.iter().any(Option::is_some)
    }

    /// The blocks that come and go of which some are read soon after `block`, whatever experts are chosen.
    pub fn soon(&self, block: usize) -> impl Iterator<Item = usize> {
        let next = self.unchosen(block + 1).take(self.ahead);
        next.flat_map(|next| self.reads_of(next).iter().copied()).filter(|read| self.passes(*read))
    }

    /// A block that is tied to one farther away lives there too.
    fn join_tied(&mut self) {
        for (block, reads) in self.reads.iter().enumerate() {
            let farthest = reads.iter().filter_map(|read| self.devices.get(*read)).max().copied();
            if let (Some(device), Some(farthest)) = (self.devices.get_mut(block), farthest) {
                *device = farthest.max(*device);
            }
        }
    }

    /// How many blocks there are.
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// Bytes of these blocks' weights.
    pub fn bytes_of(&self, blocks: &[usize]) -> u64 {
        blocks.iter().map(|block| self.bytes(*block)).sum()
    }

    /// Whether every block stays on the device.
    pub fn is_none(&self) -> bool {
        self.devices.iter().all(|device| *device == Device::Gpu)
    }

    /// Bytes of weights that live on a device.
    pub fn bytes_on(&self, device: Device) -> u64 {
        (0..self.len()).filter(|block| self.devices.get(*block) == Some(&device)).map(|block| self.bytes(block)).sum()
    }

    /// Bytes of a block's weights.
    pub fn bytes(&self, block: usize) -> u64 {
        self.bytes.get(block).copied().unwrap_or(0)
    }

    /// Where the loader brings a block's weights.
    pub fn home(&self, block: usize) -> Home {
        match self.devices.get(block) {
            Some(Device::Cpu) if self.computes => Home::Cpu,
            Some(Device::Cpu) => Home::Held,
            Some(Device::Disk) if !self.has_gpu => Home::Cpu,
            _ => Home::Gpu,
        }
    }

    /// Whether the CPU computes some blocks.
    pub fn computes_on_cpu(&self) -> bool {
        (0..self.len()).any(|block| self.home(block) == Home::Cpu)
    }

    /// Whether the CPU has all that a block reads. One that reads nothing is where those around it are.
    fn is_computed_on_cpu(&self, block: usize) -> bool {
        let reads = self.reads_of(block);
        let around = reads.is_empty().then_some(block);
        reads.iter().copied().chain(around).all(|read| self.home(read) == Home::Cpu)
    }

    /// The device that computes each block when so many tokens run together, as `streams` chooses for blocks that could be
    /// computed on either; the first block and the last one, which has a row to compute, never come to the GPU for it.
    pub fn ways(&self, tokens: usize, streams: impl Fn(u64, usize) -> bool) -> Vec<Way> {
        // Of a layer's tokens, an expert has its share.
        let experts = self.experts.iter().flatten().next();
        let routed = experts.map_or(tokens, |one| (tokens * one.per_token).div_ceil(one.blocks.len().max(1)));
        let of = |block: usize| {
            let rows = match self.is_expert.get(block) {
                _ if self.light.contains(&block) => 1,
                Some(true) => routed,
                _ => tokens,
            };
            match self.is_computed_on_cpu(block) {
                true if self.streams && rows > 1 && streams(self.bytes(block), rows) => Way::Gpu,
                true => Way::Cpu,
                false => Way::Gpu,
            }
        };
        (0..self.len()).map(of).collect()
    }

    /// Whether a block's weights are given up when it has run, to make room for the next one's.
    pub fn passes(&self, block: usize) -> bool {
        match self.home(block) {
            Home::Cpu => self.devices.get(block) == Some(&Device::Disk),
            Home::Held | Home::Gpu => self.is_offloaded(block),
        }
    }

    /// The blocks that stay where they are computed.
    pub fn staying(&self) -> Vec<usize> {
        (0..self.len()).filter(|block| !self.passes(*block)).collect()
    }

    /// Whether a block doesn't live on the GPU.
    pub fn is_offloaded(&self, block: usize) -> bool {
        self.devices.get(block).is_some_and(|device| *device != Device::Gpu)
    }

    /// The blocks whose weights a block reads.
    pub fn reads_of(&self, block: usize) -> &[usize] {
        self.reads.get(block).map(Vec::as_slice).unwrap_or_default()
    }
}

/// The first block of each stack, and the last of all.
fn light(model: &dyn Model) -> Vec<usize> {
    let encoder = model.shape().encoder;
    let embeds = encoder.as_ref().is_none_or(|encoder| encoder.features == 0).then_some(0);
    let behind = encoder.map(|encoder| encoder.blocks);
    embeds.into_iter().chain(behind).chain(model.blocks().len().checked_sub(1)).collect()
}

/// Bytes of weights that may be at a time where blocks come and go: on the GPU, where `kept` bytes are for what isn't weights, or in
/// CPU memory where there is none.
fn budget(placement: &Placement, has_gpu: bool, kept: u64) -> u64 {
    let budgets = budgets(placement, has_gpu, kept);
    if has_gpu { budgets.gpu.unwrap_or(0) } else { budgets.cpu.unwrap_or(u64::MAX) }
}

/// What weights each device takes where no map says it.
fn budgets(placement: &Placement, has_gpu: bool, kept: u64) -> MaxMemory {
    let given = placement.max_memory;
    match (has_gpu, given) {
        (true, None) => MaxMemory::UNBOUNDED,
        (true, Some(given)) => {
            let of_weights = |most: u64| if most == u64::MAX { most } else { most.saturating_sub(kept) };
            MaxMemory { gpu: given.gpu.map(of_weights), ..given }
        }
        // All that the CPU is given, or all there is.
        (false, given) => MaxMemory { gpu: None, cpu: given.and_then(|given| given.cpu).or(Some(u64::MAX)) },
    }
}
