//! Matrices of integers with scales, on the CPU.
//!
//! One row of x is multiplied as integers too: sixteen bits for each element, with a scale for each [`SPANS`] of them, so that an element
//! is off by a 65534th of the span's largest at most, where a float16 is off by a 2048th of itself. Products of integers are summed exactly.
//! Many rows of x are multiplied with rows that are made floats.

use super::lanes::{F32x4, I16x8, I32x4};
use super::{CpuError, resize};
use crate::tensor::{Grouped, Integers};

const UNIT: usize = Grouped::UNIT;

/// Elements of x that share a scale: so many of them as divide a group.
const SPANS: [usize; 4] = [128, 96, 64, 32];

/// A row of x as integers: of each unit in the order in which the matrix's are unpacked.
#[derive(Default)]
pub struct Fixed {
    integers: Vec<i16>,
    /// Of each span, what one integer stands for.
    scales: Vec<f32>,
    /// Of each group, the sum of its elements as they are now.
    sums: Vec<f32>,
}

fn span(grouped: Grouped) -> usize {
    SPANS.into_iter().find(|span| grouped.group.is_multiple_of(*span)).unwrap_or(UNIT)
}

impl Fixed {
    /// Makes it of x, for such a matrix.
    ///
    /// # Errors
    /// [`CpuError::OutOfMemory`]
    pub fn set(&mut self, grouped: Grouped, x: &[f32]) -> Result<(), CpuError> {
        let span = span(grouped);
        resize(&mut self.integers, grouped.cols, "a product")?;
        resize(&mut self.scales, grouped.cols / span, "a product")?;
        resize(&mut self.sums, grouped.groups(), "a product")?;
        self.sums.fill(0.0);
        let spans = x.chunks_exact(span).zip(self.integers.chunks_exact_mut(span)).zip(&mut self.scales);
        for (at, ((x, integers), scale)) in spans.enumerate() {
            let sum;
            (*scale, sum) = set(grouped.integers, x, integers);
            if let Some(of_group) = self.sums.get_mut(at * span / grouped.group) {
                *of_group += sum as f32 * *scale;
            }
        }
        Ok(())
    }
}

/// Makes a span's integers. Gives their scale and their sum.
fn set(kind: Integers, x: &[f32], integers: &mut [i16]) -> (f32, i32) {
    const LARGEST: f32 = 32767.0;
    let zero = F32x4::splat(0.0);
    let (mut most, mut nothing) = (zero, zero);
    for x in x.as_chunks::<4>().0.iter().map(F32x4::load) {
        most = most.max(x).max(zero - x);
        // Of an infinity or a NaN, a NaN.
        nothing = nothing + x * zero;
    }
    let most = most.to_array().into_iter().fold(0.0f32, f32::max);
    let scale = most / LARGEST + nothing.sum();
    // Where all are next to nothing, or nothing, they count as that.
    let factor = if scale >= f32::MIN_POSITIVE { F32x4::splat(LARGEST / most) } else { zero };
    let mut sum = 0;
    for (x, integers) in x.as_chunks::<UNIT>().0.iter().zip(integers.as_chunks_mut::<UNIT>().0) {
        for (x, integers) in x.as_chunks::<8>().0.iter().zip(integers.as_chunks_mut::<8>().0) {
            let [a, b, c, d, e, f, g, h] = *x;
            let [first, last] = [[a, b, c, d], [e, f, g, h]].map(|four| F32x4::load(&four) * factor);
            *integers = I16x8::nearest(first, last).to_array();
            sum += integers.iter().map(|integer| i32::from(*integer)).sum::<i32>();
        }
        if kind == Integers::Int4 {
            *integers = in_fours(integers);
        }
    }
    (scale, sum)
}

/// Of each four the first ones, then the second ones, and so on.
fn in_fours(unit: &[i16; UNIT]) -> [i16; UNIT] {
    let mut ordered = [0; UNIT];
    for (at, four) in unit.as_chunks::<4>().0.iter().enumerate() {
        for (integers, integer) in ordered.as_chunks_mut::<8>().0.iter_mut().zip(four) {
            if let Some(place) = integers.get_mut(at) {
                *place = *integer;
            }
        }
    }
    ordered
}

/// Tells `write` of each line of integers Σ wᵢ·xᵢ.
pub fn rows(grouped: Grouped, lines: &[u32], x: &Fixed, write: impl FnMut(usize, f32)) {
    match grouped.integers {
        Integers::Int4 => each(grouped, lines, x, I16x8::of_nibbles, write),
        Integers::Int8 => each(grouped, lines, x, bytes, write),
    }
}

/// One line after the other: memory gives a single stream at up to twice the speed of two.
#[inline(always)]
fn each<const WORDS: usize>(
    grouped: Grouped,
    lines: &[u32],
    x: &Fixed,
    unpack: impl Fn(&[u32; WORDS]) -> [I16x8; 4] + Copy,
    mut write: impl FnMut(usize, f32),
) {
    let (span, middle) = (span(grouped), grouped.integers.middle() as f32);
    let (words, spans) = (span / grouped.integers.a_word(), grouped.group / span);
    for (row, line) in lines.chunks_exact(grouped.line().max(1)).enumerate() {
        let Line { integers, scales, zeros } = Line::of(grouped, line);
        let of_x = x.integers.chunks_exact(span).zip(&x.scales);
        let mut of_spans = integers.chunks_exact(words).zip(of_x);
        let (mut sum, mut shift) = (F32x4::splat(0.0), 0.0);
        for (group, (scale, of_x)) in scales.iter().zip(&x.sums).enumerate() {
            let scale = f32::from_bits(*scale);
            let mut of_group = F32x4::splat(0.0);
            for (words, (x, scale)) in of_spans.by_ref().take(spans) {
                of_group = of_group + products(words, x, unpack).to_f32() * F32x4::splat(*scale);
            }
            sum = sum + of_group * F32x4::splat(scale);
            shift += scale * zeros.get(group).map_or(middle, |zero| f32::from_bits(*zero)) * of_x;
        }
        write(row, sum.sum() - shift);
    }
}

