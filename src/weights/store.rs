//! Slots: for each weight its layout, its buffers once there are some, and how much of it has come.

use std::rc::Rc;

use super::layout::Layout;
use super::spec::WeightSpecs;
use crate::tensor::gpu::device::{Buffer, Gpu, GpuError, Usage};
use crate::tensor::ops::WeightId;

/// How far a weight has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing of it is here.
    Absent,
    /// Its buffers are there and fill.
    Coming,
    /// All of it is on the device.
    Resident,
}

struct Slot {
    label: String,
    buffers: Vec<Rc<Buffer>>,
    elements_here: usize,
}

/// The weights of one model on one device.
pub struct Store {
    layouts: Rc<Vec<Layout>>,
    slots: Vec<Slot>,
}

impl Store {
    /// Empty slots for all of a model's weights.
    pub fn new(specs: &WeightSpecs, layouts: Rc<Vec<Layout>>) -> Store {
        let slots = specs
            .iter()
            .map(|(_, spec)| Slot { label: spec.name.clone(), buffers: Vec::new(), elements_here: 0 })
            .collect();
        Store { layouts, slots }
    }

    /// The weight's layout.
    pub fn layout(&self, id: WeightId) -> Option<&Layout> {
        self.layouts.get(id.0)
    }

    /// How far it has come.
    pub fn state(&self, id: WeightId) -> State {
        match (self.slots.get(id.0), self.layouts.get(id.0)) {
            (Some(slot), Some(layout)) if slot.elements_here == layout.rows * layout.cols => State::Resident,
            (Some(slot), _) if !slot.buffers.is_empty() => State::Coming,
            _ => State::Absent,
        }
    }

    /// Bytes of it that are on the device.
    pub fn resident_bytes(&self, id: WeightId) -> u64 {
        match (self.slots.get(id.0), self.layouts.get(id.0)) {
            (Some(slot), Some(layout)) => layout.bytes(slot.elements_here / layout.cols.max(1)),
            _ => 0,
        }
    }

    /// Creates the weight's buffers, where they are not there yet. A failing allocation shows at the scope around it.
    pub fn allocate(&mut self, gpu: &Gpu, id: WeightId) -> Result<(), GpuError> {
        if let (Some(slot), Some(layout)) = (self.slots.get_mut(id.0), self.layouts.get(id.0))
            && slot.buffers.is_empty()
        {
            let create = |rows| gpu.create_buffer(&slot.label, layout.bytes(rows), Usage::Storage).map(Rc::new);
            slot.buffers = layout.parts.iter().map(|part| create(part.rows)).collect::<Result<_, _>>()?;
        }
        Ok(())
    }

    /// Notes that elements have come.
    pub fn arrived(&mut self, id: WeightId, elements: usize) {
        if let Some(slot) = self.slots.get_mut(id.0) {
            slot.elements_here += elements;
        }
    }

    /// Gives the weight's memory back.
    pub fn evict(&mut self, id: WeightId) {
        if let Some(slot) = self.slots.get_mut(id.0) {
            slot.buffers.clear();
            slot.elements_here = 0;
        }
    }

    /// The buffer of one part.
    pub fn buffer(&self, id: WeightId, part: usize) -> Option<&Rc<Buffer>> {
        self.slots.get(id.0)?.buffers.get(part)
    }

    /// The buffers of all parts, in order; none where the weight is absent.
    pub fn buffers(&self, id: WeightId) -> &[Rc<Buffer>] {
        self.slots.get(id.0).map(|slot| slot.buffers.as_slice()).unwrap_or_default()
    }
}
