// Brings raw checkpoint elements from the staging buffer to where and how the kernels read them.
//
// FROM is an element type of the checkpoint's (weights/upload.rs numbers them); TO is 0 float32, 1 float16, 2 bfloat16.
// PLUS_ONE: a float32 is one more than the element.
// Rows of the target are padded with zeros. An invocation writes one word: one float32, or two of the others.
// Everything is done on bits: a shader's floats may be rounded, flushed or clamped as the device likes, torch's are not.

struct Params {
    cols: u32,      // columns that the staging buffer holds
    width: u32,     // words to write in a row
    words: u32,     // words to write
    to: u32,        // first word in the target
    step: u32,      // words from one row of the target to the next
    row_step: u32,  // elements from one row to the next in the staging buffer
    col_step: u32,  // and from one column to the next
    first: u32,     // the first row's first element
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read_write> target_words: array<u32>;

const NAN = 0x7fc00000u;

fn byte(e: u32) -> u32 {
    return (source[e / 4u] >> ((e & 3u) * 8u)) & 0xffu;
}

fn short(e: u32) -> u32 {
    return (source[e / 2u] >> ((e & 1u) * 16u)) & 0xffffu;
}

// float32's bits of a smaller float without its sign, for those that have infinities and NaNs as float32 has them or none.
fn widen(magnitude: u32, mantissa: u32, bias: u32) -> u32 {
    if magnitude >> mantissa != 0u {
        return (magnitude << (23u - mantissa)) + ((127u - bias) << 23u);
    }
    if magnitude == 0u {
        return 0u;
    }
    let top = firstLeadingBit(magnitude);
    return ((top + 128u - bias - mantissa) << 23u) | ((magnitude << (23u - top)) & 0x7fffffu);
}

fn from_f16(h: u32) -> u32 {
    let sign = (h & 0x8000u) << 16u;
    let magnitude = h & 0x7fffu;
    if magnitude >= 0x7c00u {
        return sign | 0x7f800000u | ((magnitude & 0x3ffu) << 13u);
    }
    return sign | widen(magnitude, 10u, 15u);
}

fn from_f8(b: u32, nan: bool, mantissa: u32, bias: u32) -> u32 {
    return select(((b & 0x80u) << 24u) | widen(b & 0x7fu, mantissa, bias), NAN, nan);
}

// To nearest, ties to even.
fn from_f64(lo: u32, hi: u32) -> u32 {
    let sign = hi & 0x80000000u;
    let high = hi & 0x7fffffffu;
    if high > 0x7ff00000u || (high == 0x7ff00000u && lo != 0u) {
        return NAN;
    }
    let exponent = high >> 20u;
    if exponent >= 1151u {
        return sign | 0x7f800000u;
    }
    let mantissa = ((high & 0xfffffu) << 3u) | (lo >> 29u);
    let rest = lo & 0x1fffffffu;
    if exponent > 896u {
        let v = ((exponent - 896u) << 23u) | mantissa;
        let up = rest > 0x10000000u || (rest == 0x10000000u && (v & 1u) == 1u);
        return sign | (v + u32(up));
    }
    let shift = 897u - exponent;
    if shift > 24u {
        return sign;
    }
    let whole = mantissa | 0x800000u;
    let v = whole >> shift;
    let cut = whole & ((1u << shift) - 1u);
    let half = 1u << (shift - 1u);
    let up = cut > half || (cut == half && (rest != 0u || (v & 1u) == 1u));
    return sign | (v + u32(up));
}

// To nearest, ties to even.
fn from_u64(lo: u32, hi: u32) -> u32 {
    if (lo | hi) == 0u {
        return 0u;
    }
    var top = 63u;
    var high = hi;
    var low = lo;
    if high == 0u {
        high = low;
        low = 0u;
        top = 31u;
    }
    let shift = 31u - firstLeadingBit(high);
    if shift > 0u {
        high = (high << shift) | (low >> (32u - shift));
        low <<= shift;
    }
    let v = ((top - shift + 127u) << 23u) | ((high >> 8u) & 0x7fffffu);
    let up = (high & 0x80u) != 0u && ((high & 0x7fu) != 0u || low != 0u || (v & 1u) == 1u);
    return v + u32(up);
}

fn from_i64(lo: u32, hi: u32) -> u32 {
    if (hi & 0x80000000u) == 0u {
        return from_u64(lo, hi);
    }
    return 0x80000000u | from_u64(~lo + 1u, ~hi + u32(lo == 0u));
}

fn from_i32(v: u32) -> u32 {
    return from_i64(v, u32(bitcast<i32>(v) >> 31u));
}

// float32's bits of one element.
fn element(row: u32, col: u32) -> u32 {
    if col >= params.cols {
        return 0u;
    }
    let e = params.first + row * params.row_step + col * params.col_step;
    switch FROM {
        case 0u: { return source[e]; }
        case 1u: { return from_f16(short(e)); }
        case 2u: { return short(e) << 16u; }
        case 3u: { return from_f64(source[e * 2u], source[e * 2u + 1u]); }
        case 4u: { return from_f8(byte(e), (byte(e) & 0x7fu) == 0x7fu, 3u, 7u); }
        case 5u: { return from_f16(byte(e) << 8u); }
        case 6u: { return select(select(byte(e) << 23u, 0x400000u, byte(e) == 0u), NAN, byte(e) == 0xffu); }
        case 7u: { return from_f8(byte(e), byte(e) == 0x80u, 3u, 8u); }
        case 8u: { return from_f8(byte(e), byte(e) == 0x80u, 2u, 16u); }
        case 9u: { return select(0u, 0x3f800000u, byte(e) != 0u); }
        case 10u: { return from_u64(byte(e), 0u); }
        case 11u: { return from_i32(u32(bitcast<i32>(byte(e) << 24u) >> 24u)); }
        case 12u: { return from_u64(short(e), 0u); }
        case 13u: { return from_i32(u32(bitcast<i32>(short(e) << 16u) >> 16u)); }
        case 14u: { return from_u64(source[e], 0u); }
        case 15u: { return from_i32(source[e]); }
        case 16u: { return from_u64(source[e * 2u], source[e * 2u + 1u]); }
        default: { return from_i64(source[e * 2u], source[e * 2u + 1u]); }
    }
}

fn to_bf16(b: u32) -> u32 {
    if (b & 0x7fffffffu) > 0x7f800000u {
        return 0x7fc0u;
    }
    return (b + 0x7fffu + ((b >> 16u) & 1u)) >> 16u;
}

fn to_f16(b: u32) -> u32 {
    let sign = (b >> 16u) & 0x8000u;
    let magnitude = b & 0x7fffffffu;
    if magnitude > 0x7f800000u {
        return sign | 0x7e00u;
    }
    // Half a step above 65504 all is infinite.
    if magnitude >= 0x477ff000u {
        return sign | 0x7c00u;
    }
    if magnitude >= 0x38800000u {
        return sign | ((magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13u) & 1u)) >> 13u);
    }
    // Below float16's normal range its steps are all 2^-24.
    let exponent = magnitude >> 23u;
    if exponent < 102u {
        return sign;
    }
    let mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    let shift = 126u - exponent;
    return sign | ((mantissa + (1u << (shift - 1u)) - 1u + ((mantissa >> shift) & 1u)) >> shift);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let word = (group.y * groups.x + group.x) * WORKGROUP + local;
    if word >= params.words {
        return;
    }
    let row = word / params.width;
    let place = word % params.width;
    let to = params.to + row * params.step + place;
    if TO == 0u {
        let bits = element(row, place);
        target_words[to] = select(bits, bitcast<u32>(bitcast<f32>(bits) + 1.0), PLUS_ONE && place < params.cols);
        return;
    }
    let a = element(row, place * 2u);
    let b = element(row, place * 2u + 1u);
    if TO == 1u {
        target_words[to] = to_f16(a) | (to_f16(b) << 16u);
    } else {
        target_words[to] = to_bf16(a) | (to_bf16(b) << 16u);
    }
}
