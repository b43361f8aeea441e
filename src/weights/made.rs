//! What is made of a checkpoint's elements on the CPU, a few lines of a file at a time: more than a cast.

use std::ops::Range;

use super::plan::Extent;
use crate::tensor::cpu::{decode, round};
use crate::tensor::{Dtype, Grouped, Integers};

/// What is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// float32 of integers, of which the file has several rows' in a word.
    Unstacked(Stacked),
    /// Words of a row's integers, of words that have those of several rows, column by column.
    Turned(Stacked),
    /// Lines of integers with scales, of floats.
    Rounded(Grouped),
}

/// How the file has integers of several rows in a word, the first one's in its lowest bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stacked {
    /// The integers.
    pub integers: Integers,
    /// How many rows of the first word come before those that are wanted.
    pub skip: usize,
    /// Whether the words of a column follow one another in the file, rather than those of so many rows.
    pub by_columns: bool,
    /// Whether each is one less than it should be.
    pub less_one: bool,
    /// Whether a word has its even rows before its odd ones, as AWQ's kernels like it.
    pub even_first: bool,
}

/// Bytes of a file that are made something of together, where that is row by row.
const BATCH: usize = 256 << 10;

impl Made {
    /// Rows of an extent that are made together, and their bytes in the file: all, where a word has several rows'.
    pub fn batches(self, extent: &Extent) -> impl Iterator<Item = (Range<usize>, usize)> {
        let (Range { start, end }, bytes) = (extent.rows.clone(), (extent.range.end - extent.range.start) as usize);
        let line = bytes / (end - start).max(1);
        let batch = if let Made::Rounded(_) = self { (BATCH / line.max(1)).max(1) } else { (end - start).max(1) };
        (start..end).step_by(batch).map(move |from| {
            let to = end.min(from + batch);
            (from..to, if to - from == end - start { bytes } else { (to - from) * line })
        })
    }

    /// The weight's columns that are made of an extent: whole lines with their padding, or its own.
    pub fn cols(self, extent: &Extent) -> Range<usize> {
        if let Made::Rounded(grouped) = self { 0..grouped.line() } else { extent.cols.clone() }
    }

    /// What becomes of `bytes`, of a file's elements of `dtype`: `rows` rows of `cols` words.
    pub fn words(self, dtype: Dtype, bytes: &[u8], [rows, cols]: [usize; 2], floats: &mut Vec<f32>) -> Vec<u8> {
        match self {
            Made::Unstacked(stacked) => stacked.unstack(bytes, rows, cols),
            Made::Turned(stacked) => stacked.turn(bytes, rows, cols),
            Made::Rounded(grouped) => rounded(grouped, dtype, bytes, floats),
        }
    }
}

impl Stacked {
    /// The integer of a row and a column that `bytes` has, which are words of so many rows and columns.
    fn of(self, bytes: &[u8], rows: usize, cols: usize) -> impl Fn(usize, usize) -> u32 {
        let (bits, a_word) = (self.integers.bits(), self.integers.a_word());
        let (words, mask) = (bytes.as_chunks::<4>().0, self.integers.middle() * 2 - 1);
        let (row_step, col_step) = if self.by_columns { (1, rows.div_ceil(a_word)) } else { (cols, 1) };
        // It was taken from whole words, and is given to whole words: where one was 0, its neighbours paid for it.
        let one = if self.less_one { u32::MAX / mask } else { 0 };
        move |row, col| {
            let (word, at) = (words.get(row / a_word * row_step + col * col_step), row % a_word);
            let at = if self.even_first { at / 2 + at % 2 * (a_word / 2) } else { at };
            word.map_or(0, |word| u32::from_le_bytes(*word).wrapping_add(one) >> (at * bits) & mask)
        }
    }

    /// The integers of `bytes`, words of `cols` columns, as float32: `rows` rows of so many.
    fn unstack(self, bytes: &[u8], rows: usize, cols: usize) -> Vec<u8> {
        let integer = self.of(bytes, rows, cols);
        let rows = self.skip..self.skip + rows;
        let all = rows.flat_map(|row| (0..cols).map(move |col| (row, col)));
        all.flat_map(|(row, col)| (integer(row, col) as f32).to_le_bytes()).collect()
    }

    /// The integers of `bytes` as words of a row's neighbours: `rows` rows of `words` words.
    fn turn(self, bytes: &[u8], rows: usize, words: usize) -> Vec<u8> {
        let (bits, a_word) = (self.integers.bits(), self.integers.a_word());
        let integer = self.of(bytes, rows, words * a_word);
        let all = (0..rows).flat_map(|row| (0..words).map(move |word| (row, word)));
        all.flat_map(|(row, word)| {
            let integers = (0..a_word).map(|at| integer(row, word * a_word + at) << (at * bits));
            integers.fold(0, |bits, integer| bits | integer).to_le_bytes()
        })
        .collect()
    }
}

/// Whole rows of a file's floats as lines of integers, padding included.
fn rounded(grouped: Grouped, dtype: Dtype, bytes: &[u8], floats: &mut Vec<f32>) -> Vec<u8> {
    floats.clear();
    decode(dtype, bytes, floats);
    let mut lines = Vec::with_capacity(floats.len() / grouped.cols.max(1) * grouped.line() * 4);
    for row in floats.chunks_exact(grouped.cols.max(1)) {
        let line = round(grouped, row);
        let padding = std::iter::repeat_n(0, grouped.line().saturating_sub(line.len()));
        lines.extend(line.into_iter().chain(padding).flat_map(u32::to_le_bytes));
    }
    lines
}
