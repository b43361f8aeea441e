fn bias(key: u32, position: vec4<u32>, head: vec4<u32>) -> vec4<f32> {
    return vec4<f32>();
}
