// y = W·x for one token: the matrix-vector product that decoding spends its time in.
//
// LANES invocations share four rows of W and stride along them, so that x is read once for four rows; f32 accumulation.
// NORM: x is RMS-normalised on the way in. The scale 1/rms is common to all of x and is applied to the sums.
// GATED: W holds gate rows and then as many up rows; y = act(gate·x) * (up·x).
// BIAS: y += bias. ADD: the result is added to y.

struct Params {
    rows: u32,      // rows of y that this weight gives
    quads: u32,     // a row of W in quads
    first: u32,     // the first of these rows in y
    width: u32,     // elements of x, for the mean
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weight: array<Quad>;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<storage, read> norm: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> bias: array<f32>;

// Four sums stand for four rows, or for two rows of gate and two of up.
const ROWS = select(4u, 2u, GATED);

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let lane = local % LANES;
    let row = (group.x * (WORKGROUP / LANES) + local / LANES) * ROWS;
    // Rows past the end repeat the last one; nothing is written for them.
    let last = params.rows - 1u;
    let r0 = min(row, last);
    let r1 = min(row + 1u, last);
    var r2 = min(row + 2u, last);
    var r3 = min(row + 3u, last);
    if GATED {
        r2 = params.rows + r0;
        r3 = params.rows + r1;
    }
    let w0 = r0 * params.quads;
    let w1 = r1 * params.quads;
    let w2 = r2 * params.quads;
    let w3 = r3 * params.quads;

    var sums = vec4<f32>();
    var squares = 0.0;
    for (var k = lane; k < params.quads; k += LANES) {
        var v = x[k];
        if NORM {
            squares += dot(v, v);
            v *= norm[k];
        }
        sums += vec4<f32>(
            dot(widen(weight[w0 + k]), v),
            dot(widen(weight[w1 + k]), v),
            dot(widen(weight[w2 + k]), v),
            dot(widen(weight[w3 + k]), v),
        );
    }
    sums = sum_lanes(sums, local);
    if NORM {
        let mean = sum_lanes(vec4<f32>(squares), local).x / f32(params.width);
        sums *= inverseSqrt(mean + params.eps);
    }
    if lane != 0u {
        return;
    }
    if BIAS {
        sums += vec4<f32>(
            bias[params.first + r0],
            bias[params.first + r1],
            bias[params.first + r2],
            bias[params.first + r3],
        );
    }
    let out = params.first + row;
    if GATED {
        let gated = activate(sums.xy) * sums.zw;
        if row < params.rows { y[out] = gated.x; }
        if row + 1u < params.rows { y[out + 1u] = gated.y; }
        return;
    }
    if ADD {
        if row < params.rows { y[out] += sums.x; }
        if row + 1u < params.rows { y[out + 1u] += sums.y; }
        if row + 2u < params.rows { y[out + 2u] += sums.z; }
        if row + 3u < params.rows { y[out + 3u] += sums.w; }
        return;
    }
    if row < params.rows { y[out] = sums.x; }
    if row + 1u < params.rows { y[out + 1u] = sums.y; }
    if row + 2u < params.rows { y[out + 2u] = sums.z; }
    if row + 3u < params.rows { y[out + 3u] = sums.w; }
}
