//! A weight in CPU memory.

use std::ops::Range;
use std::rc::Rc;

use super::crew::{Crew, Rest};
use super::decode::decode;
use super::lanes::F32x4;
use super::{CpuError, grouped, resize};
use crate::tensor::{Dtype, Grouped, Integers};

/// How the elements of a matrix are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// float32
    F32,
    /// float16
    F16,
    /// bfloat16
    Bf16,
    /// Integers with scales
    Grouped(Grouped),
}

impl Storage {
    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Storage::F32 => "float32 (CPU)",
            Storage::F16 => "float16 (CPU)",
            Storage::Bf16 => "bfloat16 (CPU)",
            Storage::Grouped(Grouped { integers: Integers::Int4, .. }) => "int4 (CPU)",
            Storage::Grouped(Grouped { integers: Integers::Int8, .. }) => "int8 (CPU)",
        }
    }

    /// Bytes from one row of `cols` elements to the next.
    fn line_bytes(self, cols: usize) -> usize {
        match self {
            Storage::F32 => cols.next_multiple_of(Matrix::LINE) * 4,
            Storage::F16 | Storage::Bf16 => cols.next_multiple_of(Matrix::LINE) * 2,
            Storage::Grouped(grouped) => grouped.line() * 4,
        }
    }
}

/// Elements, row by row; a row's stride is a multiple of [`Matrix::LINE`], and what lies behind its columns is zero.
pub(super) enum Elements {
    F32(Vec<f32>),
    F16(Vec<u16>),
    Bf16(Vec<u16>),
    /// Lines of words.
    Grouped(Grouped, Vec<u32>),
}

/// A matrix, or a vector as a matrix of one row.
pub struct Matrix {
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) stride: usize,
    /// The rows that are here: the first ones, or all.
    pub(super) elements: Elements,
    /// Of how many rows those are.
    pub(super) own: usize,
    /// What number the first row has, where this is a part of another matrix.
    pub(super) first: usize,
    /// The others, where other threads have them.
    pub(super) rest: Option<Rest>,
}

/// Elements of a checkpoint's tensor on their way into a matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Of these rows.
    pub rows: Range<usize>,
    /// And these columns: of integers with scales, words of a line.
    pub cols: Range<usize>,
    /// Whether they lie column by column.
    pub transposed: bool,
    /// What they are.
    pub dtype: Dtype,
    /// Whether the matrix gets each plus one.
    pub plus_one: bool,
}

impl Matrix {
    /// A row's stride is a multiple of this.
    pub const LINE: usize = 8;

    /// Bytes that it takes, wherever its rows are.
    pub fn size(&self) -> u64 {
        self.line_bytes() as u64 * self.rows as u64
    }

    /// Bytes from one row to the next.
    pub fn line_bytes(&self) -> usize {
        self.step() * if let Elements::F32(_) | Elements::Grouped(..) = self.elements { 4 } else { 2 }
    }

    /// Elements from one row to the next in memory; of integers with scales, words.
    fn step(&self) -> usize {
        if let Elements::Grouped(grouped, _) = &self.elements { grouped.line() } else { self.stride }
    }

