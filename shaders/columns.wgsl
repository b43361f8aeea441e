// y[row][to + k] = x[row][first + k]. ROUTED: x's rows are those of the tokens that are routed to the expert that runs.

struct Params {
    width: u32,     // elements that are copied of a row
    x_stride: u32,
    y_stride: u32,
    first: u32,
    to: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<storage, read> step: Step;
// Where ROUTED is false, something else of the same size or more.
@group(0) @binding(4) var<storage, read> routes: array<Route>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let k = group.x * WORKGROUP + local;
    let row = group.y;
    if k >= params.width || row >= step.tokens {
        return;
    }
    let token = select(row, routes[row].token, ROUTED);
    y[row * params.y_stride + params.to + k] = x[token * params.x_stride + params.first + k];
}
