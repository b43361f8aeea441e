// The weights by which attention.wgsl sums values, for those who want to see them: y is [tokens][heads][keys], with zeros for
// keys that a token doesn't see. A workgroup takes a token and a head. KIND, SOFTCAP and the preludes are those of
// attention.wgsl; rope_append.wgsl ran before, where the keys are the tokens' own.

struct Params {
    heads: u32,
    kv_heads: u32,
    q_stride: u32, // a row of qkv
    scale: f32,
    window: u32,   // keys that a token attends to at most, or that are on either side
    softcap: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<storage, read> step: Step;

const QUADS = HEAD_DIM / 4u;
const LOWEST = -3.0e38;

var<workgroup> found: array<f32, WORKGROUP>;

fn score_of(key: u32, at: u32, kv: u32, position: u32, head: u32) -> f32 {
    var score = 0.0;
    for (var d = 0u; d < QUADS; d++) {
        let q = vec4<f32>(qkv[at + 4u * d], qkv[at + 4u * d + 1u], qkv[at + 4u * d + 2u], qkv[at + 4u * d + 3u]);
        let k = keys[(key * params.kv_heads + kv) * QUADS + d];
        score += dot(q, vec4<f32>(unpack2x16float(k.x), unpack2x16float(k.y)));
    }
    score *= params.scale;
    if SOFTCAP {
        score = params.softcap * tanh(clamp(score / params.softcap, -10.0, 10.0));
    }
    return score + bias(key, vec4<u32>(position), vec4<u32>(head)).x;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let head = group.x;
    let token = group.y;
    let kv = head / (params.heads / params.kv_heads);
    let position = token + step.position;
    let all = select(step.position + step.tokens, step.memory, KIND == 2u);
    var first = max(position + 1u, params.window) - params.window;
    var end = position + 1u;
    if KIND == 1u {
        first = max(token, params.window) - params.window;
        end += min(params.window, step.tokens - 1u - token);
    }
    if KIND == 2u {
        first = 0u;
        end = all;
    }
    let at = token * params.q_stride + head * HEAD_DIM;
    let row = (token * params.heads + head) * all;
    // The cache's values are bound as for attention, and not read.
    _ = values[0];

    var top = LOWEST;
    for (var key = first + local; key < end; key += WORKGROUP) {
        let score = score_of(key, at, kv, position, head);
        y[row + key] = score;
        top = max(top, score);
    }
    found[local] = top;
    workgroupBarrier();
    for (var i = 0u; i < WORKGROUP; i++) {
        top = max(top, found[i]);
    }
    workgroupBarrier();
    var sum = 0.0;
    for (var key = first + local; key < end; key += WORKGROUP) {
        sum += exp(y[row + key] - top);
    }
    found[local] = sum;
    workgroupBarrier();
    sum = 0.0;
    for (var i = 0u; i < WORKGROUP; i++) {
        sum += found[i];
    }
    // Each invocation goes through the keys that it has written before.
    for (var key = first + local; key < end; key += WORKGROUP) {
        y[row + key] = exp(y[row + key] - top) / sum;
    }
    for (var key = local; key < all; key += WORKGROUP) {
        if key < first || key >= end {
            y[row + key] = 0.0;
        }
    }
}
