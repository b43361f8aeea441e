// What the matrix-vector product takes of a row at a time: two quads of two words each, in one read of 16 bytes.
alias Piece = vec4<u32>;
alias Values = mat2x4<f32>;

fn values_at(piece: u32) -> Values {
    return Values(x[2u * piece], x[2u * piece + 1u]);
}

fn scaled(v: Values, piece: u32) -> Values {
    return Values(v[0] * norm[2u * piece], v[1] * norm[2u * piece + 1u]);
}

fn product(w: Piece, v: Values) -> f32 {
    return dot(widen(w.xy), v[0]) + dot(widen(w.zw), v[1]);
}

fn square(v: Values) -> f32 {
    return dot(v[0], v[0]) + dot(v[1], v[1]);
}
