// y, one row, is x's first row; with LAST its last one, with MEAN the mean of all.

struct Params {
    quads: u32,     // a row in quads
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> step: Step;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let k = group.x * WORKGROUP + local;
    if k >= params.quads {
        return;
    }
    var v = x[select(0u, step.tokens - 1u, LAST) * params.quads + k];
    if MEAN {
        for (var row = 1u; row < step.tokens; row++) {
            v += x[row * params.quads + k];
        }
        v /= f32(step.tokens);
    }
    y[k] = v;
}
