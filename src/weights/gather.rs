//! From the network's chunks to a matrix in CPU memory, some whole lines at a time.

use std::cell::RefCell;

use super::plan::Extent;
use super::store::Store;
use super::upload::Chunks;
use crate::Result;
use crate::tensor::Dtype;
use crate::tensor::cpu::Incoming;

/// Bytes that are gathered before they are cast: lines of the file, at least one.
const BATCH: usize = 256 << 10;

/// One open stream's way to CPU memory.
#[derive(Default)]
pub struct Gatherer {
    bytes: Vec<u8>,
    floats: Vec<f32>,
}

impl Gatherer {
    /// Takes one extent's bytes out of `stream` and puts them into its weight, where that is still there. `heard` is told
    /// of every chunk's length.
    pub async fn gather(
        &mut self,
        stream: &mut Chunks<'_>,
        extent: &Extent,
        store: &RefCell<Store>,
        heard: &dyn Fn(u64),
    ) -> Result<()> {
        let (is_vector, plus_one) = match store.borrow().layout(extent.weight) {
            Some(layout) => (layout.cols == 1, layout.plus_one),
            None => return Ok(()),
        };
        let size = extent.dtype.size().unwrap_or(1) as usize;
        if let Some(made) = extent.made {
            let cols = made.cols(extent);
            for (rows, length) in made.batches(extent) {
                self.read(stream, length, heard).await?;
                let shape = [rows.len(), cols.len()];
                let words = made.words(extent.dtype, &self.bytes, shape, &mut self.floats);
                let dtype = Dtype::F32;
                let incoming = Incoming { rows, cols: cols.clone(), transposed: false, dtype, plus_one: false };
                if let Some(matrix) = store.borrow_mut().matrix_mut(extent.weight) {
                    matrix.take(&incoming, &words, &mut self.floats)?;
                }
            }
            return Ok(());
        }
        // A line is what lies side by side in the file: a row, or a column; a vector is a row.
        let (rows, cols, transposed) = match is_vector {
            true => (0..1, extent.rows.clone(), false),
            false => (extent.rows.clone(), extent.cols.clone(), extent.transposed),
        };
        let (lines, line) = if transposed { (cols.clone(), rows.len()) } else { (rows.clone(), cols.len()) };
        let line = (line * size).max(1);
        let batch = (BATCH / line).max(1);
        let mut from = lines.start;
        while from < lines.end {
            let end = lines.end.min(from + batch);
            self.read(stream, (end - from) * line, heard).await?;
            let (rows, cols) = if transposed { (rows.clone(), from..end) } else { (from..end, cols.clone()) };
            let incoming = Incoming { rows, cols, transposed, dtype: extent.dtype, plus_one };
            if let Some(matrix) = store.borrow_mut().matrix_mut(extent.weight) {
                matrix.take(&incoming, &self.bytes, &mut self.floats)?;
            }
            from = end;
        }
        Ok(())
    }

    /// Fills `bytes` with the next `length` bytes.
    async fn read(&mut self, stream: &mut Chunks<'_>, length: usize, heard: &dyn Fn(u64)) -> Result<()> {
        self.bytes.resize(length, 0);
        let mut at = 0;
        while at < length {
            let chunk = stream.next((length - at) as u64).await?;
            at += chunk.copy_to(self.bytes.get_mut(at..).unwrap_or_default());
            heard(chunk.len() as u64);
        }
        Ok(())
    }
}
