// y = (x - mean) / deviation * weight + bias, a workgroup a row. BIAS: there is one. LAST: only the last token's row, written as row 0.
//
// The mean comes first and then the squares of what differs from it: where the mean is large, a difference of large sums
// would have few digits left.

struct Params {
    width: u32,     // elements a row
    quads: u32,     // a row in quads
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> step: Step;

// What belongs to the row of a quad's elements; the padding behind them doesn't.
fn within(v: vec4<f32>, quad: u32) -> vec4<f32> {
    return select(vec4<f32>(), v, vec4<u32>(quad * 4u) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.width));
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = select(group.y, step.tokens - 1u, LAST);
    let source = row * params.quads;
    let dest = group.y * params.quads;
    var sums = vec4<f32>();
    for (var k = local; k < params.quads; k += WORKGROUP) {
        sums += within(x[source + k], k);
    }
    let sum = sum_lanes(sums, local);
    let mean = (sum.x + sum.y + sum.z + sum.w) / f32(params.width);
    // All have read the first sums before the second ones take their place.
    workgroupBarrier();
    var squares = 0.0;
    for (var k = local; k < params.quads; k += WORKGROUP) {
        let v = within(x[source + k] - mean, k);
        squares += dot(v, v);
    }
    let scale = inverseSqrt(sum_lanes(vec4<f32>(squares), local).x / f32(params.width) + params.eps);
    for (var k = local; k < params.quads; k += WORKGROUP) {
        var v = within((x[source + k] - mean) * scale, k) * weight[k];
        if BIAS {
            v += bias[k];
        }
        y[dest + k] = v;
    }
}
