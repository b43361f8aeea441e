//! From the network's chunks to a matrix in CPU memory, some whole lines at a time.

use std::cell::RefCell;
use std::ops::Range;

use super::made::{Made, rounded};
use super::plan::Extent;
use super::store::Store;
use super::upload::Chunks;
use crate::Result;
use crate::tensor::Dtype;
use crate::tensor::cpu::Incoming;

/// Bytes that are gathered before they are cast: lines of the file, at least one.
const BATCH: usize = 256 << 10;

/// Rows of an extent that are gathered together, and their bytes in the file.
pub(super) fn batches(extent: &Extent) -> impl Iterator<Item = (Range<usize>, usize)> {
    let Range { start, end } = extent.rows;
    let line = (extent.range.end - extent.range.start) as usize / extent.rows.len().max(1);
    let batch = (BATCH / line.max(1)).max(1);
    (start..end).step_by(batch).map(move |from| {
        let to = end.min(from + batch);
        (from..to, (to - from) * line)
    })
}

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
        let taken = |rows, cols| Incoming { rows, cols, transposed: false, dtype: Dtype::F32, plus_one: false };
        match extent.made {
            Some(made @ (Made::Unstacked(_) | Made::Turned(_))) => {
                let (rows, cols) = (extent.rows.clone(), extent.cols.clone());
                self.read(stream, (extent.range.end - extent.range.start) as usize, heard).await?;
                let bytes = made.words(&self.bytes, rows.len(), cols.len());
                if let Some(matrix) = store.borrow_mut().matrix_mut(extent.weight) {
                    matrix.take(&taken(rows, cols), &bytes, &mut self.floats)?;
                }
                return Ok(());
            }
            Some(Made::Rounded(grouped)) => {
                for (rows, length) in batches(extent) {
                    self.read(stream, length, heard).await?;
                    let lines = rounded(grouped, extent.dtype, &self.bytes, &mut self.floats);
                    if let Some(matrix) = store.borrow_mut().matrix_mut(extent.weight) {
                        matrix.take(&taken(rows, 0..grouped.line()), &lines, &mut self.floats)?;
                    }
                }
                return Ok(());
            }
            None => {}
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
