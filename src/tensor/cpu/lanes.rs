//! Four floats at a time: wasm's simd128, and arrays elsewhere, which compilers turn into the same.

#[cfg(target_arch = "wasm32")]
use core::arch::wasm32 as w;

/// Four floats.
#[derive(Clone, Copy)]
#[cfg(target_arch = "wasm32")]
pub struct F32x4(w::v128);

/// Four floats.
#[derive(Clone, Copy)]
#[cfg(not(target_arch = "wasm32"))]
pub struct F32x4([f32; 4]);

/// A half's bits, moved to where a float has them, are the half times this much: what widens halves multiplies by it,
/// or leaves that to its caller.
pub const HALF_SCALE: f32 = f32::from_bits((127 - 112) << 23);

/// The sign, exponent and mantissa of a half that has been shifted right by three from a word's top.
const HALF_BITS: u32 = 0x8fff_e000;

#[cfg(target_arch = "wasm32")]
#[inline(always)]
fn read<T, const N: usize>(values: &[T; N]) -> w::v128 {
    const { assert!(size_of::<T>() * N == 16) };
    // SAFETY: the array has 16 bytes, any bits are a v128, and wasm loads from any alignment.
    unsafe { w::v128_load(values.as_ptr().cast()) }
}

#[cfg(target_arch = "wasm32")]
impl F32x4 {
    #[inline(always)]
    pub fn splat(value: f32) -> F32x4 {
        F32x4(w::f32x4_splat(value))
    }

    #[inline(always)]
    pub fn load(values: &[f32; 4]) -> F32x4 {
        F32x4(read(values))
    }

    #[inline(always)]
    pub fn to_array(self) -> [f32; 4] {
        let v = self.0;
        [
            w::f32x4_extract_lane::<0>(v),
            w::f32x4_extract_lane::<1>(v),
            w::f32x4_extract_lane::<2>(v),
            w::f32x4_extract_lane::<3>(v),
        ]
    }

    /// Four bfloat16.
    #[inline(always)]
    pub fn from_bf16(bits: &[u16; 4]) -> F32x4 {
        F32x4(w::u32x4_shl(extend(bits), 16))
    }

    /// Four float16.
    #[inline(always)]
    pub fn from_f16(bits: &[u16; 4]) -> F32x4 {
        F32x4(half(w::u32x4_shl(extend(bits), 16))) * F32x4::splat(1.0 / HALF_SCALE)
    }

    /// The even and the odd ones of eight bfloat16.
    #[inline(always)]
    pub fn pairs_of_bf16(bits: &[u16; 8]) -> [F32x4; 2] {
        let words = read(bits);
        [F32x4(w::u32x4_shl(words, 16)), F32x4(w::v128_and(words, w::u32x4_splat(0xffff_0000)))]
    }

    /// The even and the odd ones of eight float16, times [`HALF_SCALE`].
    #[inline(always)]
    pub fn pairs_of_f16(bits: &[u16; 8]) -> [F32x4; 2] {
        let words = read(bits);
        [F32x4(half(w::u32x4_shl(words, 16))), F32x4(half(words))]
    }

    #[inline(always)]
    pub fn max(self, other: F32x4) -> F32x4 {
        F32x4(w::f32x4_pmax(self.0, other.0))
    }

    #[inline(always)]
    pub fn min(self, other: F32x4) -> F32x4 {
        F32x4(w::f32x4_pmin(self.0, other.0))
    }

    #[inline(always)]
    fn round(self) -> F32x4 {
        F32x4(w::f32x4_nearest(self.0))
    }

    /// Two to the power of these whole numbers, of -126 to 127.
    #[inline(always)]
    fn power_of_two(self) -> F32x4 {
        let exponent = w::i32x4_add(w::i32x4_trunc_sat_f32x4(self.0), w::i32x4_splat(127));
        F32x4(w::i32x4_shl(exponent, 23))
    }
}

#[cfg(target_arch = "wasm32")]
#[inline(always)]
fn extend(bits: &[u16; 4]) -> w::v128 {
    // SAFETY: the array has 8 bytes, and wasm loads from any alignment.
    unsafe { w::u32x4_load_extend_u16x4(bits.as_ptr()) }
}

#[cfg(target_arch = "wasm32")]
#[inline(always)]
fn half(words: w::v128) -> w::v128 {
    w::v128_and(w::i32x4_shr(words, 3), w::u32x4_splat(HALF_BITS))
}

