//! The inner loops of products on the CPU with relaxed-simd, whose fused multiply-add most machines have: a file of its own, which
//! works in the engine's memory. So it has neither a stack nor data there; `cargo xtask build` checks that.
#![cfg(target_arch = "wasm32")]
#![no_std]

// The engine uses more of them.
#[allow(dead_code)]
#[path = "../../src/tensor/cpu/lanes.rs"]
mod lanes;
#[allow(dead_code)]
#[path = "../../src/tensor/cpu/loops.rs"]
mod loops;

use core::slice::from_raw_parts;

/// Multiplies four rows of a weight with every row of x. Writes four sums for each of those.
///
/// # Safety
/// `w` and `x` have so many elements, and `sums` has room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tiles(
    w: *const f32,
    w_len: usize,
    stride: usize,
    x: *const f32,
    x_len: usize,
    sums: *mut [f32; loops::ROWS],
) {
    // SAFETY: as the caller says.
    let (w, x) = unsafe { (from_raw_parts(w, w_len), from_raw_parts(x, x_len)) };
    // SAFETY: there is room for as many as x has rows.
    loops::tiles(w, stride, x, |token, four| unsafe { sums.add(token).write(four) });
}

macro_rules! rows {
    ($name:ident, $element:ty) => {
        /// Multiplies each row of a weight with x. Writes a sum for each.
        ///
        /// # Safety
        /// `w` and `x` have so many elements, and `sums` has room.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(
            w: *const $element,
            w_len: usize,
            stride: usize,
            x: *const f32,
            x_len: usize,
            sums: *mut f32,
        ) {
            // SAFETY: as the caller says.
            let (w, x) = unsafe { (from_raw_parts(w, w_len), from_raw_parts(x, x_len)) };
            // SAFETY: there is room for as many as there are rows.
            loops::$name(w, stride, x, |row, sum| unsafe { sums.add(row).write(sum) });
        }
    };
}

rows!(float_rows, f32);
rows!(f16_rows, u16);
rows!(bf16_rows, u16);

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}
