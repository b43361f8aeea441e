//! How a weight lies in a GPU's memory: rows padded to whole quads, split where a binding would be too large; and in which
//! precision it is kept everywhere.

use super::spec::WeightSpec;
use crate::tensor::cpu;
use crate::tensor::gpu::device::{Capabilities, GpuError};
use crate::tensor::gpu::kernel::Storage;

/// Rows of a weight that share a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The part's first row in the weight.
    pub first: usize,
    /// How many.
    pub rows: usize,
}

/// How a weight lies in device memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Rows.
    pub rows: usize,
    /// Elements of a row in the checkpoint.
    pub cols: usize,
    /// Elements of a row in device memory; those past `cols` are zero.
    pub stride: usize,
    /// The element.
    pub storage: Storage,
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
    pub fn new(spec: &WeightSpec, storage: Storage, capabilities: &Capabilities) -> Result<Layout, GpuError> {
        let (rows, cols) = (spec.rows(), spec.cols);
        let stride = stride(cols);
        let row_bytes = (stride * storage.size()) as u64;
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
        Ok(Layout { rows, cols, stride, storage, plus_one: spec.plus_one, parts })
    }

    /// Lays out `spec` where there is no GPU: in one part.
    pub fn on_cpu(spec: &WeightSpec, storage: Storage) -> Layout {
        let (rows, cols) = (spec.rows(), spec.cols);
        let stride = stride(cols);
        Layout { rows, cols, stride, storage, plus_one: spec.plus_one, parts: vec![Part { first: 0, rows }] }
    }

    /// Rows and columns of it as a matrix, a vector being one row.
    pub fn matrix(&self) -> [usize; 2] {
        if self.cols == 1 { [1, self.rows] } else { [self.rows, self.cols] }
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

impl From<Storage> for cpu::Storage {
    fn from(storage: Storage) -> cpu::Storage {
        match storage {
            Storage::F32 => cpu::Storage::F32,
            Storage::F16 | Storage::F16Packed => cpu::Storage::F16,
            Storage::Bf16 => cpu::Storage::Bf16,
        }
    }
}