#[cfg(not(target_arch = "wasm32"))]
impl F32x4 {
    pub fn splat(value: f32) -> F32x4 {
        F32x4([value; 4])
    }

    pub fn load(values: &[f32; 4]) -> F32x4 {
        F32x4(*values)
    }

    pub fn to_array(self) -> [f32; 4] {
        self.0
    }

    /// Four bfloat16.
    pub fn from_bf16(bits: &[u16; 4]) -> F32x4 {
        F32x4(bits.map(|bits| f32::from_bits(u32::from(bits) << 16)))
    }

    /// Four float16.
    pub fn from_f16(bits: &[u16; 4]) -> F32x4 {
        F32x4(bits.map(|bits| half(u32::from(bits) << 16) / HALF_SCALE))
    }

    /// The even and the odd ones of eight bfloat16.
    pub fn pairs_of_bf16(bits: &[u16; 8]) -> [F32x4; 2] {
        pairs(bits).map(|words| F32x4(words.map(f32::from_bits)))
    }

    /// The even and the odd ones of eight float16, times [`HALF_SCALE`].
    pub fn pairs_of_f16(bits: &[u16; 8]) -> [F32x4; 2] {
        pairs(bits).map(|words| F32x4(words.map(half)))
    }

    pub fn max(self, other: F32x4) -> F32x4 {
        self.zip(other, f32::max)
    }

    pub fn min(self, other: F32x4) -> F32x4 {
        self.zip(other, f32::min)
    }

    fn round(self) -> F32x4 {
        F32x4(self.0.map(f32::round_ties_even))
    }

    /// Two to the power of these whole numbers, of -126 to 127.
    fn power_of_two(self) -> F32x4 {
        F32x4(self.0.map(|n| f32::from_bits(((n as i32 + 127) as u32) << 23)))
    }

