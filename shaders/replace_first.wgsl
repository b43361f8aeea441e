// The first row of x becomes `row`.

struct Params {
    quads: u32,     // a row in quads
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> row: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> x: array<vec4<f32>>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let k = group.x * WORKGROUP + local;
    if k < params.quads {
        x[k] = row[k];
    }
}
