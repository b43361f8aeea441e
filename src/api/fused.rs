//! Faster loops for products on the CPU, where the browser has what they are compiled for.

use wasm_bindgen::prelude::*;

use crate::tensor::cpu::{self, Fused};

/// Computes by the loops that `relaxed/` exports, instantiated in this instance's memory, from now on.
#[wasm_bindgen]
pub fn use_fused(loops: Fused) {
    cpu::use_fused(loops);
}
