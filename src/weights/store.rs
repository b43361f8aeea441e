//! Slots: for each weight its layout, its buffers or its matrix once there are some, and how much of it has come.

use std::rc::Rc;

use super::layout::Layout;
use super::spec::WeightSpecs;
use crate::Result;
use crate::tensor::cpu::{CpuError, Crew, Matrix};
use crate::tensor::gpu::device::{Buffer, Gpu, GpuError, Usage};
use crate::tensor::ops::WeightId;

/// How far a weight has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing of it is here.
    Absent,
    /// Its buffers, or its matrix, are there and fill.
    Coming,
    /// All of it is where it is to be.
    Resident,
}

#[derive(Default)]
struct Slot {
    label: String,
    /// On the GPU: what has come there, or what is lent to it of the matrix.
    buffers: Vec<Rc<Buffer>>,
    /// In CPU memory.
    matrix: Option<Matrix>,
    elements_here: usize,
}

/// The weights of one model.
pub struct Store {
    layouts: Rc<Vec<Layout>>,
    slots: Vec<Slot>,
    /// Buffers of weights that have gone again, for those of the same size that come next.
    spares: Vec<Rc<Buffer>>,
    /// Who has parts of matrices, if there are others.
    crew: Option<Rc<Crew>>,
}

impl Store {
    /// Empty slots for all of a model's weights.
    pub fn new(specs: &WeightSpecs, layouts: Rc<Vec<Layout>>, crew: Option<Rc<Crew>>) -> Store {
        let slots = specs.iter().map(|(_, spec)| Slot { label: spec.name.clone(), ..Slot::default() }).collect();
        Store { layouts, slots, spares: Vec::new(), crew }
    }

    /// The weight's layout.
    pub fn layout(&self, id: WeightId) -> Option<&Layout> {
        self.layouts.get(id.0)
    }

    /// How far it has come.
    pub fn state(&self, id: WeightId) -> State {
        match (self.slots.get(id.0), self.layouts.get(id.0)) {
            (Some(slot), Some(layout)) if slot.elements_here == layout.rows * layout.cols => State::Resident,
            (Some(slot), _) if !slot.buffers.is_empty() || slot.matrix.is_some() => State::Coming,
            _ => State::Absent,
        }
    }

    /// Bytes of it that are where it is to be.
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
            let spares = &mut self.spares;
            let create = |rows| match spare(spares, layout.bytes(rows)) {
                Some(spare) => Ok(spare),
                None => gpu.create_buffer(&slot.label, layout.bytes(rows), Usage::Storage).map(Rc::new),
            };
            slot.buffers = layout.parts.iter().map(|part| part.rows).map(create).collect::<Result<_, _>>()?;
        }
        Ok(())
    }

    /// Makes room for the weight in CPU memory, where there is none yet.
    ///
    /// # Errors
    /// [`CpuError::OutOfMemory`]
    pub fn allocate_matrix(&mut self, id: WeightId) -> Result<(), CpuError> {
        if let (Some(slot), Some(layout)) = (self.slots.get_mut(id.0), self.layouts.get(id.0))
            && slot.matrix.is_none()
        {
            let [rows, cols] = layout.matrix();
            let (label, storage) = (&slot.label, layout.cpu_storage());
            slot.matrix = Some(Matrix::shared(label, rows, cols, storage, self.crew.as_ref())?);
        }
        Ok(())
    }

    /// Copies a weight in CPU memory to the GPU, for as long as it isn't taken back. A failing allocation shows at the
    /// scope around it.
    pub fn lend(&mut self, gpu: &Gpu, id: WeightId) -> Result<()> {
        self.allocate(gpu, id)?;
        if let (Some(slot), Some(layout)) = (self.slots.get(id.0), self.layouts.get(id.0))
            && let Some(matrix) = &slot.matrix
        {
            for (part, buffer) in layout.parts.iter().zip(&slot.buffers) {
                let rows = if layout.cols == 1 { 1 } else { part.rows };
                let line = usize::try_from(layout.bytes(part.rows) / rows.max(1) as u64).unwrap_or(usize::MAX);
                let lines = part.first..part.first + rows;
                // In CPU memory rows may be padded further.
                let padded = matrix.line_bytes();
                matrix.read(lines.clone(), |row, bytes| -> Result<()> {
                    let at = ((row - lines.start) * line) as u64;
                    if padded == line {
                        return Ok(gpu.write(buffer, at, bytes)?);
                    }
                    for (at, row) in (at..).step_by(line.max(1)).zip(bytes.chunks_exact(padded.max(1))) {
                        gpu.write(buffer, at, row.get(..line).unwrap_or_default())?;
                    }
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    /// Gives back what the GPU has of a weight in CPU memory: its buffers wait for the next one.
    pub fn take_back(&mut self, id: WeightId) {
        if let Some(slot) = self.slots.get_mut(id.0) {
            self.spares.append(&mut slot.buffers);
        }
    }

    /// Gives back the buffers that wait.
    pub fn drop_spares(&mut self) {
        self.spares.clear();
    }

    /// The weight in CPU memory.
    pub fn matrix(&self, id: WeightId) -> Option<&Matrix> {
        self.slots.get(id.0)?.matrix.as_ref()
    }

    /// The weight in CPU memory, to be filled.
    pub fn matrix_mut(&mut self, id: WeightId) -> Option<&mut Matrix> {
        self.slots.get_mut(id.0)?.matrix.as_mut()
    }

    /// Bytes of CPU memory that weights take.
    pub fn matrix_bytes(&self) -> u64 {
        self.slots.iter().filter_map(|slot| slot.matrix.as_ref()).map(Matrix::size).sum()
    }

    /// Notes that elements have come.
    pub fn arrived(&mut self, id: WeightId, elements: usize) {
        if let Some(slot) = self.slots.get_mut(id.0) {
            slot.elements_here += elements;
        }
    }

    /// Takes over what another store of the same weights has of one.
    pub fn take_over(&mut self, other: &mut Store, id: WeightId) {
        if let (Some(slot), Some(from)) = (self.slots.get_mut(id.0), other.slots.get_mut(id.0)) {
            slot.buffers = std::mem::take(&mut from.buffers);
            slot.matrix = from.matrix.take();
            slot.elements_here = std::mem::take(&mut from.elements_here);
        }
    }

    /// As [`evict`](Self::evict), of a weight to which nothing is on its way any more: its buffers wait for the next one.
    pub fn pass(&mut self, id: WeightId) {
        self.take_back(id);
        self.evict(id);
    }

    /// Gives the weight's memory back.
    pub fn evict(&mut self, id: WeightId) {
        if let Some(slot) = self.slots.get_mut(id.0) {
            slot.buffers.clear();
            slot.matrix = None;
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

/// A buffer of exactly this size, if one waits. Else as much of what waits is given back, so that no more memory is taken than
/// without.
fn spare(spares: &mut Vec<Rc<Buffer>>, size: u64) -> Option<Rc<Buffer>> {
    if let Some(found) = spares.iter().position(|spare| spare.size() == size) {
        return Some(spares.remove(found));
    }
    let mut given_back = 0;
    while given_back < size
        && let Some(spare) = spares.pop()
    {
        given_back += spare.size();
    }
    None
}
