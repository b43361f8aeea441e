//! How a weight lies in a GPU's memory: rows padded to whole quads, split where a binding would be too large; and in which
//! precision it is kept everywhere.

use super::spec::WeightSpec;
use crate::tensor::gpu::device::{Capabilities, GpuError};
use crate::tensor::gpu::kernel::Storage;
use crate::tensor::{Grouped, cpu};

/// Rows of a weight that share a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The part's first row in the weight.
    pub first: usize,
    /// How many.
    pub rows: usize,
}

/// What a weight is kept as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Floats of this kind.
    Floats(Storage),
    /// Integers, as the checkpoint has them.
    Grouped(Grouped),
    /// Integers to which floats of the checkpoint's are rounded.
    Rounded(Grouped),
}

/// How a weight lies in device memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Rows.
    pub rows: usize,
    /// Elements of a row in the checkpoint; where it is grouped, words that it becomes.
    pub cols: usize,
    /// As many from one row to the next in device memory; those past `cols` are zero.
    pub stride: usize,
    /// The element.
    pub storage: Storage,
    /// How a row of integers lies, where it is one.
    pub grouped: Option<Grouped>,
    /// Whether the checkpoint has floats in their place.
    pub rounds: bool,
    /// Whether each element is one more than in the checkpoint.
    pub plus_one: bool,
    /// One part a buffer, in order.
    pub parts: Vec<Part>,
}

impl Layout {
    /// Lays out `spec` so that each part can be bound whole.
    ///
    /// # Errors
    /// [`GpuError::Limit`] where a single row exceeds a binding.
    pub fn new(spec: &WeightSpec, kept: Kept, capabilities: &Capabilities) -> Result<Layout, GpuError> {
        let whole = Layout::on_cpu(spec, kept);
        let (rows, cols) = (whole.rows, whole.cols);
        let row_bytes = (whole.stride * whole.storage.size()) as u64;
        let allowed = capabilities.max_storage_buffer_binding_size.min(capabilities.max_buffer_size);
        let fit = usize::try_from(allowed / row_bytes).unwrap_or(usize::MAX).min(rows);
        if fit == 0 || (cols == 1 && fit < rows) {
            return Err(GpuError::Limit {
                what: format!("a row of {}", spec.name),
                limit: "maxStorageBufferBindingSize",
                needed: row_bytes,
                allowed,
            });
        }
        let parts = (0..rows).step_by(fit).map(|first| Part { first, rows: fit.min(rows - first) }).collect();
        Ok(Layout { parts, ..whole })
    }

    /// Lays out `spec` where there is no GPU: in one part.
    pub fn on_cpu(spec: &WeightSpec, kept: Kept) -> Layout {
        let (rows, plus_one, parts) = (spec.rows(), spec.plus_one, vec![Part { first: 0, rows: spec.rows() }]);
        match kept {
            Kept::Floats(storage) => {
                let (cols, stride) = (spec.cols, stride(spec.cols));
                Layout { rows, cols, stride, storage, grouped: None, rounds: false, plus_one, parts }
            }
            Kept::Grouped(grouped) | Kept::Rounded(grouped) => {
                let (cols, stride, storage) = (grouped.words(), grouped.line(), grouped.integers.into());
                let rounds = matches!(kept, Kept::Rounded(_));
                Layout { rows, cols, stride, storage, grouped: Some(grouped), rounds, plus_one, parts }
            }
        }
    }

    /// Rows and columns of it as a matrix, a vector being one row.
    pub fn matrix(&self) -> [usize; 2] {
        match self.grouped {
            Some(grouped) => [self.rows, grouped.cols],
            None if self.cols == 1 => [1, self.rows],
            None => [self.rows, self.cols],
        }
    }

    /// How its elements are stored in CPU memory.
    pub fn cpu_storage(&self) -> cpu::Storage {
        match (self.grouped, self.storage) {
            (Some(grouped), _) => cpu::Storage::Grouped(grouped),
            (None, Storage::F32 | Storage::Int4 | Storage::Int8) => cpu::Storage::F32,
            (None, Storage::F16 | Storage::F16Packed) => cpu::Storage::F16,
            (None, Storage::Bf16) => cpu::Storage::Bf16,
        }
    }

    /// Bytes that `rows` rows take on the device. Vectors are padded to a whole quad.
    pub fn bytes(&self, rows: usize) -> u64 {
        let bytes = (rows * self.stride * self.storage.size()) as u64;
        if self.cols == 1 { bytes.next_multiple_of(16) } else { bytes }
    }

    /// Bytes that the whole weight takes on the device.
    pub fn total_bytes(&self) -> u64 {
        self.parts.iter().map(|part| self.bytes(part.rows)).sum()
    }
}

/// Elements of a row in device memory. A vector is a matrix of one column whose elements lie side by side.
fn stride(cols: usize) -> usize {
    if cols == 1 { 1 } else { cols.next_multiple_of(4) }
}
