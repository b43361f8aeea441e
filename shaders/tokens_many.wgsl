// Attention of many tokens: rope_append.wgsl ran before, so queries are rotated, and the cache has all keys and values.
const OWN = 0u;

fn query(at: u32, q: u32) -> vec4<f32> {
    return vec4<f32>(qkv[at + 4u * q], qkv[at + 4u * q + 1u], qkv[at + 4u * q + 2u], qkv[at + 4u * q + 3u]);
}

// A kernel of its own has normalised them.
fn norms_of(head: vec4<u32>, kv: u32, local: u32) -> Norms {
    return Norms(vec4<f32>(1.0), 1.0);
}

fn take_own(kv: u32, local: u32, norm: f32, first: bool) {}

fn own_key_quad(q: u32) -> vec4<f32> {
    return vec4<f32>();
}

fn own_value_quad(q: u32) -> vec4<f32> {
    return vec4<f32>();
}