/// Of a span. No sum leaves 32 bits: 128 products are of 255 times 32767 at most, in four lanes.
#[inline(always)]
fn products<const WORDS: usize>(words: &[u32], x: &[i16], unpack: impl Fn(&[u32; WORDS]) -> [I16x8; 4]) -> I32x4 {
    let mut sum = I32x4::splat(0);
    for (words, x) in words.as_chunks::<WORDS>().0.iter().zip(x.as_chunks::<UNIT>().0) {
        for (w, x) in unpack(words).into_iter().zip(x.as_chunks::<8>().0) {
            sum = sum.plus(w.dot(I16x8::load(x)));
        }
    }
    sum
}

/// The 32 integers of eight words.
#[inline(always)]
fn bytes(words: &[u32; 8]) -> [I16x8; 4] {
    let [a, b, c, d, e, f, g, h] = *words;
    let ([i, j], [k, l]) = (I16x8::of_bytes(&[a, b, c, d]), I16x8::of_bytes(&[e, f, g, h]));
    [i, j, k, l]
}

/// A row's words.
struct Line<'a> {
    integers: &'a [u32],
    scales: &'a [u32],
    zeros: &'a [u32],
}

impl Line<'_> {
    #[inline(always)]
    fn of(grouped: Grouped, line: &[u32]) -> Line<'_> {
        let (integers, rest) = line.split_at_checked(grouped.integer_words()).unwrap_or_default();
        let (scales, zeros) = rest.split_at_checked(grouped.groups()).unwrap_or_default();
        let zeros = if grouped.zeros { zeros } else { &[] };
        Line { integers, scales, zeros }
    }
}

/// Writes a line's elements to `out` as floats.
pub fn widen(grouped: Grouped, line: &[u32], out: &mut [f32]) {
    let Line { integers, scales, zeros } = Line::of(grouped, line);
    let words = (grouped.group / grouped.integers.a_word()).max(1);
    let groups = integers.chunks_exact(words).zip(out.chunks_exact_mut(grouped.group.max(1)));
    for (group, ((words, out), scale)) in groups.zip(scales).enumerate() {
        let scale = F32x4::splat(f32::from_bits(*scale));
        let zero = zeros.get(group).map_or(grouped.integers.middle() as f32, |zero| f32::from_bits(*zero));
        let zero = F32x4::splat(zero);
        let write = |out: &mut [[f32; 4]], eight: I16x8| {
            for (out, four) in out.iter_mut().zip(eight.to_f32()) {
                *out = ((four - zero) * scale).to_array();
            }
        };
        let eights = out.as_chunks_mut::<4>().0.chunks_exact_mut(2);
        let words = words.as_chunks::<4>().0.iter();
        match grouped.integers {
            Integers::Int4 => {
                words.flat_map(I16x8::of_nibbles_in_order).zip(eights).for_each(|(eight, out)| write(out, eight))
            }
            Integers::Int8 => words.flat_map(I16x8::of_bytes).zip(eights).for_each(|(eight, out)| write(out, eight)),
        }
    }
}

/// The line of the integers that are nearest to a row's elements, without its padding, as quanto makes it: where groups have zeros of
/// their own, a group's least element is 0 and its greatest the largest integer; else the middle is zero, and the greatest magnitude is
/// as far from it as an integer can be on both sides.
/// <https://github.com/huggingface/optimum-quanto>, `tensor/optimizers`, `library/quantize.py`
pub fn round(grouped: Grouped, row: &[f32]) -> Vec<u32> {
    let Grouped { integers, group, zeros, .. } = grouped;
    let (bits, middle) = (integers.bits(), integers.middle() as f32);
    let most = 2.0 * middle - 1.0;
    let mut line = Vec::with_capacity(grouped.line());
    let (mut scales, mut zeros_of) = (Vec::new(), Vec::new());
    for elements in row.chunks_exact(group.max(1)) {
        let (scale, shift, offset) = match zeros {
            true => {
                let least = elements.iter().copied().fold(f32::INFINITY, f32::min);
                let span = elements.iter().copied().fold(f32::NEG_INFINITY, f32::max) - least;
                // Where all are the same, they are one step from zero.
                (if span == 0.0 { least.abs() } else { span / most }, -least, 0.0)
            }
            false => (elements.iter().fold(0.0f32, |most, x| most.max(x.abs())) / (middle - 1.0), 0.0, middle),
        };
        let steps = |x: f32| if scale == 0.0 { 0.0 } else { x / scale };
        let integer = |x: &f32| (steps(x + shift).round_ties_even() + offset).clamp(0.0, most) as u32;
        let words = elements.chunks_exact(integers.a_word());
        line.extend(words.map(|word| word.iter().rev().fold(0, |word, x| word << bits | integer(x))));
        scales.push(scale.to_bits());
        zeros_of.push(steps(shift).to_bits());
    }
    line.extend(scales);
    if zeros {
        line.extend(zeros_of);
    }
    line
}
