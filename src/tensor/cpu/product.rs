//! `y = x·Wᵀ`, where the time goes: of one row of x, which is as fast as memory gives the weights, and of many rows, which
//! is as fast as registers are used.

#[cfg(target_arch = "wasm32")]
use super::fused as loops;
use super::grouped::{self, Fixed};
#[cfg(not(target_arch = "wasm32"))]
use super::loops;
use super::loops::{ROWS, SCALE, TOKEN_BLOCK};
use super::matrix::{Elements, Matrix};
use super::{CpuError, resize};

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
    /// A row of x as integers.
    fixed: Fixed,
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
            loops::tiles(&scratch.floats, w.stride, x, |token, sums| {
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
    match &w.elements {
        Elements::F32(elements) => loops::float_rows(elements, w.stride, x, &mut write),
        Elements::F16(elements) => {
            let x = in_pairs(x, SCALE, &mut scratch.floats)?;
            loops::f16_rows(elements, w.stride, x, &mut write);
        }
        Elements::Bf16(elements) => {
            let x = in_pairs(x, 1.0, &mut scratch.floats)?;
            loops::bf16_rows(elements, w.stride, x, &mut write);
        }
        Elements::Grouped(grouped, lines) => {
            scratch.fixed.set(*grouped, x)?;
            grouped::rows(*grouped, lines, &scratch.fixed, &mut write);
        }
    }
    Ok(())
}

/// x times `scale`, of each eight the even ones before the odd ones.
fn in_pairs<'a>(x: &[f32], scale: f32, out: &'a mut Vec<f32>) -> Result<&'a [f32], CpuError> {
    resize(out, x.len(), "a product")?;
    for (out, [a, b, c, d, e, f, g, h]) in out.as_chunks_mut::<8>().0.iter_mut().zip(x.as_chunks::<8>().0) {
        *out = [a, c, e, g, b, d, f, h].map(|x| x * scale);
    }
    Ok(out)
}
