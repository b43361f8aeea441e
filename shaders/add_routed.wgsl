// y[token][k] += weight * x[row][k], for the row of each token that is routed to the expert that runs. A token is routed to
// an expert once, so that no two invocations write to one place.

struct Params {
    width: u32,     // elements of a row of x
    x_stride: u32,
    y_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<storage, read> step: Step;
@group(0) @binding(4) var<storage, read> routes: array<Route>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let k = group.x * WORKGROUP + local;
    let row = group.y;
    if k >= params.width || row >= step.tokens {
        return;
    }
    let route = routes[row];
    y[route.token * params.y_stride + k] += route.weight * x[row * params.x_stride + k];
}
