// x[token] = table[FIRST + ids[token]] * scale. Where the table is split over several buffers, each part writes the tokens it
// holds. ADD: they are added to x.

struct Params {
    rows: u32,      // rows of this part
    quads: u32,     // a row in quads
    first: u32,     // the part's first row in the whole table
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<Quad>;
@group(0) @binding(2) var<storage, read> ids: array<u32>;
@group(0) @binding(3) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> step: Step;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let k = group.x * WORKGROUP + local;
    let token = group.y;
    if k >= params.quads || token >= step.tokens {
        return;
    }
    let row = FIRST + ids[token] - params.first;
    // A row before `first` wraps around and is past the end too.
    if row < params.rows {
        let at = token * params.quads + k;
        let v = widen(table[row * params.quads + k]) * params.scale;
        if ADD {
            x[at] += v;
        } else {
            x[at] = v;
        }
    }
}
