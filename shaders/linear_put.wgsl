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
