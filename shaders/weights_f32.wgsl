// Weights in single precision.
alias Quad = vec4<f32>;

fn widen(q: Quad) -> vec4<f32> {
    return q;
}
