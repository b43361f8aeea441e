// Attention of one token, which rotates its queries and its key itself, so that a decoded layer is a dispatch less. Its key
// and value are not in the cache yet; they are kept beside it, rounded as they will be there.
//
// QK_NORM: queries and keys are RMS-normalised before, each head by itself (1) or all heads as one row (2).
const OWN = 1u;

@group(0) @binding(6) var<storage, read> q_norm: array<f32>;
@group(0) @binding(7) var<storage, read> k_norm: array<f32>;

var<workgroup> own_key: array<vec2<u32>, QUADS>;
var<workgroup> own_value: array<vec2<u32>, QUADS>;

fn query(at: u32, q: u32) -> vec4<f32> {
    return rotated(at, q);
}

// The quad at `at` times its norm's weights.
fn weighted(at: u32) -> vec4<f32> {
    let v = quad(at);
    if QK_NORM == 0u {
        return v;
    }
    let keys = params.heads * HEAD_DIM;
    if at < keys {
        let w = select(at % HEAD_DIM, at, QK_NORM == 2u);
        return v * vec4<f32>(q_norm[w], q_norm[w + 1u], q_norm[w + 2u], q_norm[w + 3u]);
    }
    let w = select(at % HEAD_DIM, at - keys, QK_NORM == 2u);
    return v * vec4<f32>(k_norm[w], k_norm[w + 1u], k_norm[w + 2u], k_norm[w + 3u]);
}

fn norms_of(head: vec4<u32>, kv: u32, local: u32) -> Norms {
    if QK_NORM == 0u {
        return Norms(vec4<f32>(1.0), 1.0);
    }
    let keys = params.heads * HEAD_DIM;
    let over_all = QK_NORM == 2u;
    var q = vec4<f32>();
    var k = 0.0;
    for (var d = 4u * local; d < select(HEAD_DIM, keys, over_all); d += 4u * WORKGROUP) {
        if over_all {
            q += vec4<f32>(square(d));
        } else {
            let at = head * HEAD_DIM + d;
            q += vec4<f32>(square(at.x), square(at.y), square(at.z), square(at.w));
        }
    }
    let first = keys + select(kv * HEAD_DIM, 0u, over_all);
    let k_width = HEAD_DIM * select(1u, params.kv_heads, over_all);
    for (var d = 4u * local; d < k_width; d += 4u * WORKGROUP) {
        k += square(first + d);
    }
    // `sums` has nothing else to hold yet.
    sums[local][0] = q;
    sums[local][1] = vec4<f32>(k);
    workgroupBarrier();
    if local < WORKGROUP / RUN {
        q = vec4<f32>();
        var run = vec4<f32>();
        for (var i = 0u; i < RUN; i++) {
            q += sums[local * RUN + i][0];
            run += sums[local * RUN + i][1];
        }
        sums[local][2] = q;
        sums[local][3] = run;
    }
    workgroupBarrier();
    q = vec4<f32>();
    k = 0.0;
    for (var i = 0u; i < WORKGROUP / RUN; i++) {
        q += sums[i][2];
        k += sums[i][3].x;
    }
    let eps = bitcast<f32>(QK_EPS);
    let q_width = select(HEAD_DIM, keys, over_all);
    return Norms(inverseSqrt(q / f32(q_width) + eps), inverseSqrt(k / f32(k_width) + eps));
}

fn take_own(kv: u32, local: u32, norm: f32, first: bool) {
    for (var q = local; q < QUADS; q += WORKGROUP) {
        own_key[q] = packed(norm * rotated((params.heads + kv) * HEAD_DIM, q));
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
