//! A checkpoint's elements as floats: what `shaders/cast.wgsl` does on a GPU.

use crate::tensor::Dtype;

/// Appends the floats that `bytes`, whole elements of `dtype`, stand for; as torch's `to(float32)` gives them. What
/// can't be a weight (`weights/cast.rs`) gives nothing.
pub fn decode(dtype: Dtype, bytes: &[u8], out: &mut Vec<f32>) {
    match dtype {
        Dtype::F32 => each(bytes, out, f32::from_le_bytes),
        Dtype::F16 => each(bytes, out, |b| half::f16::from_le_bytes(b).to_f32()),
        Dtype::BF16 => each(bytes, out, |b| half::bf16::from_le_bytes(b).to_f32()),
        Dtype::F64 => each(bytes, out, |b| f64::from_le_bytes(b) as f32),
        Dtype::F8E4M3 => each(bytes, out, |[b]| small(b, 3, 7, b & 0x7f == 0x7f)),
        Dtype::F8E5M2 => each(bytes, out, |[b]| half::f16::from_bits(u16::from(b) << 8).to_f32()),
        Dtype::F8E8M0 => each(bytes, out, |[b]| match b {
            0 => f32::from_bits(0x40_0000),
            0xff => f32::NAN,
            b => f32::from_bits(u32::from(b) << 23),
        }),
        Dtype::F8E4M3Fnuz => each(bytes, out, |[b]| small(b, 3, 8, b == 0x80)),
        Dtype::F8E5M2Fnuz => each(bytes, out, |[b]| small(b, 2, 16, b == 0x80)),
        Dtype::Bool => each(bytes, out, |[b]| if b == 0 { 0.0 } else { 1.0 }),
        Dtype::U8 => each(bytes, out, |[b]| f32::from(b)),
        Dtype::I8 => each(bytes, out, |b| f32::from(i8::from_le_bytes(b))),
        Dtype::U16 => each(bytes, out, |b| f32::from(u16::from_le_bytes(b))),
        Dtype::I16 => each(bytes, out, |b| f32::from(i16::from_le_bytes(b))),
        Dtype::U32 => each(bytes, out, |b| u32::from_le_bytes(b) as f32),
        Dtype::I32 => each(bytes, out, |b| i32::from_le_bytes(b) as f32),
        Dtype::U64 => each(bytes, out, |b| u64::from_le_bytes(b) as f32),
        Dtype::I64 => each(bytes, out, |b| i64::from_le_bytes(b) as f32),
        Dtype::C64 | Dtype::F4 | Dtype::F6E2M3 | Dtype::F6E3M2 => {}
    }
}

fn each<const N: usize>(bytes: &[u8], out: &mut Vec<f32>, float: impl Fn([u8; N]) -> f32) {
    out.extend(bytes.as_chunks::<N>().0.iter().map(|bytes| float(*bytes)));
}

/// An eight-bit float without infinities.
fn small(bits: u8, mantissa: i32, bias: i32, is_nan: bool) -> f32 {
    if is_nan {
        return f32::NAN;
    }
    let magnitude = i32::from(bits & 0x7f);
    let (exponent, fraction) = (magnitude >> mantissa, magnitude & ((1 << mantissa) - 1));
    let (whole, exponent) = if exponent == 0 { (fraction, 1) } else { (fraction | (1 << mantissa), exponent) };
    let value = whole as f32 * ((exponent - bias - mantissa) as f32).exp2();
    if bits & 0x80 == 0 { value } else { -value }
}