    /// Gives `each` some of the rows at a time, from which on and as they lie in memory: little-endian, padding included.
    pub fn read<E: From<CpuError>>(
        &self,
        rows: Range<usize>,
        mut each: impl FnMut(usize, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let own = rows.start..rows.end.min(self.own);
        if !own.is_empty() {
            each(own.start, self.own_bytes(own.clone()))?;
        }
        self.rest.as_ref().map_or(Ok(()), |rest| rest.read(&rows, self.line_bytes(), each))
    }

    /// The same of rows that are here, by their numbers.
    pub(super) fn own_bytes(&self, rows: Range<usize>) -> &[u8] {
        let rows = rows.start.saturating_sub(self.first)..rows.end.saturating_sub(self.first);
        let all: &[u8] = match &self.elements {
            // SAFETY: any float or integer is so many bytes.
            Elements::F32(own) => unsafe { own.align_to().1 },
            // SAFETY: the same.
            Elements::F16(own) | Elements::Bf16(own) => unsafe { own.align_to().1 },
            // SAFETY: the same.
            Elements::Grouped(_, own) => unsafe { own.align_to().1 },
        };
        let line = self.line_bytes();
        all.get(rows.start * line..rows.end * line).unwrap_or_default()
    }

    /// Bytes that such a matrix takes.
    pub fn bytes_of(rows: usize, cols: usize, storage: Storage) -> u64 {
        (rows as u64).saturating_mul(storage.line_bytes(cols) as u64)
    }

    /// Zeros, a part of which a crew may have.
    ///
    /// # Errors
    /// [`CpuError::OutOfMemory`]
    pub fn shared(
        what: &str,
        rows: usize,
        cols: usize,
        storage: Storage,
        crew: Option<&Rc<Crew>>,
    ) -> Result<Matrix, CpuError> {
        match crew.map(|crew| Rest::share(crew, rows, cols, storage)).transpose()?.flatten() {
            None => Matrix::new(what, rows, cols, storage),
            Some((own, rest)) => Ok(Matrix { rows, rest: Some(rest), ..Matrix::new(what, own, cols, storage)? }),
        }
    }

    /// Zeros.
    ///
    /// # Errors
    /// [`CpuError::OutOfMemory`]
    pub fn new(what: &str, rows: usize, cols: usize, storage: Storage) -> Result<Matrix, CpuError> {
        let bytes = Matrix::bytes_of(rows, cols, storage);
        let stride = cols.next_multiple_of(Matrix::LINE);
        let len = usize::try_from(bytes).map_err(|_| CpuError::OutOfMemory { what: what.to_owned(), bytes })?;
        fn zeros<T: Copy + Default>(bytes: usize, what: &str) -> Result<Vec<T>, CpuError> {
            let mut values = Vec::new();
            resize(&mut values, bytes / size_of::<T>(), what)?;
            Ok(values)
        }
        let elements = match storage {
            Storage::F32 => Elements::F32(zeros(len, what)?),
            Storage::F16 => Elements::F16(zeros(len, what)?),
            Storage::Bf16 => Elements::Bf16(zeros(len, what)?),
            Storage::Grouped(grouped) => Elements::Grouped(grouped, zeros(len, what)?),
        };
        Ok(Matrix { rows, cols, stride, elements, own: rows, first: 0, rest: None })
    }

    /// Takes whole lines: `bytes` has every element that `incoming` tells of, in the checkpoint's order. Rows that are neither here
    /// nor with others are passed over.
    ///
    /// # Errors
    /// What others have run into.
    pub fn take(&mut self, incoming: &Incoming, bytes: &[u8], scratch: &mut Vec<f32>) -> Result<(), CpuError> {
        self.take_own(incoming, bytes, scratch);
        self.rest.as_ref().map_or(Ok(()), |rest| rest.take(incoming, bytes))
    }

    fn take_own(&mut self, incoming: &Incoming, bytes: &[u8], scratch: &mut Vec<f32>) {
        let Incoming { rows, cols, transposed, dtype, plus_one } = incoming;
        let size = dtype.size().unwrap_or(1) as usize;
        let (lines, line) = if *transposed { (cols, rows) } else { (rows, cols) };
        let (first, end) = (self.first, self.first + self.own);
        for (at, bytes) in lines.clone().zip(bytes.chunks_exact((line.len() * size).max(1))) {
            if !transposed && !(first..end).contains(&at) {
                continue;
            }
            let at = if *transposed { at } else { at - first };
            if !transposed && self.copy(*dtype, at, cols.start, bytes) && !plus_one {
                continue;
            }
            scratch.clear();
            decode(*dtype, bytes, scratch);
            if *plus_one {
                scratch.iter_mut().for_each(|value| *value += 1.0);
            }
            match transposed {
                true => {
                    // Of the column those that are here.
                    let from = rows.start.max(first);
                    let here = from - rows.start..rows.end.min(end).max(from) - rows.start;
                    let values = scratch.get(here).unwrap_or_default();
                    self.put((from - first) * self.step() + at, self.step(), values);
                }
                false => self.put(at * self.step() + cols.start, 1, scratch),
            }
        }
    }

    /// Copies halves, or words, that are what is stored. `false`: they aren't.
    fn copy(&mut self, dtype: Dtype, row: usize, col: usize, bytes: &[u8]) -> bool {
        let from = row * self.step() + col;
        match (&mut self.elements, dtype) {
            (Elements::F16(own), Dtype::F16) | (Elements::Bf16(own), Dtype::BF16) => {
                let own = own.get_mut(from..).unwrap_or_default();
                own.iter_mut().zip(bytes.as_chunks::<2>().0).for_each(|(own, bits)| *own = u16::from_le_bytes(*bits));
                true
            }
            (Elements::Grouped(_, own), Dtype::F32) => {
                let own = own.get_mut(from..).unwrap_or_default();
                own.iter_mut().zip(bytes.as_chunks::<4>().0).for_each(|(own, bits)| *own = u32::from_le_bytes(*bits));
                true
            }
            _ => false,
        }
    }

    /// Stores floats from element `first` on, `step` apart.
    fn put(&mut self, first: usize, step: usize, values: &[f32]) {
        fn each<T>(own: &mut [T], first: usize, step: usize, values: &[f32], of: impl Fn(f32) -> T) {
            let own = own.get_mut(first..).unwrap_or_default().iter_mut().step_by(step.max(1));
            own.zip(values).for_each(|(own, value)| *own = of(*value));
        }
        match &mut self.elements {
            Elements::F32(own) => each(own, first, step, values, |value| value),
            Elements::F16(own) => each(own, first, step, values, |value| half::f16::from_f32(value).to_bits()),
            Elements::Bf16(own) => each(own, first, step, values, |value| half::bf16::from_f32(value).to_bits()),
            Elements::Grouped(_, own) => each(own, first, step, values, f32::to_bits),
        }
    }

    /// Writes row `row` to `out`, of the stride's length, as floats, whoever has it.
    ///
    /// # Errors
    /// What others have run into.
    pub(super) fn widen(&self, row: usize, out: &mut [f32]) -> Result<(), CpuError> {
        if row < self.own || self.rest.is_none() {
            self.widen_own(row, out);
            return Ok(());
        }
        self.read(row..row + 1, |_, bytes| {
            match &self.elements {
                Elements::F32(_) => {
                    let words = bytes.as_chunks::<4>().0;
                    out.iter_mut().zip(words).for_each(|(out, word)| *out = f32::from_le_bytes(*word));
                }
                Elements::F16(_) => each_half(bytes, out, |bits| half::f16::from_bits(bits).to_f32()),
                Elements::Bf16(_) => each_half(bytes, out, |bits| half::bf16::from_bits(bits).to_f32()),
                Elements::Grouped(grouped, _) => {
                    let line: Vec<u32> =
                        bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
                    grouped::widen(*grouped, &line, out);
                }
            }
            Ok(())
        })
    }

    /// The same of a row that is here.
    pub(super) fn widen_own(&self, row: usize, out: &mut [f32]) {
        let range = row * self.step()..(row + 1) * self.step();
        match &self.elements {
            Elements::F32(own) => {
                let row = own.get(range).unwrap_or_default();
                out.iter_mut().zip(row).for_each(|(out, value)| *out = *value);
            }
            Elements::F16(own) => widen(own.get(range).unwrap_or_default(), out, F32x4::from_f16),
            Elements::Bf16(own) => widen(own.get(range).unwrap_or_default(), out, F32x4::from_bf16),
            Elements::Grouped(grouped, own) => grouped::widen(*grouped, own.get(range).unwrap_or_default(), out),
        }
    }

    /// A vector's floats: those of a float32 matrix of one row.
    pub(super) fn vector(&self) -> &[f32] {
        match &self.elements {
            Elements::F32(own) => own.get(..self.cols).unwrap_or_default(),
            _ => &[],
        }
    }
}

fn each_half(bytes: &[u8], out: &mut [f32], of: impl Fn(u16) -> f32) {
    out.iter_mut().zip(bytes.as_chunks::<2>().0).for_each(|(out, bits)| *out = of(u16::from_le_bytes(*bits)));
}

/// Halves, a multiple of four of them, as floats.
#[inline(always)]
pub(super) fn widen(halves: &[u16], out: &mut [f32], four: impl Fn(&[u16; 4]) -> F32x4) {
    for (out, halves) in out.as_chunks_mut::<4>().0.iter_mut().zip(halves.as_chunks::<4>().0) {
        *out = four(halves).to_array();
    }
}
