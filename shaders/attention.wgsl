// y = softmax(q·Kᵀ * scale)·V over the cache. KIND 0: of the keys up to the token's own, of the last `window` of them where
// that is less; 1: of all tokens' keys, of those at most `window` away where that is less; 2: of the keys of what an encoder
// has read.
//
// A workgroup takes four query rows that read the same keys and values: neighbouring tokens, and the query heads that
// share a key head. The four are the lanes of a vec4, so that the cache is read once for all of them. Keys are taken
// WORKGROUP at a time: an invocation first scores one key, then sums the values for one quad of the output; a running
// maximum keeps the softmax in range, so the context's length has no limit here.
//
// tokens_many.wgsl or tokens_one.wgsl says how queries are read and whether the cache has the tokens' own keys, and
// cache_read.wgsl or cache_write.wgsl who writes them there.
// bias_none.wgsl or bias_relative.wgsl says what is added to scores.
// SOFTCAP: scores go through softcap * tanh(score / softcap).
// SPLIT: the workgroups along z share the keys between them, and y takes what each has found, for attention_merge.wgsl.

struct Params {
    heads: u32,
    kv_heads: u32,
    q_stride: u32,  // a row of qkv
    y_stride: u32,
    scale: f32,
    window: u32,    // keys that a token attends to at most, or that are on either side
    softcap: f32,
    angles_first: u32, // of the token's angles, this layer's first
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<storage, read> step: Step;

const QUADS = HEAD_DIM / 4u;
// Invocations that share a quad of the output, each with its own keys.
const SHARES = max(WORKGROUP / QUADS, 1u);
const LOWEST = -3.0e38;
// Scores that one invocation looks through for the largest.
const RUN = 8u;

var<workgroup> queries: array<array<vec4<f32>, 4>, QUADS>;
var<workgroup> weights: array<vec4<f32>, WORKGROUP>;
var<workgroup> tops: array<vec4<f32>, WORKGROUP / RUN>;
var<workgroup> sums: array<array<vec4<f32>, 4>, WORKGROUP>;

// 1/rms of the four rows' queries and of the token's own key, or 1 where they have no norm.
struct Norms {
    queries: vec4<f32>,
    key: f32,
}

fn halves(q: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(q.x), unpack2x16float(q.y));
}

fn capped(score: vec4<f32>) -> vec4<f32> {
    if SOFTCAP {
        // tanh overflows to NaN in some drivers where its argument is large.
        return params.softcap * tanh(clamp(score / params.softcap, vec4<f32>(-10.0), vec4<f32>(10.0)));
    }
    return score;
}

