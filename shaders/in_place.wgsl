// x = act(x), or with SOFTCAP x = number * tanh(x / number), or with SCALE x = number * x, in place.

struct Params {
    width: u32,     // elements a row
    stride: u32,
    rows: u32,      // at most
    number: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read> step: Step;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = group.x * WORKGROUP + local;
    let row = group.y;
    if i >= params.width || row >= min(step.tokens, params.rows) {
        return;
    }
    let at = row * params.stride + i;
    if SOFTCAP {
        // tanh overflows to NaN in some drivers where its argument is large.
        x[at] = params.number * tanh(clamp(x[at] / params.number, -10.0, 10.0));
    } else if SCALE {
        x[at] *= params.number;
    } else {
        x[at] = activate(vec2<f32>(x[at])).x;
    }
}
