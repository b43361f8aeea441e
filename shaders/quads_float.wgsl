// A quad of a row that starts at `start`.
fn weight_at(start: u32, k: u32) -> vec4<f32> {
    return widen(weight[start + k]);
}
