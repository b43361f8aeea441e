// Weights in half precision where the device lacks shader-f16: four in 8 bytes, two to a word.
alias Quad = vec2<u32>;

fn widen(q: Quad) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(q.x), unpack2x16float(q.y));
}
