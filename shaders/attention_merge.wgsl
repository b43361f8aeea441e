// Puts together what the workgroups of a split attention have found, each for its own keys: a workgroup a query head. Then
// nobody reads the cache any more, and the token's key and value are appended; QK_NORM is as for tokens_one.wgsl.
//
// Of each they left [sum of weighted values | sum of weights, the score that both are relative to, 0, 0].

struct Params {
    heads: u32,
    kv_heads: u32,
    span: u32,      // keys for which there is a split more …
    most: u32,      // … up to so many, at most WORKGROUP
    window: u32,    // keys that the token attends to at most
    angles_first: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> parts: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> qkv: array<f32>;
@group(0) @binding(4) var<storage, read_write> keys: array<vec2<u32>>;
@group(0) @binding(5) var<storage, read_write> values: array<vec2<u32>>;
@group(0) @binding(6) var<storage, read> step: Step;
@group(0) @binding(7) var<storage, read> k_norm: array<f32>;

const QUADS = HEAD_DIM / 4u;
const PITCH = QUADS + 1u;
// Invocations that share a quad of the output, each with its own splits.
const SHARES = WORKGROUP / QUADS;
// Sums that one invocation adds up.
const RUN = 8u;

var<workgroup> tops: array<f32, WORKGROUP>;
var<workgroup> weights: array<f32, WORKGROUP>;
var<workgroup> totals: array<f32, WORKGROUP>;
var<workgroup> sums: array<vec4<f32>, WORKGROUP>;

// The quad of a key at `at` times its norm's weights.
fn weighted(at: u32) -> vec4<f32> {
    let v = quad(at);
    if QK_NORM == 0u {
        return v;
    }
    let w = select(at % HEAD_DIM, at - params.heads * HEAD_DIM, QK_NORM == 2u);
    return v * vec4<f32>(k_norm[w], k_norm[w + 1u], k_norm[w + 2u], k_norm[w + 3u]);
}

// 1/rms of a key, or 1 where it has no norm.
fn norm_of(kv: u32, local: u32) -> f32 {
    if QK_NORM == 0u {
        return 1.0;
    }
    let over_all = QK_NORM == 2u;
    let first = (params.heads + select(kv, 0u, over_all)) * HEAD_DIM;
    let width = HEAD_DIM * select(1u, params.kv_heads, over_all);
    var k = 0.0;
    for (var d = 4u * local; d < width; d += 4u * WORKGROUP) {
        k += square(first + d);
    }
    // Neither has anything else to hold yet.
    totals[local] = k;
    workgroupBarrier();
    if local < WORKGROUP / RUN {
        k = 0.0;
        for (var i = 0u; i < RUN; i++) {
            k += totals[local * RUN + i];
        }
        weights[local] = k;
    }
    workgroupBarrier();
    k = 0.0;
    for (var i = 0u; i < WORKGROUP / RUN; i++) {
        k += weights[i];
    }
    return inverseSqrt(k / f32(width) + bitcast<f32>(QK_EPS));
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let norm = norm_of(min(group.x, params.kv_heads - 1u), local);
    let count = min(step.position + step.tokens, params.window);
    let splits = min((count + params.span - 1u) / params.span, params.most);
    let base = group.x * splits * PITCH;
    var found = vec4<f32>(0.0, -3.0e38, 0.0, 0.0);
    if local < splits {
        found = parts[base + local * PITCH + QUADS];
    }
    tops[local] = found.y;
    workgroupBarrier();
    var top = tops[0];
    for (var s = 0u; s < splits; s += 4u) {
        top = max(max(top, tops[s]), max(max(tops[s + 1u], tops[s + 2u]), tops[s + 3u]));
    }
    let weight = exp(found.y - top);
    weights[local] = weight;
    totals[local] = found.x * weight;
    workgroupBarrier();
    let q = local % QUADS;
    let share = local / QUADS;
    var sum = vec4<f32>();
    if share < SHARES {
        for (var s = share; s < splits; s += SHARES) {
            sum += weights[s] * parts[base + s * PITCH + q];
        }
    }
    sums[local] = sum;
    workgroupBarrier();
    if local >= QUADS {
        return;
    }
    var all = 0.0;
    for (var s = 0u; s < splits; s += 4u) {
        all += totals[s] + totals[s + 1u] + totals[s + 2u] + totals[s + 3u];
    }
    for (var s = 1u; s < SHARES; s++) {
        sum += sums[s * QUADS + local];
    }
    y[group.x * QUADS + local] = sum / all;

    let kv = group.x;
    if kv < params.kv_heads {
        let at = (step.position * params.kv_heads + kv) * QUADS + local;
        keys[at] = packed(norm * rotated((params.heads + kv) * HEAD_DIM, local));
        values[at] = packed(quad((params.heads + params.kv_heads + kv) * HEAD_DIM + 4u * local));
    }
}
