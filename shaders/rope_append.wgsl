// Rotates the queries in place and the keys on their way into the cache; appends keys and values, as packed halves.
//
// A row of qkv is [queries | keys | values], a head HEAD_DIM long, of which the first ROTARY elements are rotated. An
// invocation takes two neighbouring elements of the rotated part's first half and their partners in its second half, or
// four neighbours of the rest, so that it writes whole words of the cache. Where NEIGHBOURS, partners are beside each other, and
// it takes four neighbours in any case.

struct Params {
    heads: u32,
    kv_heads: u32,
    stride: u32,    // a row of qkv
    angles: u32,    // pairs of a token's angles
    first: u32,     // of which this layer's come first
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> qkv: array<f32>;
@group(0) @binding(2) var<storage, read_write> keys: array<u32>;
@group(0) @binding(3) var<storage, read_write> values: array<u32>;
@group(0) @binding(4) var<storage, read> step: Step;

const HALF = ROTARY / 2u;
const PER_HEAD = HEAD_DIM / 4u;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = group.x * WORKGROUP + local;
    let head = i / PER_HEAD;
    let token = group.y;
    if head >= params.heads + 2u * params.kv_heads || token >= step.tokens {
        return;
    }
    var d = (i % PER_HEAD) * 2u;
    let is_rotated = d < HALF;
    let is_halved = is_rotated && !NEIGHBOURS;
    let partner = select(2u, HALF, is_halved);
    if !is_halved {
        d = 2u * d;     // ROTARY + 4 * (i - ROTARY / 4)
    }
    let at = token * params.stride + head * HEAD_DIM + d;
    let a = vec2<f32>(qkv[at], qkv[at + 1u]);
    let b = vec2<f32>(qkv[at + partner], qkv[at + partner + 1u]);
    // The word of this head, position and element in the cache, which lies as [position][kv head][element].
    let kv = (head - params.heads) % params.kv_heads;
    let word = ((step.position + token) * params.kv_heads + kv) * (HEAD_DIM / 2u) + d / 2u;
    if head >= params.heads + params.kv_heads {
        values[word] = pack_halves(a);
        values[word + partner / 2u] = pack_halves(b);
        return;
    }
    var cosine = vec2<f32>(1.0);
    var sine = vec2<f32>();
    if is_rotated {
        let r = token * params.angles + params.first + select(d, d / 2u, NEIGHBOURS);
        cosine = vec2<f32>(step.rope[r].x, step.rope[r + 1u].x);
        sine = vec2<f32>(step.rope[r].y, step.rope[r + 1u].y);
    }
    var first = a * cosine - b * sine;
    var second = b * cosine + a * sine;
    if NEIGHBOURS {
        first = a * cosine.x + vec2<f32>(-a.y, a.x) * sine.x;
        second = b * cosine.y + vec2<f32>(-b.y, b.x) * sine.y;
    }
    if head >= params.heads {
        keys[word] = pack_halves(first);
        keys[word + partner / 2u] = pack_halves(second);
        return;
    }
    qkv[at] = first.x;
    qkv[at + 1u] = first.y;
    qkv[at + partner] = second.x;
    qkv[at + partner + 1u] = second.y;
}
