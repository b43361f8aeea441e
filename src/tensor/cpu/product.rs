//! `y = x·Wᵀ`, where the time goes: of one row of x, which is as fast as memory gives the weights, and of many rows, which
//! is as fast as registers are used.

use super::lanes::{F32x4, HALF_SCALE};
use super::matrix::{Elements, Matrix};
use super::{CpuError, resize};

/// Rows of the weight that are taken at a time.
const ROWS: usize = 4;
/// Rows of x that are multiplied with them at a time: with four rows of the weight they fill the sixteen registers.
const TOKENS: usize = 3;
/// Rows of x that stay in the second-level cache while the whole weight passes.
const TOKEN_BLOCK: usize = 48;

/// Float16 that were not brought to scale are 2⁻¹¹² of themselves; half of what they lack is put into x, so that neither
/// the factors nor the products leave the range of float32.
const SCALE: f32 = f32::from_bits((127 + 56) << 23);
const _: () = assert!(SCALE * SCALE * HALF_SCALE == 1.0);

/// What becomes of a product.
#[derive(Clone, Copy, Default)]
pub struct Outcome<'a> {
    /// Added to each row.
    pub bias: Option<&'a [f32]>,
    /// Whether it is added to what y has.
    pub add: bool,
}

/// Memory that products use again and again.
#[derive(Default)]
pub struct Scratch {
    /// A row of x in the order in which halves are unpacked, or rows of the weight as floats.
    floats: Vec<f32>,
}

/// Writes x·Wᵀ to y, whose rows are `y_stride` long. What lies behind x's columns must be zero.
///
/// # Errors
/// [`CpuError::OutOfMemory`] for the scratch.
pub fn product(
    w: &Matrix,
    x: &[f32],
    y: &mut [f32],
    y_stride: usize,
    outcome: Outcome<'_>,
    scratch: &mut Scratch,
) -> Result<(), CpuError> {
    if x.len() == w.stride {
        return vector_product(w, x, y, outcome, scratch);
    }
    resize(&mut scratch.floats, ROWS * w.stride, "a product")?;
    let (x_block, y_block) = ((TOKEN_BLOCK * w.stride).max(1), (TOKEN_BLOCK * y_stride).max(1));
    for (x, y) in x.chunks(x_block).zip(y.chunks_mut(y_block)) {
        for first in (0..w.rows).step_by(ROWS) {
            let rows = ROWS.min(w.rows - first);
            for (row, floats) in (first..first + rows).zip(scratch.floats.chunks_mut(w.stride.max(1))) {
                w.widen(row, floats);
            }
            tiles(&scratch.floats, w.stride, x, |token, sums| {
                let to = y.get_mut(token * y_stride + first..).unwrap_or_default();
                outcome.write(first, to, sums.get(..rows).unwrap_or_default());
            });
        }
    }
    Ok(())
}

impl Outcome<'_> {
    /// Writes sums of the rows from `first` on.
    #[inline(always)]
    fn write(&self, first: usize, y: &mut [f32], sums: &[f32]) {
        let bias = self.bias.and_then(|bias| bias.get(first..)).unwrap_or_default();
        let bias = bias.iter().copied().chain(std::iter::repeat(0.0));
        for ((y, sum), bias) in y.iter_mut().zip(sums).zip(bias) {
            *y = if self.add { *y + sum + bias } else { sum + bias };
        }
    }
}

/// Multiplies [`ROWS`] rows of a weight with every row of x, and tells `write` of each row of x its sums.
fn tiles(w: &[f32], stride: usize, x: &[f32], mut write: impl FnMut(usize, [f32; ROWS])) {
    let of = |i: usize| w.get(i * stride..(i + 1) * stride).unwrap_or_default().as_chunks::<4>().0;
    let (w0, w1, w2, w3) = (of(0), of(1), of(2), of(3));
    let tokens = x.len() / stride.max(1);
    let of = |token: usize| {
        let at = token.min(tokens.saturating_sub(1)) * stride;
        x.get(at..at + stride).unwrap_or_default().as_chunks::<4>().0
    };
    for token in (0..tokens).step_by(TOKENS) {
        let mut sums = [[F32x4::splat(0.0); ROWS]; TOKENS];
        let [s0, s1, s2] = &mut sums;
        let x = of(token).iter().zip(of(token + 1)).zip(of(token + 2));
        for (((x0, x1), x2), (((w0, w1), w2), w3)) in x.zip(w0.iter().zip(w1).zip(w2).zip(w3)) {
            let x = [F32x4::load(x0), F32x4::load(x1), F32x4::load(x2)];
            let w = [F32x4::load(w0), F32x4::load(w1), F32x4::load(w2), F32x4::load(w3)];
            *s0 = add_products(*s0, x[0], w);
            *s1 = add_products(*s1, x[1], w);
            *s2 = add_products(*s2, x[2], w);
        }
        for (token, sums) in (token..tokens).zip(sums) {
            write(token, sums.map(F32x4::sum));
        }
    }
}

