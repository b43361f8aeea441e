//! Which blocks stay on the device, and which come to it for each pass.

use super::load::Placement;
use crate::Result;
use crate::models::Model;
use crate::placement::{Device, DeviceMap, MaxMemory, ModuleTree, PlacementError, infer_device_map};
use crate::weights::layout::Layout;

/// Where each of a model's blocks lives.
pub(super) struct Offload {
    /// The modules' devices.
    pub map: DeviceMap,
    /// Of each block, where it lives.
    pub devices: Vec<Device>,
    /// Of each block, the blocks whose weights it reads: itself, and those that it is tied to.
    reads: Vec<Vec<usize>>,
}

impl Offload {
    /// Decides where each block lives.
    ///
    /// # Errors
    /// [`PlacementError`] where a map doesn't fit the model, or the device's share is too small for what must be there.
    pub fn plan(model: &dyn Model, layouts: &[Layout], placement: &Placement) -> Result<Offload> {
        let (specs, blocks) = (model.weights(), model.blocks());
        let bytes = |id: crate::tensor::ops::WeightId| layouts.get(id.0).map_or(0, Layout::total_bytes);
        let keys = model.keys();
        let mut tensors: Vec<(&str, u64)> = Vec::new();
        for (id, spec) in specs.iter() {
            let rows = spec.rows().max(1) as u64;
            let piece = |piece: &crate::weights::spec::Piece| bytes(id) / rows * piece.rows as u64;
            tensors.extend(spec.pieces.iter().map(|one| (one.tensor.as_str(), piece(one))));
        }
        tensors.extend(keys.tied.iter().map(|(tied, _)| (tied.as_str(), 0)));
        let layers = blocks.get(1..blocks.len().saturating_sub(1)).unwrap_or_default();
        let whole: Vec<String> = layers.iter().map(|block| block.name.clone()).collect();
        let tied = keys.tied.iter().map(|(tied, owner)| vec![owner.clone(), tied.clone()]).collect();
        let tree = ModuleTree::new(tensors, &whole, tied);
        let map = match &placement.device_map {
            Some(map) => {
                map.check(&tree)?;
                map.clone()
            }
            None => infer_device_map(&tree, placement.max_memory.as_ref().unwrap_or(&MaxMemory::UNBOUNDED)),
        };
        let mut devices = Vec::new();
        for block in blocks {
            let pieces = block.weights.iter().filter_map(|id| specs.get(*id)).flat_map(|spec| &spec.pieces);
            let mut of: Vec<Device> = pieces.filter_map(|piece| map.device_of(&piece.tensor)).collect();
            of.sort_unstable();
            of.dedup();
            if of.len() > 1 && whole.contains(&block.name) {
                return Err(PlacementError::Split { block: block.name.clone() }.into());
            }
            // What lies in two places comes from the farther one.
            devices.push(of.last().copied().unwrap_or(Device::Gpu));
        }
        let owner = |id| blocks.iter().position(|block| block.weights.contains(&id));
        let reads = blocks.iter().map(|block| {
            let mut reads: Vec<usize> = block.reads.iter().filter_map(|id| owner(*id)).collect();
            reads.sort_unstable();
            reads.dedup();
            reads
        });
        let offload = Offload { map, reads: reads.collect(), devices };
        offload.fits(placement, |block| {
            blocks.get(block).map_or(0, |block| block.weights.iter().map(|id| bytes(*id)).sum())
        })?;
        Ok(offload)
    }

    /// Checks that there is room for what stays and for the largest of what comes and goes.
    fn fits(&self, placement: &Placement, bytes: impl Fn(usize) -> u64) -> Result<(), PlacementError> {
        let Some(max_memory) = placement.max_memory else { return Ok(()) };
        let budget = max_memory.gpu.unwrap_or(0);
        let stays: u64 = self.resident().into_iter().map(&bytes).sum();
        let passing = |block: usize| -> u64 {
            self.reads_of(block).iter().filter(|block| self.is_offloaded(**block)).map(|block| bytes(*block)).sum()
        };
        let needed = stays + (0..self.devices.len()).map(passing).max().unwrap_or(0);
        if needed > budget { Err(PlacementError::NoRoom { budget, needed }) } else { Ok(()) }
    }

    /// Whether every block stays on the device.
    pub fn is_none(&self) -> bool {
        self.devices.iter().all(|device| *device == Device::Gpu)
    }

    /// Whether a block comes to the device for each pass.
    pub fn is_offloaded(&self, block: usize) -> bool {
        self.devices.get(block).is_some_and(|device| *device != Device::Gpu)
    }

    /// The blocks that stay.
    pub fn resident(&self) -> Vec<usize> {
        (0..self.devices.len()).filter(|block| !self.is_offloaded(*block)).collect()
    }

    /// The blocks whose weights a block reads.
    pub fn reads_of(&self, block: usize) -> &[usize] {
        self.reads.get(block).map(Vec::as_slice).unwrap_or_default()
    }
}
