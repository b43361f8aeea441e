// Attention of many tokens: rope_append.wgsl ran before, so queries are rotated, and the cache has all keys and values.
const OWN = 0u;

fn query(at: u32, q: u32) -> vec4<f32> {
    return vec4<f32>(qkv[at + 4u * q], qkv[at + 4u * q + 1u], qkv[at + 4u * q + 2u], qkv[at + 4u * q + 3u]);
}

fn take_own(kv: u32, local: u32, first: bool) {}

fn own_key_quad(q: u32) -> vec4<f32> {
    return vec4<f32>();
}

fn own_value_quad(q: u32) -> vec4<f32> {
    return vec4<f32>();
}