    fn zip(self, other: F32x4, f: impl Fn(f32, f32) -> f32) -> F32x4 {
        let ([a, b, c, d], [e, g, h, i]) = (self.0, other.0);
        F32x4([f(a, e), f(b, g), f(c, h), f(d, i)])
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn half(word: u32) -> f32 {
    f32::from_bits(((word as i32 >> 3) as u32) & HALF_BITS)
}

#[cfg(not(target_arch = "wasm32"))]
fn pairs(bits: &[u16; 8]) -> [[u32; 4]; 2] {
    let [a, b, c, d, e, f, g, h] = bits.map(|bits| u32::from(bits) << 16);
    [[a, c, e, g], [b, d, f, h]]
}

macro_rules! operator {
    ($name:ident, $method:ident, $wasm:ident, $op:tt) => {
        impl core::ops::$name for F32x4 {
            type Output = F32x4;

            #[inline(always)]
            fn $method(self, other: F32x4) -> F32x4 {
                #[cfg(target_arch = "wasm32")]
                return F32x4(w::$wasm(self.0, other.0));
                #[cfg(not(target_arch = "wasm32"))]
                self.zip(other, |a, b| a $op b)
            }
        }
    };
}

operator!(Add, add, f32x4_add, +);
operator!(Sub, sub, f32x4_sub, -);
operator!(Mul, mul, f32x4_mul, *);
operator!(Div, div, f32x4_div, /);

impl F32x4 {
    #[inline(always)]
    pub fn sum(self) -> f32 {
        let [a, b, c, d] = self.to_array();
        (a + b) + (c + d)
    }

    /// This and a·b, in one rounding where wasm has relaxed-simd and the machine a fused multiply-add.
    #[inline(always)]
    pub fn add_product(self, a: F32x4, b: F32x4) -> F32x4 {
        #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
        return F32x4(w::f32x4_relaxed_madd(a.0, b.0, self.0));
        #[cfg(not(all(target_arch = "wasm32", target_feature = "relaxed-simd")))]
        (self + a * b)
    }

    /// e to the power of each, within two units of the last place; below -87 it is 0 or next to it.
    #[inline(always)]
    pub fn exp(self) -> F32x4 {
        let one = |value| F32x4::splat(value);
        let x = self.max(one(-87.0)).min(one(88.0));
        let n = (x * one(core::f32::consts::LOG2_E)).round();
        // ln 2 in two parts, so that the rest is exact.
        let r = x - n * one(0.693_359_4) - n * one(-2.121_944_4e-4);
        let p = one(1.987_569_1e-4) * r + one(1.398_199_9e-3);
        let p = p * r + one(8.333_452e-3);
        let p = p * r + one(4.166_579_6e-2);
        let p = p * r + one(1.666_666_5e-1);
        let p = p * r + one(0.5);
        (p * r * r + r + one(1.0)) * n.power_of_two()
    }
}

/// Eight short integers.
#[derive(Clone, Copy)]
#[cfg(target_arch = "wasm32")]
pub struct I16x8(w::v128);

/// Eight short integers.
#[derive(Clone, Copy)]
#[cfg(not(target_arch = "wasm32"))]
pub struct I16x8([i16; 8]);

/// Four integers.
#[derive(Clone, Copy)]
#[cfg(target_arch = "wasm32")]
pub struct I32x4(w::v128);

/// Four integers.
#[derive(Clone, Copy)]
#[cfg(not(target_arch = "wasm32"))]
pub struct I32x4([i32; 4]);

#[cfg(target_arch = "wasm32")]
impl I16x8 {
    #[inline(always)]
    pub fn load(values: &[i16; 8]) -> I16x8 {
        I16x8(read(values))
    }

    /// The nearest integers, of floats within their range.
    #[inline(always)]
    pub fn nearest(first: F32x4, last: F32x4) -> I16x8 {
        let [first, last] = [first, last].map(|four| w::i32x4_trunc_sat_f32x4(four.round().0));
        I16x8(w::i16x8_narrow_i32x4(first, last))
    }

    #[inline(always)]
    pub fn to_array(self) -> [i16; 8] {
        let v = self.0;
        [
            w::i16x8_extract_lane::<0>(v),
            w::i16x8_extract_lane::<1>(v),
            w::i16x8_extract_lane::<2>(v),
            w::i16x8_extract_lane::<3>(v),
            w::i16x8_extract_lane::<4>(v),
            w::i16x8_extract_lane::<5>(v),
            w::i16x8_extract_lane::<6>(v),
            w::i16x8_extract_lane::<7>(v),
        ]
    }

    /// The 32 integers of four bits that words have: of each four the first ones, then the second ones, and so on.
    #[inline(always)]
    pub fn of_nibbles(words: &[u32; 4]) -> [I16x8; 4] {
        // Bytes can't be shifted by an instruction of x86's.
        let (fours, mask) = (read(words), w::u16x8_splat(15));
        let second = w::v128_and(w::u16x8_shr(fours, 4), mask);
        let third = w::v128_and(w::u16x8_shr(fours, 8), mask);
        [w::v128_and(fours, mask), second, third, w::u16x8_shr(fours, 12)].map(I16x8)
    }

    /// The same in their order.
    #[inline(always)]
    pub fn of_nibbles_in_order(words: &[u32; 4]) -> [I16x8; 4] {
        let bytes = read(words);
        let low = w::v128_and(bytes, w::u8x16_splat(15));
        let high = w::v128_and(w::u16x8_shr(bytes, 4), w::u8x16_splat(15));
        let first = w::i8x16_shuffle::<0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23>(low, high);
        let last = w::i8x16_shuffle::<8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31>(low, high);
        let ([a, b], [c, d]) = (halves(first), halves(last));
        [a, b, c, d]
    }

    /// The 16 integers of eight bits that words have, in their order.
    #[inline(always)]
    pub fn of_bytes(words: &[u32; 4]) -> [I16x8; 2] {
        halves(read(words))
    }

    /// Sums of two neighbours' products each.
    #[inline(always)]
    pub fn dot(self, other: I16x8) -> I32x4 {
        I32x4(w::i32x4_dot_i16x8(self.0, other.0))
    }

    /// As floats.
    #[inline(always)]
    pub fn to_f32(self) -> [F32x4; 2] {
        [w::i32x4_extend_low_i16x8(self.0), w::i32x4_extend_high_i16x8(self.0)].map(|four| I32x4(four).to_f32())
    }
}

#[cfg(target_arch = "wasm32")]
#[inline(always)]
fn halves(bytes: w::v128) -> [I16x8; 2] {
    [I16x8(w::u16x8_extend_low_u8x16(bytes)), I16x8(w::u16x8_extend_high_u8x16(bytes))]
}

#[cfg(target_arch = "wasm32")]
impl I32x4 {
    #[inline(always)]
    pub fn splat(value: i32) -> I32x4 {
        I32x4(w::i32x4_splat(value))
    }

    #[inline(always)]
    pub fn plus(self, other: I32x4) -> I32x4 {
        I32x4(w::i32x4_add(self.0, other.0))
    }

    /// As floats.
    #[inline(always)]
    pub fn to_f32(self) -> F32x4 {
        F32x4(w::f32x4_convert_i32x4(self.0))
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl I16x8 {
    pub fn load(values: &[i16; 8]) -> I16x8 {
        I16x8(*values)
    }

    /// The nearest integers, of floats within their range.
    pub fn nearest(first: F32x4, last: F32x4) -> I16x8 {
        let ([a, b, c, d], [e, f, g, h]) = (first.round().0, last.round().0);
        I16x8([a, b, c, d, e, f, g, h].map(|value| value as i16))
    }

    pub fn to_array(self) -> [i16; 8] {
        self.0
    }

    /// The 32 integers of four bits that words have: of each four the first ones, then the second ones, and so on.
    pub fn of_nibbles(words: &[u32; 4]) -> [I16x8; 4] {
        let [[a, b], [c, d], [e, f], [g, h]] = words.map(|word| [word as u16, (word >> 16) as u16]);
        let fours = [a, b, c, d, e, f, g, h];
        [0, 4, 8, 12].map(|at| I16x8(fours.map(|four| (four >> at & 15) as i16)))
    }

    /// The same in their order.
    pub fn of_nibbles_in_order(words: &[u32; 4]) -> [I16x8; 4] {
        words.map(|word| I16x8([0, 4, 8, 12, 16, 20, 24, 28].map(|at| (word >> at & 15) as i16)))
    }

    /// The 16 integers of eight bits that words have, in their order.
    pub fn of_bytes(words: &[u32; 4]) -> [I16x8; 2] {
        let [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]] =
            words.map(|word| word.to_le_bytes().map(i16::from));
        [I16x8([a, b, c, d, e, f, g, h]), I16x8([i, j, k, l, m, n, o, p])]
    }

    /// Sums of two neighbours' products each.
    pub fn dot(self, other: I16x8) -> I32x4 {
        let [a, b, c, d, e, f, g, h] = self.0.map(i32::from);
        let [i, j, k, l, m, n, o, p] = other.0.map(i32::from);
        I32x4([a * i + b * j, c * k + d * l, e * m + f * n, g * o + h * p])
    }

    /// As floats.
    pub fn to_f32(self) -> [F32x4; 2] {
        let [a, b, c, d, e, f, g, h] = self.0.map(f32::from);
        [F32x4([a, b, c, d]), F32x4([e, f, g, h])]
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl I32x4 {
    pub fn splat(value: i32) -> I32x4 {
        I32x4([value; 4])
    }

    pub fn plus(self, other: I32x4) -> I32x4 {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        I32x4([a + e, b + f, c + g, d + h])
    }

    /// As floats.
    pub fn to_f32(self) -> F32x4 {
        F32x4(self.0.map(|value| value as f32))
    }
}

/// Σ aᵢ·bᵢ of as many as both have.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<4>(), b.as_chunks::<4>());
    let mut sum = F32x4::splat(0.0);
    for (a, b) in a.iter().zip(b) {
        sum = sum + F32x4::load(a) * F32x4::load(b);
    }
    sum.sum() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

/// y += factor · x
#[inline(always)]
pub fn add_scaled(y: &mut [f32], factor: f32, x: &[f32]) {
    let factor4 = F32x4::splat(factor);
    let ((y, y_rest), (x, x_rest)) = (y.as_chunks_mut::<4>(), x.as_chunks::<4>());
    for (y, x) in y.iter_mut().zip(x) {
        *y = (F32x4::load(y) + factor4 * F32x4::load(x)).to_array();
    }
    y_rest.iter_mut().zip(x_rest).for_each(|(y, x)| *y += factor * x);
}

/// x ← f(x), f being told each four; what is left is filled up with zeros.
#[inline(always)]
pub fn map(x: &mut [f32], f: impl Fn(F32x4) -> F32x4) {
    let (x, rest) = x.as_chunks_mut::<4>();
    for x in x {
        *x = f(F32x4::load(x)).to_array();
    }
    if !rest.is_empty() {
        let mut last = [0.0; 4];
        last.iter_mut().zip(rest.iter()).for_each(|(to, from)| *to = *from);
        let last = f(F32x4::load(&last)).to_array();
        rest.iter_mut().zip(last).for_each(|(to, from)| *to = from);
    }
}
