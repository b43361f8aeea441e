//! Which bytes of which files go to which rows of which weights, in the order in which the forward pass needs them.

use std::ops::Range;

use super::WeightsError;
use super::cast::castable;
use super::layout::Layout;
use super::made::{Made, Stacked};
use super::spec::{Arrangement, BlockSpec, Piece, WeightSpecs};
use crate::checkpoint::{Catalog, GroupedTensors, Order, TensorInfo};
use crate::config::Method;
use crate::tensor::Dtype;
use crate::tensor::ops::WeightId;

/// The most that one range request asks for, in bytes. Small enough that several run at a time and that little is lost
/// when one fails; large enough that a request's latency doesn't matter.
pub const MAX_FETCH: u64 = 8 << 20;

/// Bytes at most, roughly, of what is made at once on the CPU of an extent.
const MADE: usize = 2 << 20;

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
                            let is_it =
                                |found: &GroupedTensors| found.grouped == wanted && (found.method == Method::CompressedTensors || !by_head);
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
                            (Some(tensors), _) => grouped_extents(*weight, layout, run, tensors, &mut extents),
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
struct Run {
    /// The weight's rows.
    rows: Range<usize>,
    /// The first one's place among the tensor's.
    from: usize,
    /// Whether the file has them column by column; then they are all of the tensor's.
    transposed: bool,
}

/// Columns of a weight that are one tensor.
struct Columns<'a> {
    /// Their elements.
    dtype: Dtype,
    /// Their bytes in the file.
    bytes: &'a Range<u64>,
    /// Which columns.
    cols: Range<usize>,
}

impl Columns<'_> {
    fn all(tensor: &TensorInfo, cols: usize) -> Columns<'_> {
        Columns { dtype: tensor.dtype, bytes: &tensor.range, cols: 0..cols }
    }
}

/// The same of rows of integers: those, their scales, and their zeros, each to columns of its own.
fn grouped_extents(
    weight: WeightId,
    layout: &Layout,
    run: Run,
    tensors: &GroupedTensors,
    extents: &mut Vec<(usize, Extent)>,
) {
    let GroupedTensors { grouped, method, integers, scales, zeros } = tensors;
    let (words, groups, rows, from) = (grouped.integer_words(), grouped.groups(), run.rows.clone(), run.from);
    let by_columns = *method != Method::CompressedTensors;
    let stacked = Stacked {
        integers: grouped.integers,
        skip: 0,
        by_columns,
        less_one: *method == Method::Gptq { zeros_less_one: true },
        even_first: *method == Method::Awq,
    };
    let a_word = grouped.integers.a_word();
    // A line has words of all rows.
    let line = rows.len().div_ceil(a_word) * 4;
    let mut push = |info: &TensorInfo, rows: Range<usize>, cols: Range<usize>, made: Made, bytes: [usize; 2]| {
        let [start, end] = bytes.map(|at| info.range.start + at as u64);
        let range = start..end;
        let extent = Extent { weight, rows, cols, dtype: Dtype::F32, transposed: false, made: Some(made), range };
        extents.push((info.file, extent));
    };
    if *method == Method::Awq {
        // A word of a row is made of eight lines; some words at a time.
        let most = (MADE / (line * a_word).max(1)).max(1);
        for start in (0..words).step_by(most) {
            let end = words.min(start + most);
            let bytes = [start, end].map(|word| word * a_word * line);
            push(integers, rows.clone(), start..end, Made::Turned(stacked), bytes);
        }
    }
    if let Some(zeros) = zeros.as_ref().filter(|_| by_columns) {
        let most = (MADE / (line * a_word).max(1)).max(1);
        for start in (0..groups).step_by(most) {
            let end = groups.min(start + most);
            let cols = words + groups + start..words + groups + end;
            push(zeros, rows.clone(), cols, Made::Unstacked(stacked), [start * line, end * line]);
        }
    } else if let Some(zeros) = zeros {
        // A line has so many rows of all groups; those of a run may begin within one.
        let line = groups * 4;
        let most = (MADE / (line * a_word).max(1)).max(1);
        let lines = from / a_word..(from + rows.len()).div_ceil(a_word);
        let row = |word: usize| rows.start + (word * a_word).clamp(from, from + rows.len()) - from;
        for start in lines.clone().step_by(most) {
            let end = lines.end.min(start + most);
            let stacked = Stacked { skip: from.saturating_sub(start * a_word), ..stacked };
            let cols = words + groups..words + 2 * groups;
            push(zeros, row(start)..row(end), cols, Made::Unstacked(stacked), [start * line, end * line]);
        }
    }
    let run = Run { transposed: by_columns, ..run };
    if *method != Method::Awq {
        // Words are moved as they are, as float32 are.
        let columns = Columns { dtype: Dtype::F32, bytes: &integers.range, cols: 0..words };
        split(weight, layout, run.clone(), columns, |extent| extents.push((integers.file, extent)));
    }
    let columns = Columns { dtype: scales.dtype, bytes: &scales.range, cols: words..words + groups };
    split(weight, layout, run, columns, |extent| extents.push((scales.file, extent)));
}

/// Cuts a run where the weight's parts end and where a request would grow too large.
fn split(weight: WeightId, layout: &Layout, run: Run, columns: Columns<'_>, mut push: impl FnMut(Extent)) {
    let Columns { dtype, bytes, cols: all } = columns;
    let Run { rows, from: first, transposed } = run;
    let size = dtype.size().unwrap_or(0) as usize;
    let most = |line: usize| usize::try_from(MAX_FETCH / (line * size).max(1) as u64).unwrap_or(usize::MAX);
    let part_of = |start: usize, lines: usize, line: usize| {
        let start = bytes.start + (start * line * size) as u64;
        start..start + (lines * line * size) as u64
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
