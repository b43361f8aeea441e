//! Gated convolutions over a few tokens, whose products lie in a layer's cache.

use super::CpuError;
use super::attention::{Cache, keep};
use super::lanes::F32x4;
use super::matrix::widen;
use super::resize;

/// What is convolved.
#[derive(Clone, Copy)]
pub struct Taps<'a> {
    /// `[channels][taps]`, a token's own last.
    pub weight: &'a [f32],
    /// How many there are.
    pub count: usize,
    /// Of each channel; or there is none.
    pub bias: &'a [f32],
}

/// Memory that convolutions use again and again.
#[derive(Default)]
pub struct Scratch {
    products: Vec<f32>,
    sums: Vec<f32>,
}

/// Writes each token's convolved row to `y`, rows of `y_stride`; `bcx` has rows of `stride`, `[b | c | x]`. The first token is at
/// `position`; the products b · x of all tokens go into the cache, as many of a position as `width`.
///
/// # Errors
/// [`CpuError`] where the cache has no room for the tokens, or there is none for what is widened.
pub fn convolve(
    taps: Taps<'_>,
    cache: &mut Cache,
    width: usize,
    (tokens, position): (usize, usize),
    (bcx, stride): (&[f32], usize),
    (y, y_stride): (&mut [f32], usize),
    Scratch { products, sums }: &mut Scratch,
) -> Result<(), CpuError> {
    let half = width / 2;
    let positions = position + tokens;
    if half == 0 || cache.keys.len() < positions * half || cache.values.len() < positions * half {
        return Err(CpuError::refused(format!("a convolution of {positions} positions of {width} channels")));
    }
    resize(products, width, "a convolution")?;
    resize(sums, width, "a convolution")?;
    let rows = bcx.chunks_exact(stride.max(1)).zip(y.chunks_exact_mut(y_stride.max(1))).take(tokens);
    for (token, (row, y)) in rows.enumerate() {
        let (b, rest) = row.split_at(width.min(row.len()));
        let (c, x) = rest.split_at(width.min(rest.len()));
        products.iter_mut().zip(b.iter().zip(x)).for_each(|(product, (b, x))| *product = b * x);
        let lines = (position + token) * half..(position + token + 1) * half;
        let (first, second) = products.split_at(half);
        keep(first, cache.keys.get_mut(lines.clone()).unwrap_or_default());
        keep(second, cache.values.get_mut(lines).unwrap_or_default());
        sums.fill(0.0);
        sums.iter_mut().zip(taps.bias).for_each(|(sum, bias)| *sum = *bias);
        for back in 0..taps.count.min(position + token + 1) {
            let at = position + token - back;
            for (to, from) in products.chunks_exact_mut(half).zip([&cache.keys, &cache.values]) {
                widen(from.get(at * half..(at + 1) * half).unwrap_or_default(), to, F32x4::from_f16);
            }
            let tap = taps.weight.iter().skip(taps.count - 1 - back).step_by(taps.count);
            sums.iter_mut().zip(products.iter().zip(tap)).for_each(|(sum, (product, tap))| *sum += product * tap);
        }
        y.iter_mut().zip(c.iter().zip(&*sums)).for_each(|(y, (c, sum))| *y = c * sum);
    }
    Ok(())
}