#[inline(always)]
fn add_products(sums: [F32x4; ROWS], x: F32x4, [a, b, c, d]: [F32x4; ROWS]) -> [F32x4; ROWS] {
    let [sa, sb, sc, sd] = sums;
    [sa + a * x, sb + b * x, sc + c * x, sd + d * x]
}

fn vector_product(
    w: &Matrix,
    x: &[f32],
    y: &mut [f32],
    outcome: Outcome<'_>,
    scratch: &mut Scratch,
) -> Result<(), CpuError> {
    match &w.elements {
        Elements::F32(elements) => {
            let x = x.as_chunks::<4>().0;
            by_rows(w, elements.as_chunks::<4>().0, y, outcome, |rows| float_sums(rows, x));
        }
        Elements::F16(elements) => {
            let x = in_pairs(x, SCALE, &mut scratch.floats)?;
            let w_rows = elements.as_chunks::<8>().0;
            by_rows(w, w_rows, y, outcome, |rows| half_sums(rows, x, F32x4::pairs_of_f16).map(|sum| sum * SCALE));
        }
        Elements::Bf16(elements) => {
            let x = in_pairs(x, 1.0, &mut scratch.floats)?;
            by_rows(w, elements.as_chunks::<8>().0, y, outcome, |rows| half_sums(rows, x, F32x4::pairs_of_bf16));
        }
    }
    Ok(())
}

/// Calls `sums` for each [`ROWS`] rows of a weight; where fewer are left, the last one stands for those that lack.
#[inline(always)]
fn by_rows<const N: usize, T>(
    w: &Matrix,
    elements: &[[T; N]],
    y: &mut [f32],
    outcome: Outcome<'_>,
    sums: impl Fn([&[[T; N]]; ROWS]) -> [f32; ROWS],
) {
    let pitch = w.stride / N;
    let last = w.rows.saturating_sub(1);
    let row = |row: usize| elements.get(row.min(last) * pitch..(row.min(last) + 1) * pitch).unwrap_or_default();
    let y = y.get_mut(..w.rows).unwrap_or_default();
    for (first, y) in (0..w.rows).step_by(ROWS).zip(y.chunks_mut(ROWS)) {
        let sums = sums([row(first), row(first + 1), row(first + 2), row(first + 3)]);
        outcome.write(first, y, &sums);
    }
}

#[inline(always)]
fn float_sums([a, b, c, d]: [&[[f32; 4]]; ROWS], x: &[[f32; 4]]) -> [f32; ROWS] {
    let mut sums = [F32x4::splat(0.0); ROWS];
    for ((((x, a), b), c), d) in x.iter().zip(a).zip(b).zip(c).zip(d) {
        sums = add_products(sums, F32x4::load(x), [F32x4::load(a), F32x4::load(b), F32x4::load(c), F32x4::load(d)]);
    }
    sums.map(F32x4::sum)
}

#[inline(always)]
fn half_sums(
    [a, b, c, d]: [&[[u16; 8]]; ROWS],
    x: &[[f32; 8]],
    pairs: impl Fn(&[u16; 8]) -> [F32x4; 2],
) -> [f32; ROWS] {
    let mut even = [F32x4::splat(0.0); ROWS];
    let mut odd = even;
    for ((((x, a), b), c), d) in x.iter().zip(a).zip(b).zip(c).zip(d) {
        let [x0, x1, x2, x3, x4, x5, x6, x7] = *x;
        let (x_even, x_odd) = (F32x4::load(&[x0, x1, x2, x3]), F32x4::load(&[x4, x5, x6, x7]));
        let [[a, a_odd], [b, b_odd], [c, c_odd], [d, d_odd]] = [pairs(a), pairs(b), pairs(c), pairs(d)];
        even = add_products(even, x_even, [a, b, c, d]);
        odd = add_products(odd, x_odd, [a_odd, b_odd, c_odd, d_odd]);
    }
    let [[a, b, c, d], [a_odd, b_odd, c_odd, d_odd]] = [even, odd];
    [a + a_odd, b + b_odd, c + c_odd, d + d_odd].map(F32x4::sum)
}

/// x times `scale`, of each eight the even ones before the odd ones.
fn in_pairs<'a>(x: &[f32], scale: f32, out: &'a mut Vec<f32>) -> Result<&'a [[f32; 8]], CpuError> {
    resize(out, x.len(), "a product")?;
    for (out, [a, b, c, d, e, f, g, h]) in out.as_chunks_mut::<8>().0.iter_mut().zip(x.as_chunks::<8>().0) {
        *out = [a, c, e, g, b, d, f, h].map(|x| x * scale);
    }
    Ok(out.get(..x.len()).unwrap_or_default().as_chunks::<8>().0)
}
