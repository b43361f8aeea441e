//! `y = x·Wᵀ`, where the time goes: of one row of x, which is as fast as memory gives the weights, and of many rows, which
//! is as fast as registers are used.

use super::lanes::{F32x4, HALF_SCALE, dot};
use super::matrix::{Elements, Matrix};
use super::{CpuError, resize};

/// Rows of the weight that are taken at a time.
const ROWS: usize = 4;
/// Rows of x that are multiplied with them at a time: eight sums, which V8 keeps in registers. With twelve it spills some, and
/// reaches two thirds of the speed.
const TOKENS: usize = 2;
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
    /// Sums of others.
    sums: Vec<f32>,
}

/// Writes x·Wᵀ to y, whose rows are `y_stride` long. What lies behind x's columns must be zero.
///
/// # Errors
/// [`CpuError::OutOfMemory`] for the scratch; what others have run into who have rows of W.
pub fn product(
    w: &Matrix,
    x: &[f32],
    y: &mut [f32],
    y_stride: usize,
    outcome: Outcome<'_>,
    scratch: &mut Scratch,
) -> Result<(), CpuError> {
    let Some(rest) = &w.rest else { return own_product(w, x, y, y_stride, outcome, scratch) };
    let most = rest.most_tokens(w.stride).min(TOKEN_BLOCK);
    let mut sums = std::mem::take(&mut scratch.sums);
    let mut done = Ok(());
    let blocks = x.chunks((most * w.stride).max(1)).zip(y.chunks_mut((most * y_stride).max(1)));
    for (x, y) in blocks {
        let tokens = x.len() / w.stride.max(1);
        // Both write to y: its own rows first.
        let y = std::cell::RefCell::new(y);
        let own = || own_product(w, x, &mut y.borrow_mut(), y_stride, outcome, scratch);
        done = done.and(rest.multiply(x, &mut sums, tokens, own, |rows, sums| {
            let mut y = y.borrow_mut();
            for (token, sums) in sums.chunks_exact(rows.len().max(1)).enumerate() {
                let to = y.get_mut(token * y_stride + rows.start..).unwrap_or_default();
                outcome.write(rows.start, to, sums);
            }
        }));
    }
    scratch.sums = sums;
    done
}

/// The same with the rows of W that are here.
fn own_product(
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
        for first in (0..w.own).step_by(ROWS) {
            let rows = ROWS.min(w.own - first);
            for (row, floats) in (first..first + rows).zip(scratch.floats.chunks_mut(w.stride.max(1))) {
                w.widen_own(row, floats);
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
        let [s0, s1] = &mut sums;
        let x = of(token).iter().zip(of(token + 1));
        for ((x0, x1), (((w0, w1), w2), w3)) in x.zip(w0.iter().zip(w1).zip(w2).zip(w3)) {
            let w = [F32x4::load(w0), F32x4::load(w1), F32x4::load(w2), F32x4::load(w3)];
            *s0 = add_products(*s0, F32x4::load(x0), w);
            *s1 = add_products(*s1, F32x4::load(x1), w);
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

/// One row of the weight after the other: memory gives a single stream at up to three times the speed of four.
fn vector_product(
    w: &Matrix,
    x: &[f32],
    y: &mut [f32],
    outcome: Outcome<'_>,
    scratch: &mut Scratch,
) -> Result<(), CpuError> {
    let mut write = |row: usize, sum: f32| {
        outcome.write(row, y.get_mut(row..).unwrap_or_default(), &[sum]);
    };
    let stride = w.stride.max(1);
    match &w.elements {
        Elements::F32(elements) => {
            let rows = elements.chunks_exact(stride).enumerate();
            rows.for_each(|(at, row)| write(at, float_sum(row, x)));
        }
        Elements::F16(elements) => {
            let x = in_pairs(x, SCALE, &mut scratch.floats)?;
            let rows = elements.chunks_exact(stride).enumerate();
            rows.for_each(|(at, row)| write(at, half_sum(row, x, F32x4::pairs_of_f16) * SCALE));
        }
        Elements::Bf16(elements) => {
            let x = in_pairs(x, 1.0, &mut scratch.floats)?;
            let rows = elements.chunks_exact(stride).enumerate();
            rows.for_each(|(at, row)| write(at, half_sum(row, x, F32x4::pairs_of_bf16)));
        }
    }
    Ok(())
}

/// Σ wᵢ·xᵢ, in four sums that don't wait for each other.
#[inline(always)]
fn float_sum(row: &[f32], x: &[f32]) -> f32 {
    let ((row, rest), (x, x_rest)) = (row.as_chunks::<16>(), x.as_chunks::<16>());
    let mut sums = [F32x4::splat(0.0); 4];
    for (row, x) in row.iter().zip(x) {
        let ([a, b, c, d], [xa, xb, xc, xd]) = (quads(row), quads(x));
        let [sa, sb, sc, sd] = sums;
        sums = [sa + a * xa, sb + b * xb, sc + c * xc, sd + d * xd];
    }
    let [a, b, c, d] = sums;
    ((a + b) + (c + d)).sum() + dot(rest, x_rest)
}

/// The same of halves, of which x has each eight's even ones before the odd ones.
#[inline(always)]
fn half_sum(row: &[u16], x: &[f32], pairs: impl Fn(&[u16; 8]) -> [F32x4; 2]) -> f32 {
    let ((row, rest), (x, x_rest)) = (row.as_chunks::<16>(), x.as_chunks::<16>());
    let mut sums = [F32x4::splat(0.0); 4];
    for (row, x) in row.iter().zip(x) {
        let ([[a, b], [c, d]], [xa, xb, xc, xd]) = (eights(row).map(|eight| pairs(&eight)), quads(x));
        let [sa, sb, sc, sd] = sums;
        sums = [sa + a * xa, sb + b * xb, sc + c * xc, sd + d * xd];
    }
    let [mut a, mut b, c, d] = sums;
    // A row is a whole number of eights.
    if let (Some(row), Some(x)) = (rest.first_chunk(), x_rest.first_chunk::<8>()) {
        let ([even, odd], [x0, x1, x2, x3, x4, x5, x6, x7]) = (pairs(row), *x);
        a = a + even * F32x4::load(&[x0, x1, x2, x3]);
        b = b + odd * F32x4::load(&[x4, x5, x6, x7]);
    }
    ((a + b) + (c + d)).sum()
}

#[inline(always)]
fn quads(values: &[f32; 16]) -> [F32x4; 4] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *values;
    [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]].map(|quad| F32x4::load(&quad))
}

#[inline(always)]
fn eights(halves: &[u16; 16]) -> [[u16; 8]; 2] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *halves;
    [[a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p]]
}

/// x times `scale`, of each eight the even ones before the odd ones.
fn in_pairs<'a>(x: &[f32], scale: f32, out: &'a mut Vec<f32>) -> Result<&'a [f32], CpuError> {
    resize(out, x.len(), "a product")?;
    for (out, [a, b, c, d, e, f, g, h]) in out.as_chunks_mut::<8>().0.iter_mut().zip(x.as_chunks::<8>().0) {
        *out = [a, c, e, g, b, d, f, h].map(|x| x * scale);
    }
    Ok(out)
}
