// Weights of eight-bit integers, four to a word, the first in its lowest bits. Behind a row's integers are its scales, a float32 for
// each group of neighbours, and, with ZEROS, as many that mean zero.
alias Quad = u32;

const MIDDLE = 128.0;

// The kth four of a row.
fn integers_at(start: u32, k: u32) -> vec4<f32> {
    return vec4<f32>((vec4<u32>(weight[start + k]) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u));
}
