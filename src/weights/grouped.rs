//! Which bytes of which files go to which words of a quantised weight's rows: its integers, their scales and their zeros lie in tensors
//! of their own, and go to columns of their own.

use std::ops::Range;

use super::layout::Layout;
use super::made::{Made, Stacked};
use super::plan::{Columns, Extent, Run, split};
use crate::checkpoint::{GroupedTensors, TensorInfo};
use crate::config::Method;
use crate::tensor::Dtype;
use crate::tensor::ops::WeightId;

/// Bytes, roughly, of what is made at once on the CPU.
const MADE: usize = 2 << 20;

/// Tells where all of a run comes from.
pub(super) fn plan(
    weight: WeightId,
    layout: &Layout,
    run: Run,
    tensors: &GroupedTensors,
    extents: &mut Vec<(usize, Extent)>,
) {
    let GroupedTensors { grouped, method, integers, scales, zeros } = tensors;
    let (words, groups) = (grouped.integer_words(), grouped.groups());
    let by_columns = *method != Method::CompressedTensors;
    let stacked = Stacked {
        integers: grouped.integers,
        skip: 0,
        by_columns,
        less_one: *method == Method::Gptq { zeros_less_one: true },
        even_first: *method == Method::Awq,
    };
    let of_zeros = words + groups..words + 2 * groups;
    if let Some(zeros) = zeros {
        let stacks = Stacks { weight, info: zeros, stacked, made: Made::Unstacked, lines: 1 };
        match by_columns {
            true => stacks.columns(&run, of_zeros, extents),
            false => stacks.rows(&run, of_zeros, extents),
        }
    }
    let run = Run { transposed: by_columns, ..run };
    if *method == Method::Awq {
        let lines = grouped.integers.a_word();
        Stacks { weight, info: integers, stacked, made: Made::Turned, lines }.columns(&run, 0..words, extents);
    } else {
        // Words are moved as they are, as float32 are.
        let columns = Columns { dtype: Dtype::F32, bytes: &integers.range, cols: 0..words };
        split(weight, layout, run.clone(), columns, |extent| extents.push((integers.file, extent)));
    }
    let columns = Columns { dtype: scales.dtype, bytes: &scales.range, cols: words..words + groups };
    split(weight, layout, run, columns, |extent| extents.push((scales.file, extent)));
}

/// A tensor that has integers of several rows in a word.
struct Stacks<'a> {
    weight: WeightId,
    info: &'a TensorInfo,
    stacked: Stacked,
    /// What becomes of it.
    made: fn(Stacked) -> Made,
    /// By columns: of how many lines of the file a column of the weight is made.
    lines: usize,
}

impl Stacks<'_> {
    /// A line of the file has words of all rows; the lines of some columns together.
    fn columns(&self, run: &Run, cols: Range<usize>, extents: &mut Vec<(usize, Extent)>) {
        let a_word = self.stacked.integers.a_word();
        let column = run.rows.len().div_ceil(a_word).saturating_mul(4 * self.lines);
        let most = (MADE / column.saturating_mul(a_word).max(1)).max(1);
        for from in cols.clone().step_by(most) {
            let to = cols.end.min(from + most);
            let bytes = [from, to].map(|col| (col - cols.start) as u64 * column as u64);
            self.push(run.rows.clone(), from..to, self.stacked, bytes, extents);
        }
    }

    /// A line of the file has words of so many rows; some lines together, the first of which a run may begin within.
    fn rows(&self, run: &Run, cols: Range<usize>, extents: &mut Vec<(usize, Extent)>) {
        let (from, count, a_word) = (run.from, run.rows.len(), self.stacked.integers.a_word());
        let line = cols.len().saturating_mul(4);
        let most = (MADE / line.saturating_mul(a_word).max(1)).max(1);
        let lines = from / a_word..(from + count).div_ceil(a_word);
        let row = |line: usize| run.rows.start + (line * a_word).clamp(from, from + count) - from;
        for start in lines.clone().step_by(most) {
            let end = lines.end.min(start + most);
            let stacked = Stacked { skip: from.saturating_sub(start * a_word), ..self.stacked };
            let bytes = [start, end].map(|at| at as u64 * line as u64);
            self.push(row(start)..row(end), cols.clone(), stacked, bytes, extents);
        }
    }

    /// Lines between these bytes of the tensor.
    fn push(
        &self,
        rows: Range<usize>,
        cols: Range<usize>,
        stacked: Stacked,
        bytes: [u64; 2],
        extents: &mut Vec<(usize, Extent)>,
    ) {
        let [start, end] = bytes.map(|at| self.info.range.start + at);
        let (weight, made) = (self.weight, Some((self.made)(stacked)));
        let extent = Extent { weight, rows, cols, dtype: Dtype::F32, transposed: false, made, range: start..end };
        extents.push((self.info.file, extent));
    }
}
