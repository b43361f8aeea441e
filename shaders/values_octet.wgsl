// Eight elements of x at a time.
alias Values = mat2x4<f32>;

fn values_at(piece: u32) -> Values {
    return Values(x[2u * piece], x[2u * piece + 1u]);
}

fn scaled(v: Values, piece: u32) -> Values {
    return Values(v[0] * norm[2u * piece], v[1] * norm[2u * piece + 1u]);
}

fn square(v: Values) -> f32 {
    return dot(v[0], v[0]) + dot(v[1], v[1]);
}
