// y = W·x for one token: the matrix-vector product that decoding spends its time in.
//
// LANES invocations share ROWS rows of W and stride along them a piece (pieces_*.wgsl) at a time; f32 accumulation. Each
// has four pieces on their way at once, which is what keeps memory busy: of four rows, of two rows at two places, or of
// one row at four. More rows share x between them, fewer give more invocations where W is small.
// NORM: x is RMS-normalised on the way in. The scale 1/rms is common to all of x and is applied to the sums.
// GATED: W holds gate rows and then as many up rows; y = act(gate·x) * (up·x). Half of the ROWS are ups.
// ACTIVATED: y = act(W·x). BIAS: y += bias, before the activation. ADD: the result is added to y.

struct Params {
    rows: u32,      // rows of y that this weight gives
    pieces: u32,    // a row of W in pieces
    first: u32,     // the first of these rows in y
    width: u32,     // elements of x, for the mean
    eps: f32,
    line: u32,      // from one row of W to the next, in pieces; of integers, in words
    words: u32,     // of integers: words of a row's integers,
    group: u32,     // pieces that share a scale,
    groups: u32,    // and scales of a row
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weight: array<Piece>;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<storage, read> norm: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> bias: array<f32>;

const PLACES = 4u / ROWS;
// Rows of y.
const OUTPUTS = select(ROWS, ROWS / 2u, GATED);

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let lane = local % LANES;
    let row = (group.x * (WORKGROUP / LANES) + local / LANES) * OUTPUTS;
    // Rows past the end repeat the last one; nothing is written for them.
    var rows = min(vec4<u32>(row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.rows - 1u));
    if GATED {
        rows = vec4<u32>(rows.xy, params.rows + rows.xy);
        if ROWS == 2u {
            rows.y = rows.z;
        }
    }
    let starts = rows * params.line;
    let end = params.pieces - 1u;

    var sums = vec4<f32>();
    var squares = 0.0;
    for (var k = lane; k < params.pieces; k += LANES * PLACES) {
        var v0 = values_at(k);
        if NORM {
            squares += square(v0);
            v0 = scaled(v0, k);
        }
        if ROWS == 4u {
            sums += vec4<f32>(
                product(starts.x, k, v0),
                product(starts.y, k, v0),
                product(starts.z, k, v0),
                product(starts.w, k, v0),
            );
        } else {
            // Places past the end read the last one, times zero.
            let k1 = min(k + LANES, end);
            var v1 = values_at(k1);
            if k + LANES > end {
                v1 = Values();
            }
            if NORM {
                squares += square(v1);
                v1 = scaled(v1, k1);
            }
            if ROWS == 2u {
                sums += vec4<f32>(
                    product(starts.x, k, v0),
                    product(starts.y, k, v0),
                    product(starts.x, k1, v1),
                    product(starts.y, k1, v1),
                );
            } else {
                let k2 = min(k + 2u * LANES, end);
                let k3 = min(k + 3u * LANES, end);
                var v2 = values_at(k2);
                var v3 = values_at(k3);
                if k + 2u * LANES > end {
                    v2 = Values();
                }
                if k + 3u * LANES > end {
                    v3 = Values();
                }
                if NORM {
                    squares += square(v2) + square(v3);
                    v2 = scaled(v2, k2);
                    v3 = scaled(v3, k3);
                }
                sums += vec4<f32>(
                    product(starts.x, k, v0),
                    product(starts.x, k1, v1),
                    product(starts.x, k2, v2),
                    product(starts.x, k3, v3),
                );
            }
        }
    }
    if ROWS == 1u {
        sums = vec4<f32>(sums.x + sums.y + sums.z + sums.w, 0.0, 0.0, squares);
    }
    if ROWS == 2u {
        sums = vec4<f32>(sums.xy + sums.zw, 0.0, squares);
    }
    sums = sum_lanes(sums, local);
    if NORM {
        var square = sums.w;
        if ROWS == 4u {
            square = sum_lanes(vec4<f32>(squares), local).x;
        }
        sums *= inverseSqrt(square / f32(params.width) + params.eps);
    }
    if lane != 0u {
        return;
    }
    if BIAS {
        let places = params.first + rows;
        sums += vec4<f32>(bias[places.x], bias[places.y], bias[places.z], bias[places.w]);
    }
    if ACTIVATED {
        sums = vec4<f32>(activate(sums.xy), activate(sums.zw));
    }
    if GATED {
        let ups = select(sums.zw, sums.yy, ROWS == 2u);
        sums = vec4<f32>(activate(sums.xy) * ups, 0.0, 0.0);
    }
    put(row, sums.x);
    if OUTPUTS > 1u {
        put(row + 1u, sums.y);
    }
    if OUTPUTS > 2u {
        put(row + 2u, sums.z);
        put(row + 3u, sums.w);
    }
}

fn put(row: u32, value: f32) {
    if row >= params.rows {
        return;
    }
    let i = params.first + row;
    if ADD {
        y[i] += value;
    } else {
        y[i] = value;
    }
}
