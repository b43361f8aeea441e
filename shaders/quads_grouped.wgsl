// A quad of a row that starts at `start`: integers, which share a scale.
fn weight_at(start: u32, k: u32) -> vec4<f32> {
    let group = group_at(start, k / params.group);
    return (integers_at(start, k) - group.y) * group.x;
}
