// What both forms of the matrix product read, and how they write.

struct Params {
    rows: u32,      // columns of Y that this weight gives
    quads: u32,     // a row of W, and of X, in quads
    first: u32,     // the first of these columns in Y
    stride: u32,    // a row of Y
    line: u32,      // from one row of W to the next, in quads; of integers, in words
    words: u32,     // of integers: words of a row's integers,
    group: u32,     // quads that share a scale,
    groups: u32,    // and scales of a row
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weight: array<Quad>;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read> step: Step;

// One element of Y: with BIAS, plus the bias; with ADD, added to what is there.
fn put(m: u32, n: u32, value: f32) {
    if n >= params.rows {
        return;
    }
    var v = value;
    if BIAS {
        v += bias[params.first + n];
    }
    let i = m * params.stride + params.first + n;
    if ADD {
        v += y[i];
    }
    y[i] = v;
}
