// y = x / rms(x) * weight, a workgroup a row. LAST: only the last token's row, written as row 0. ADD: added to y.

struct Params {
    width: u32,     // elements a row
    quads: u32,     // a row in quads
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> step: Step;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = select(group.y, step.tokens - 1u, LAST);
    let source = row * params.quads;
    let dest = group.y * params.quads;
    var squares = 0.0;
    for (var k = local; k < params.quads; k += WORKGROUP) {
        let v = x[source + k];
        squares += dot(v, v);
    }
    let scale = inverseSqrt(sum_lanes(vec4<f32>(squares), local).x / f32(params.width) + params.eps);
    for (var k = local; k < params.quads; k += WORKGROUP) {
        let v = x[source + k] * scale * weight[k];
        if ADD {
            y[dest + k] += v;
        } else {
            y[dest + k] = v;
        }
    }
}
