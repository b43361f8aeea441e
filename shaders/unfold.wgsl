// y[t][3c + k] = x[2t + k - 1][c]: the windows of a convolution of three rows with a stride of two. Before x's first row there
// are zeros.

struct Params {
    width: u32,     // elements of a row of x
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
    if i >= 3u * params.width || token >= step.tokens {
        return;
    }
    let row = 2u * token + i % 3u;
    var v = 0.0;
    if row > 0u {
        v = x[(row - 1u) * params.x_stride + i / 3u];
    }
    y[token * params.y_stride + i] = v;
}
