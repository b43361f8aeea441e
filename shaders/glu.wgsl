// y = act(gate) * up, where a row of x holds the gates and then the ups.

struct Params {
    width: u32,     // elements of a row of y
    x_stride: u32,
    y_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<storage, read> step: Step;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = group.x * WORKGROUP + local;
    let token = group.y;
    if i >= params.width || token >= step.tokens {
        return;
    }
    let at = token * params.x_stride + i;
    y[token * params.y_stride + i] = activate(vec2<f32>(x[at])).x * x[at + params.width];
}
