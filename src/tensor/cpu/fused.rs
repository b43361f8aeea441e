//! The products' inner loops, of whichever kind there is: those with fused multiply-adds, where this instance was given them.

use std::cell::OnceCell;

use wasm_bindgen::prelude::wasm_bindgen;

use super::loops::{self, ROWS, TOKEN_BLOCK};

/// Rows of one call: their sums lie on the stack.
const SUMS: usize = 256;

#[wasm_bindgen]
extern "C" {
    /// What the wasm of `relaxed/` exports, in this instance's memory.
    pub type Fused;

    /// Sums of four rows with each of x.
    #[wasm_bindgen(method)]
    pub fn tiles(this: &Fused, w: *const f32, w_len: usize, stride: usize, x: *const f32, x_len: usize, sums: *mut f32);
}

thread_local! {
    static FUSED: OnceCell<Fused> = const { OnceCell::new() };
}

/// Uses these loops from now on.
pub fn use_fused(fused: Fused) {
    FUSED.with(|cell| drop(cell.set(fused)));
}

/// Whether there are such loops here.
pub fn is_fused() -> bool {
    FUSED.with(|cell| cell.get().is_some())
}

/// Does this by such loops, if there are some. Whether it was done.
fn with(run: impl FnOnce(&Fused)) -> bool {
    FUSED.with(|cell| cell.get().map(run).is_some())
}

/// Multiplies [`ROWS`] rows of a weight with every row of x, and tells `write` of each row of x its sums.
pub fn tiles(w: &[f32], stride: usize, x: &[f32], mut write: impl FnMut(usize, [f32; ROWS])) {
    if let Some(tokens) = x.len().checked_div(stride).filter(|tokens| *tokens <= TOKEN_BLOCK) {
        let mut sums = [[0.0; ROWS]; TOKEN_BLOCK];
        let to = sums.as_mut_ptr().cast();
        if with(|fused| fused.tiles(w.as_ptr(), w.len(), stride, x.as_ptr(), x.len(), to)) {
            return sums.into_iter().take(tokens).enumerate().for_each(|(token, sums)| write(token, sums));
        }
    }
    loops::tiles(w, stride, x, write);
}

macro_rules! rows {
    ($(#[$doc:meta])* $name:ident, $element:ty) => {
        #[wasm_bindgen]
        extern "C" {
            /// Sums of rows with x.
            #[wasm_bindgen(method)]
            pub fn $name(
                this: &Fused,
                w: *const $element,
                w_len: usize,
                stride: usize,
                x: *const f32,
                x_len: usize,
                sums: *mut f32,
            );
        }

        $(#[$doc])*
        pub fn $name(w: &[$element], stride: usize, x: &[f32], mut write: impl FnMut(usize, f32)) {
                        if is_fused() {
                let chunk = (SUMS * stride).max(1);
                for (nth, w) in w.chunks(chunk).enumerate() {
                    let mut sums = [0.0; SUMS];
                    let to = sums.as_mut_ptr();
                    with(|fused| fused.$name(w.as_ptr(), w.len(), stride, x.as_ptr(), x.len(), to));
                    let rows = w.len().checked_div(stride).unwrap_or(0);
                    sums.into_iter().take(rows).enumerate().for_each(|(row, sum)| write(nth * SUMS + row, sum));
                }
                return;
            }
            loops::$name(w, stride, x, write);
        }
    };
}

rows!(
    /// Tells `write` of each row of a weight Σ wᵢ·xᵢ.
    float_rows,
    f32
);
rows!(
    /// The same of float16; x has each eight's even ones before the odd ones, times [`SCALE`](loops::SCALE).
    f16_rows,
    u16
);
rows!(
    /// The same of bfloat16; x has each eight's even ones before the odd ones.
    bf16_rows,
    u16
);
