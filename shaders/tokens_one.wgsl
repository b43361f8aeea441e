// Attention of one token, which rotates its queries and its key itself, so that a decoded layer is a dispatch less. Its key
// and value are not in the cache yet; they are kept beside it, rounded as they will be there.
const OWN = 1u;

var<workgroup> own_key: array<vec2<u32>, QUADS>;
var<workgroup> own_value: array<vec2<u32>, QUADS>;

fn query(at: u32, q: u32) -> vec4<f32> {
    return rotated(at, q);
}

fn take_own(kv: u32, local: u32, first: bool) {
    for (var q = local; q < QUADS; q += WORKGROUP) {
        own_key[q] = packed(rotated((params.heads + kv) * HEAD_DIM, q));
        own_value[q] = packed(quad((params.heads + params.kv_heads + kv) * HEAD_DIM + 4u * q));
        if first {
            keep((step.position * params.kv_heads + kv) * QUADS + q, own_key[q], own_value[q]);
        }
    }
}

fn own_key_quad(q: u32) -> vec4<f32> {
    return halves(own_key[q]);
}

fn own_value_quad(q: u32) -> vec4<f32> {
    return halves(own_value[q]);
}
