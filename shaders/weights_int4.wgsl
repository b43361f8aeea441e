// Weights of four-bit integers, eight to a word, the first in its lowest bits. Behind a row's integers are its scales, a float32 for
// each group of neighbours, and, with ZEROS, as many that mean zero.
alias Quad = u32;

const MIDDLE = 8.0;

// The kth four of a row.
fn integers_at(start: u32, k: u32) -> vec4<f32> {
    let word = weight[start + k / 2u] >> (16u * (k & 1u));
    return vec4<f32>((vec4<u32>(word) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u));
}
