// Scale and zero of a group of the row that starts at `start`.
fn group_at(start: u32, group: u32) -> vec2<f32> {
    let at = start + params.words + group;
    if ZEROS {
        return vec2<f32>(bitcast<f32>(weight[at]), bitcast<f32>(weight[at + params.groups]));
    }
    return vec2<f32>(bitcast<f32>(weight[at]), MIDDLE);
}