fn is_seen(key: u32, floors: vec4<u32>, counts: vec4<u32>) -> vec4<bool> {
    return (vec4<u32>(key) >= floors) & (vec4<u32>(key) < counts);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let kv = group.x;
    let shared_by = params.heads / params.kv_heads;
    let pitch = params.kv_heads * QUADS;
    // Rows are numbered token by token, within one by the heads that share the key head. Those past the end repeat the
    // last one; nothing is written for them.
    let rows = step.tokens * shared_by;
    let row = min(vec4<u32>(group.y * 4u) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(rows - 1u));
    let token = row / shared_by;
    let head = kv * shared_by + row % shared_by;
    // A row's keys: from its floor up to its count, both growing with the token.
    var ends = token + step.position + 1u;
    var floors = max(ends, vec4<u32>(params.window)) - params.window;
    if KIND == 2u {
        floors = vec4<u32>();
        ends = vec4<u32>(step.memory);
    }
    if KIND == 1u {
        // A window on either side, and the token's own key.
        floors = max(token, vec4<u32>(params.window)) - params.window;
        ends += min(vec4<u32>(params.window), step.tokens - 1u - token);
    }
    let counts = ends - OWN;
    let all_keys = counts.w - min(floors.x, counts.w);
    let span = select(all_keys, (all_keys + groups.z - 1u) / groups.z, SPLIT);
    let first = floors.x + group.z * span;
    let count = min(first + span, counts.w);

    let norms = norms_of(head, kv, local);
    take_own(kv, local, norms.key, group.y == 0u && group.z == 0u);
    for (var i = local; i < QUADS * 4u; i += WORKGROUP) {
        let lane = i % 4u;
        let at = token[lane] * params.q_stride + head[lane] * HEAD_DIM;
        var scale = params.scale;
        if QK_NORM != 0u {
            scale *= norms.queries[lane];
        }
        queries[i / 4u][lane] = scale * query(at, i / 4u);
    }
    workgroupBarrier();

    let mine = local % QUADS;
    let share = local / QUADS;
    var top = vec4<f32>(LOWEST);
    var total = vec4<f32>();
    var out0 = vec4<f32>();
    var out1 = vec4<f32>();
    var out2 = vec4<f32>();
    var out3 = vec4<f32>();
    if OWN == 1u && group.z == 0u {
        // What is not in the cache comes first.
        top = vec4<f32>();
        for (var d = 0u; d < QUADS; d++) {
            let k = own_key_quad(d);
            top += vec4<f32>(
                dot(queries[d][0], k),
                dot(queries[d][1], k),
                dot(queries[d][2], k),
                dot(queries[d][3], k),
            );
        }
        top = capped(top);
        if share == 0u {
            total = vec4<f32>(1.0);
            out0 = own_value_quad(mine);
            out1 = out0;
            out2 = out0;
            out3 = out0;
        }
    }
    for (var base = first; base < count; base += WORKGROUP) {
        let key = base + local;
        var score = vec4<f32>(LOWEST);
        if key < count {
            let at = key * pitch + kv * QUADS;
            var s = vec4<f32>();
            for (var d = 0u; d < QUADS; d++) {
                let k = halves(keys[at + d]);
                s += vec4<f32>(
                    dot(queries[d][0], k),
                    dot(queries[d][1], k),
                    dot(queries[d][2], k),
                    dot(queries[d][3], k),
                );
            }
            s = capped(s) + bias(key, token + step.position, head);
            score = select(vec4<f32>(LOWEST), s, is_seen(key, floors, counts));
        }
        weights[local] = score;
        workgroupBarrier();
        if local < WORKGROUP / RUN {
            var highest = weights[local * RUN];
            for (var i = 1u; i < RUN; i++) {
                highest = max(highest, weights[local * RUN + i]);
            }
            tops[local] = highest;
        }
        workgroupBarrier();
        var highest = top;
        for (var i = 0u; i < WORKGROUP / RUN; i++) {
            highest = max(highest, tops[i]);
        }
        let rescale = exp(top - highest);
        top = highest;
        weights[local] = select(vec4<f32>(), exp(score - highest), is_seen(key, floors, counts));
        workgroupBarrier();
        total *= rescale;
        out0 *= rescale.x;
        out1 *= rescale.y;
        out2 *= rescale.z;
        out3 *= rescale.w;
        let n = min(WORKGROUP, count - base);
        if share < SHARES {
            for (var i = share; i < n; i += SHARES) {
                let w = weights[i];
                let v = halves(values[(base + i) * pitch + kv * QUADS + mine]);
                total += w;
                out0 += w.x * v;
                out1 += w.y * v;
                out2 += w.z * v;
                out3 += w.w * v;
            }
        }
        workgroupBarrier();
    }
    // Each share has summed its own keys: put them together.
    sums[local][0] = out0;
    sums[local][1] = out1;
    sums[local][2] = out2;
    sums[local][3] = out3;
    weights[local] = total;
    workgroupBarrier();
    for (var i = local; i < QUADS * 4u; i += WORKGROUP) {
        let lane = i % 4u;
        let q = i / 4u;
        var all = 0.0;
        var sum = vec4<f32>();
        for (var s = 0u; s < SHARES; s++) {
            sum += sums[s * QUADS + q][lane];
            all += weights[s * QUADS + q][lane];
        }
        if group.y * 4u + lane >= rows {
            continue;
        }
        if SPLIT {
            let at = (head[lane] * groups.z + group.z) * (HEAD_DIM + 4u);
            put(at + q * 4u, sum);
            if q == 0u {
                put(at + HEAD_DIM, vec4<f32>(all, top[lane], 0.0, 0.0));
            }
        } else {
            put(token[lane] * params.y_stride + head[lane] * HEAD_DIM + q * 4u, sum / all);
        }
    }
}

fn put(at: u32, v: vec4<f32>) {
    y[at] = v.x;
    y[at + 1u] = v.y;
    y[at + 2u] = v.z;
    y[at + 3u] = v.w;
}
