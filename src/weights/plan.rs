//! Which bytes of which files go to which rows of which weights, in the order in which the forward pass needs them.

use std::ops::Range;

use super::WeightsError;
use super::cast::castable;
use super::grouped;
use super::layout::Layout;
use super::made::Made;
use super::spec::{Arrangement, BlockSpec, Piece, WeightSpecs};
use crate::checkpoint::{Catalog, GroupedTensors, Order, TensorInfo};
use crate::config::Method;
use crate::tensor::Dtype;
use crate::tensor::ops::WeightId;

/// The most that one range request asks for, in bytes. Small enough that several run at a time and that little is lost
/// when one fails; large enough that a request's latency doesn't matter.
pub const MAX_FETCH: u64 = 8 << 20;

/// Elements of one tensor that lie side by side in the file: whole rows of it, or whole columns where it is transposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// The weight.
    pub weight: WeightId,
    /// The weight's rows. Where the tensor is transposed they are all of the tensor's, over as many parts as have some;
    /// else they are rows of one part.
    pub rows: Range<usize>,
    /// The weight's columns: all that the tensor has, unless it is transposed.
    pub cols: Range<usize>,
    /// The elements in the file.
    pub dtype: Dtype,
    /// Whether the file has them column by column.
    pub transposed: bool,
    /// What is made of whole lines of the file, where that is more than a cast. Then `dtype` is the file's all the same.
    pub made: Option<Made>,
    /// Their bytes in the file.
    pub range: Range<u64>,
}

impl Extent {
    /// How many elements.
    pub fn elements(&self) -> usize {
        self.rows.len() * self.cols.len()
    }
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
                    let expected = spec.shape_of(piece);
                    if tensor.shape != expected {
                        let (tensor, found) = (piece.tensor.clone(), tensor.shape.clone());
                        return Err(WeightsError::Shape { repo: repo.to_owned(), tensor, found, expected });
                    }
                    if !castable(tensor.dtype) {
                        let (tensor, found) = (piece.tensor.clone(), tensor.dtype);
                        return Err(WeightsError::Dtype { repo: repo.to_owned(), tensor, found });
                    }
                    let Some(transposed) = transposed(piece, spec.is_vector(), &tensor.order) else {
                        let (name, shape) = (piece.tensor.clone(), tensor.shape.clone());
                        let found = tensor.order.clone();
                        return Err(WeightsError::Order { repo: repo.to_owned(), tensor: name, shape, found });
                    };
                    let grouped = tensor.grouped.as_deref();
                    let fits = match layout.grouped {
                        Some(_) if layout.rounds => grouped.is_none() && !transposed,
                        Some(wanted) => {
                            let by_head = matches!(piece.arrangement, Arrangement::ByHead { .. });
                            let is_it = |found: &GroupedTensors| {
                                found.grouped == wanted && (found.method == Method::CompressedTensors || !by_head)
                            };
                            grouped.is_some_and(is_it) && !transposed
                        }
                        None => grouped.is_none(),
                    };
                    if !fits {
                        let (tensor, module) = (piece.tensor.clone(), spec.name.clone());
                        return Err(WeightsError::Grouped { repo: repo.to_owned(), tensor, module });
                    }
                    for (from, to, rows) in piece.arrangement.runs(piece.rows) {
                        let run = Run { rows: first + to..first + to + rows, from, transposed };
                        match (grouped, layout.grouped) {
                            (Some(tensors), _) => grouped::plan(*weight, layout, run, tensors, &mut extents),
                            (None, Some(grouped)) => {
                                let (columns, made) =
                                    (Columns::all(tensor, grouped.cols), Some(Made::Rounded(grouped)));
                                split(*weight, layout, run, columns, |extent| {
                                    let extent = Extent { cols: 0..layout.cols, made, ..extent };
                                    extents.push((tensor.file, extent));
                                });
                            }
                            (None, None) => {
                                let columns = Columns::all(tensor, layout.cols);
                                split(*weight, layout, run, columns, |extent| extents.push((tensor.file, extent)));
                            }
                        }
                    }
                    first += piece.rows;
                }
            }
            Ok(coalesce(block, extents))
        })
        .collect()
}

/// Whether the file has a piece's elements by the weight's columns rather than by its rows; `None` where it has them in an
/// order that isn't supported.
fn transposed(piece: &Piece, is_vector: bool, order: &Order) -> Option<bool> {
    let by_columns = piece.arrangement == Arrangement::Columns && !is_vector;
    match (order, piece.arrangement) {
        (Order::RowMajor, _) => Some(by_columns),
        // What lies by head is found by its rows.
        (Order::ColumnMajor, Arrangement::Rows | Arrangement::Columns) => Some(!by_columns),
        _ => None,
    }
}

/// Rows of a tensor that are rows of a weight, in the same order.
#[derive(Clone)]
pub(super) struct Run {
    /// The weight's rows.
    pub rows: Range<usize>,
    /// The first one's place among the tensor's.
    pub from: usize,
    /// Whether the file has them column by column; then they are all of the tensor's.
    pub transposed: bool,
}

/// Columns of a weight that are one tensor.
pub(super) struct Columns<'a> {
    /// Their elements.
    pub dtype: Dtype,
    /// Their bytes in the file.
    pub bytes: &'a Range<u64>,
    /// Which columns.
    pub cols: Range<usize>,
}

impl Columns<'_> {
    fn all(tensor: &TensorInfo, cols: usize) -> Columns<'_> {
        Columns { dtype: tensor.dtype, bytes: &tensor.range, cols: 0..cols }
    }
}

/// Cuts a run where the weight's parts end and where a request would grow too large.
pub(super) fn split(weight: WeightId, layout: &Layout, run: Run, columns: Columns<'_>, mut push: impl FnMut(Extent)) {
    let Columns { dtype, bytes, cols: all } = columns;
    let Run { rows, from: first, transposed } = run;
    let size = dtype.size().unwrap_or(0) as usize;
    let most = |line: usize| usize::try_from(MAX_FETCH / (line * size).max(1) as u64).unwrap_or(usize::MAX);
    let part_of = |start: usize, lines: usize, line: usize| {
        // A tensor may have more bytes than wasm can count.
        let of = |lines: usize| (line * size) as u64 * lines as u64;
        let start = bytes.start + of(start);
        start..start + of(lines)
    };
    if transposed {
        // A word of the target may hold two columns; both must come from one request.
        let most = (most(rows.len()) & !1).max(2);
        for from in all.clone().step_by(most) {
            let cols = from..all.end.min(from + most);
            let range = part_of(from - all.start, cols.len(), rows.len());
            push(Extent { weight, rows: rows.clone(), cols, dtype, transposed, made: None, range });
        }
        return;
    }
    let most = most(all.len()).max(1);
    for part in &layout.parts {
        let mut from = rows.start.max(part.first);
        let end = rows.end.min(part.first + part.rows);
        while from < end {
            let n = most.min(end - from);
            let range = part_of(first + from - rows.start, n, all.len());
            push(Extent { weight, rows: from..from + n, cols: all.clone(), dtype, transposed, made: None, range });
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
