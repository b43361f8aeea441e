//! Matrices of integers with scales, on the CPU.
//!
//! One row of x is multiplied as integers too: sixteen bits for each element, with a scale for each [`Grouped::UNIT`] of them, so that
//! an element is off by a 65534th of the unit's largest at most, where a float16 is off by a 2048th of itself. Products of integers are summed
//! exactly, eight at a time. Many rows of x are multiplied with rows that are made floats.

use super::lanes::{F32x4, I16x8, I32x4};
use super::{CpuError, resize};
use crate::tensor::{Grouped, Integers};

const UNIT: usize = Grouped::UNIT;

/// A row of x as integers.
#[derive(Default)]
pub struct Fixed {
    integers: Vec<i16>,
    units: Vec<Unit>,
}

/// Of so many elements of x.
#[derive(Clone, Copy, Default)]
struct Unit {
    /// What one stands for.
    scale: f32,
    /// Their sums, each of those that one lane multiplies.
    sums: [i32; 4],
}

impl Fixed {
    /// Makes it of x, a whole number of units.
    ///
    /// # Errors
    /// [`CpuError::OutOfMemory`]
    pub fn set(&mut self, x: &[f32]) -> Result<(), CpuError> {
        let (units, _) = x.as_chunks::<UNIT>();
        resize(&mut self.integers, units.len() * UNIT, "a product")?;
        resize(&mut self.units, units.len(), "a product")?;
        let integers = self.integers.as_chunks_mut::<UNIT>().0;
        for ((x, integers), unit) in units.iter().zip(integers).zip(&mut self.units) {
            *unit = set(x, integers);
        }
        Ok(())
    }
}

fn set(x: &[f32; UNIT], integers: &mut [i16; UNIT]) -> Unit {
    const LARGEST: f32 = 32767.0;
    let most = x.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    // A NaN is no maximum, and an infinity no scale: what comes of either is a NaN.
    let is_finite = x.iter().all(|x| x.is_finite());
    let scale = if is_finite { most / LARGEST } else { f32::NAN };
    // Where all are next to nothing, or nothing, they count as that.
    let factor = if most / LARGEST >= f32::MIN_POSITIVE { LARGEST / most } else { 0.0 };
    for (integer, x) in integers.iter_mut().zip(x) {
        *integer = (x * factor).round_ties_even() as i16;
    }
    let mut sums = [0; 4];
    for eight in integers.as_chunks::<8>().0 {
        for (sum, [a, b]) in sums.iter_mut().zip(eight.as_chunks::<2>().0) {
            *sum += i32::from(*a) + i32::from(*b);
        }
    }
    Unit { scale, sums }
}

/// Tells `write` of each line of integers Σ wᵢ·xᵢ.
pub fn rows(grouped: Grouped, lines: &[u32], x: &Fixed, write: impl FnMut(usize, f32)) {
    match grouped.integers {
        Integers::Int4 => each(grouped, lines, x, nibbles, write),
        Integers::Int8 => each(grouped, lines, x, bytes, write),
    }
}

#[inline(always)]
fn each<const WORDS: usize>(
    grouped: Grouped,
    lines: &[u32],
    x: &Fixed,
    unit: impl Fn(&[u32; WORDS], &[i16; UNIT]) -> I32x4,
    mut write: impl FnMut(usize, f32),
) {
    let (together, middle) = (grouped.group / UNIT, I32x4::splat(grouped.integers.middle() as i32));
    for (row, line) in lines.chunks_exact(grouped.line().max(1)).enumerate() {
        let Line { integers, scales, zeros } = Line::of(grouped, line);
        let mut units = integers.as_chunks::<WORDS>().0.iter().zip(x.integers.as_chunks::<UNIT>().0).zip(&x.units);
        let mut sum = F32x4::splat(0.0);
        for (group, scale) in scales.iter().enumerate() {
            let mut of_group = F32x4::splat(0.0);
            for ((words, integers), x) in units.by_ref().take(together) {
                let (products, sums) = (unit(words, integers), I32x4::load(&x.sums));
                let products = match zeros.get(group) {
                    None => products.less_product(middle, sums).to_f32(),
                    Some(zero) => products.to_f32() - F32x4::splat(f32::from_bits(*zero)) * sums.to_f32(),
                };
                of_group = of_group + products * F32x4::splat(x.scale);
            }
            sum = sum + of_group * F32x4::splat(f32::from_bits(*scale));
        }
        write(row, sum.sum());
    }
}

#[inline(always)]
fn nibbles(words: &[u32; 4], x: &[i16; UNIT]) -> I32x4 {
    dot(I16x8::of_nibbles(words), x)
}

#[inline(always)]
fn bytes(words: &[u32; 8], x: &[i16; UNIT]) -> I32x4 {
    let [a, b, c, d, e, f, g, h] = *words;
    let ([i, j], [k, l]) = (I16x8::of_bytes(&[a, b, c, d]), I16x8::of_bytes(&[e, f, g, h]));
    dot([i, j, k, l], x)
}

#[inline(always)]
fn dot(w: [I16x8; 4], x: &[i16; UNIT]) -> I32x4 {
    let mut sum = I32x4::splat(0);
    for (w, x) in w.into_iter().zip(x.as_chunks::<8>().0) {
        sum = sum.plus(w.dot(I16x8::load(x)));
    }
    sum
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
            Integers::Int4 => words.flat_map(I16x8::of_nibbles).zip(eights).for_each(|(eight, out)| write(out, eight)),
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
