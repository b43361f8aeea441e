//! The products' inner loops. They are compiled twice: into the engine, and with relaxed-simd into a file of a few kilobytes
//! (`relaxed/`), which works in the engine's memory where a browser has that.

use super::lanes::{F32x4, HALF_SCALE, dot};

/// Rows of the weight that are taken at a time.
pub const ROWS: usize = 4;
/// Rows of x that are multiplied with them at a time: eight sums, which V8 keeps in registers. With twelve it spills some, and
/// reaches two thirds of the speed.
const TOKENS: usize = 2;
/// Rows of x that stay in the second-level cache while the whole weight passes.
pub const TOKEN_BLOCK: usize = 48;

/// Float16 that were not brought to scale are 2⁻¹¹² of themselves; half of what they lack is put into x, so that neither
/// the factors nor the products leave the range of float32.
pub const SCALE: f32 = f32::from_bits((127 + 56) << 23);
const _: () = assert!(SCALE * SCALE * HALF_SCALE == 1.0);

/// Multiplies [`ROWS`] rows of a weight with every row of x, and tells `write` of each row of x its sums.
#[inline(always)]
pub fn tiles(w: &[f32], stride: usize, x: &[f32], mut write: impl FnMut(usize, [f32; ROWS])) {
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
    [sa.add_product(a, x), sb.add_product(b, x), sc.add_product(c, x), sd.add_product(d, x)]
}

/// Σ wᵢ·xᵢ of each row. One row after the other: memory gives a single stream at up to three times the speed of four.
#[inline(always)]
pub fn float_rows(rows: &[f32], stride: usize, x: &[f32], mut write: impl FnMut(usize, f32)) {
    rows.chunks_exact(stride.max(1)).enumerate().for_each(|(at, row)| write(at, float_sum(row, x)));
}

/// The same of float16; x has each eight's even ones before the odd ones, times [`SCALE`].
#[inline(always)]
pub fn f16_rows(rows: &[u16], stride: usize, x: &[f32], mut write: impl FnMut(usize, f32)) {
    let sum = |row: &[u16]| half_sum(row, x, F32x4::pairs_of_f16) * SCALE;
    rows.chunks_exact(stride.max(1)).enumerate().for_each(|(at, row)| write(at, sum(row)));
}

/// The same of bfloat16; x has each eight's even ones before the odd ones.
#[inline(always)]
pub fn bf16_rows(rows: &[u16], stride: usize, x: &[f32], mut write: impl FnMut(usize, f32)) {
    let sum = |row: &[u16]| half_sum(row, x, F32x4::pairs_of_bf16);
    rows.chunks_exact(stride.max(1)).enumerate().for_each(|(at, row)| write(at, sum(row)));
}

/// Σ wᵢ·xᵢ, in four sums that don't wait for each other.
#[inline(always)]
fn float_sum(row: &[f32], x: &[f32]) -> f32 {
    let ((row, rest), (x, x_rest)) = (row.as_chunks::<16>(), x.as_chunks::<16>());
    let mut sums = [F32x4::splat(0.0); 4];
    for (row, x) in row.iter().zip(x) {
        let ([a, b, c, d], [xa, xb, xc, xd]) = (quads(row), quads(x));
        let [sa, sb, sc, sd] = sums;
        sums = [sa.add_product(a, xa), sb.add_product(b, xb), sc.add_product(c, xc), sd.add_product(d, xd)];
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
        sums = [sa.add_product(a, xa), sb.add_product(b, xb), sc.add_product(c, xc), sd.add_product(d, xd)];
    }
    let [mut a, mut b, c, d] = sums;
    // A row is a whole number of eights.
    if let (Some(row), Some(x)) = (rest.first_chunk(), x_rest.first_chunk::<8>()) {
        let ([even, odd], [x0, x1, x2, x3, x4, x5, x6, x7]) = (pairs(row), *x);
        a = a.add_product(even, F32x4::load(&[x0, x1, x2, x3]));
        b = b.add_product(odd, F32x4::load(&[x4, x5, x6, x7]));
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
