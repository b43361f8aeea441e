// Weights in native half precision: four in 8 bytes.
alias Quad = vec4<f16>;

fn widen(q: Quad) -> vec4<f32> {
    return vec4<f32>(q);
}
