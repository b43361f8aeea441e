// y = softmax(q·Kᵀ * scale)·V over the cache, causal: a workgroup a query head and token.
//
// Keys are taken WORKGROUP at a time. An invocation first scores one key, then sums the values of all of them for one
// quad of the output; a running maximum keeps the softmax in range, so the context's length has no limit here.

struct Params {
    heads: u32,
    kv_heads: u32,
    q_stride: u32,  // a row of qkv
    y_stride: u32,
    scale: f32,
}

struct Step {
    tokens: u32,
    position: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<f32>;
@group(0) @binding(2) var<storage, read> keys: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read> values: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<storage, read> step: Step;

const QUADS = HEAD_DIM / 4u;
// Invocations that share a quad of the output, each with its own keys.
const SHARES = max(WORKGROUP / QUADS, 1u);

var<workgroup> query: array<vec4<f32>, QUADS>;
var<workgroup> weights: array<f32, WORKGROUP>;
var<workgroup> sums: array<vec4<f32>, WORKGROUP>;

fn halves(q: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(q.x), unpack2x16float(q.y));
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let head = group.x;
    let token = group.y;
    let kv = head / (params.heads / params.kv_heads);
    let row = params.kv_heads * QUADS;
    let count = step.position + token + 1u;

    if local < QUADS {
        let at = token * params.q_stride + head * HEAD_DIM + local * 4u;
        query[local] = params.scale * vec4<f32>(qkv[at], qkv[at + 1u], qkv[at + 2u], qkv[at + 3u]);
    }
    workgroupBarrier();

    let quad = local % QUADS;
    let share = local / QUADS;
    var top = -3.0e38;
    var total = 0.0;
    var out = vec4<f32>();
    for (var base = 0u; base < count; base += WORKGROUP) {
        let key = base + local;
        var score = -3.0e38;
        if key < count {
            let at = key * row + kv * QUADS;
            var s = 0.0;
            for (var d = 0u; d < QUADS; d++) {
                s += dot(query[d], halves(keys[at + d]));
            }
            score = s;
        }
        weights[local] = score;
        workgroupBarrier();
        let n = min(WORKGROUP, count - base);
        var highest = top;
        for (var i = 0u; i < n; i++) {
            highest = max(highest, weights[i]);
        }
        let rescale = exp(top - highest);
        top = highest;
        workgroupBarrier();
        weights[local] = select(0.0, exp(score - highest), key < count);
        workgroupBarrier();
        total *= rescale;
        out *= rescale;
        if share < SHARES {
            for (var i = share; i < n; i += SHARES) {
                let w = weights[i];
                total += w;
                out += w * halves(values[(base + i) * row + kv * QUADS + quad]);
            }
        }
        workgroupBarrier();
    }
    // Each share has summed its own keys: put them together.
    sums[local] = out;
    weights[local] = total;
    workgroupBarrier();
    if share == 0u && local < QUADS {
        var all = 0.0;
        var sum = vec4<f32>();
        for (var s = 0u; s < SHARES; s++) {
            sum += sums[s * QUADS + quad];
            all += weights[s * QUADS + quad];
        }
        let result = sum / all;
        let at = token * params.y_stride + head * HEAD_DIM + quad * 4u;
        y[at] = result.x;
        y[at + 1u] = result.y;
        y[at + 2u] = result.z;
        y[at + 3u] = result.w;
    }
}
