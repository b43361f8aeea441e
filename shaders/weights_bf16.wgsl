// Weights in bfloat16 as the checkpoint has them: the upper half of a float32, so widening is a shift and exact.
alias Quad = vec2<u32>;

fn widen(q: Quad) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(q.x << 16u, q.x & 0xffff0000u, q.y << 16u, q.y & 0xffff0000u));
}
