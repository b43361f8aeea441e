//! Which bytes of which files go to which rows of which weights, in the order in which the forward pass needs them.

use std::ops::Range;

use super::WeightsError;
use super::layout::Layout;
use super::spec::{BlockSpec, WeightSpecs};
use crate::checkpoint::Catalog;
use crate::tensor::Dtype;
use crate::tensor::ops::WeightId;

/// The most that one range request asks for, in bytes. Small enough that several run at a time and that little is lost
/// when one fails; large enough that a request's latency doesn't matter.
pub const MAX_FETCH: u64 = 8 << 20;

/// Rows of one tensor that go to one buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// The weight.
    pub weight: WeightId,
    /// The part of it.
    pub part: usize,
    /// The first row within the part.
    pub row: usize,
    /// How many.
    pub rows: usize,
    /// The elements in the file.
    pub dtype: Dtype,
    /// Their bytes in the file.
    pub range: Range<u64>,
}

/// One range request: neighbouring extents of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// The block that needs it.
    pub block: usize,
    /// The file, by its place in the catalog.
    pub file: usize,
    /// All bytes.
    pub range: Range<u64>,
    /// What they are, in the file's order and without gaps.
    pub extents: Vec<Extent>,
}

/// The requests that bring in a whole model, block by block in forward order.
///
/// # Errors
/// [`WeightsError`] where the checkpoint lacks a tensor or has it in another shape or in a dtype that can't be used.
pub fn plan(
    repo: &str,
    catalog: &Catalog,
    specs: &WeightSpecs,
    layouts: &[Layout],
    blocks: &[BlockSpec],
) -> Result<Vec<Vec<Fetch>>, WeightsError> {
    blocks
        .iter()
        .enumerate()
        .map(|(block, spec)| {
            let mut extents = Vec::new();
            for weight in &spec.weights {
                let (Some(spec), Some(layout)) = (specs.get(*weight), layouts.get(weight.0)) else { continue };
                let mut first = 0;
                for piece in &spec.pieces {
                    let missing = || WeightsError::Missing {
                        repo: repo.to_owned(),
                        tensor: piece.tensor.clone(),
                        module: spec.name.clone(),
                    };
                    let tensor = catalog.tensors.get(&piece.tensor).ok_or_else(missing)?;
                    let expected = if spec.is_vector() { vec![piece.rows] } else { vec![piece.rows, spec.cols] };
                    if tensor.shape != expected {
                        let (tensor, found) = (piece.tensor.clone(), tensor.shape.clone());
                        return Err(WeightsError::Shape { repo: repo.to_owned(), tensor, found, expected });
                    }
                    if !matches!(tensor.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
                        let (tensor, found) = (piece.tensor.clone(), tensor.dtype);
                        return Err(WeightsError::Dtype { repo: repo.to_owned(), tensor, found });
                    }
                    split(*weight, layout, first..first + piece.rows, tensor.dtype, &tensor.range, |extent| {
                        extents.push((tensor.file, extent));
                    });
                    first += piece.rows;
                }
            }
            Ok(coalesce(block, extents))
        })
        .collect()
}

/// Cuts the rows of a tensor where the weight's parts end, and where a request would grow too large.
fn split(
    weight: WeightId,
    layout: &Layout,
    rows: Range<usize>,
    dtype: Dtype,
    bytes: &Range<u64>,
    mut push: impl FnMut(Extent),
) {
    let row_bytes = (layout.cols * dtype.size()) as u64;
    let most = usize::try_from(MAX_FETCH / row_bytes).unwrap_or(usize::MAX).max(1);
    for (index, part) in layout.parts.iter().enumerate() {
        let mut from = rows.start.max(part.first);
        let end = rows.end.min(part.first + part.rows);
        while from < end {
            let n = most.min(end - from);
            let start = bytes.start + (from - rows.start) as u64 * row_bytes;
            let range = start..start + n as u64 * row_bytes;
            push(Extent { weight, part: index, row: from - part.first, rows: n, dtype, range });
            from += n;
        }
    }
}

/// Joins what lies side by side in a file into requests of at most [`MAX_FETCH`].
fn coalesce(block: usize, mut extents: Vec<(usize, Extent)>) -> Vec<Fetch> {
    extents.sort_by_key(|(file, extent)| (*file, extent.range.start));
    let mut fetches: Vec<Fetch> = Vec::new();
    for (file, extent) in extents {
        match fetches.last_mut() {
            Some(last)
                if last.file == file
                    && last.range.end == extent.range.start
                    && extent.range.end - last.range.start <= MAX_FETCH =>
            {
                last.range.end = extent.range.end;
                last.extents.push(extent);
            }
            _ => fetches.push(Fetch { block, file, range: extent.range.clone(), extents: vec![extent] }),
        }
    }
    fetches
}
