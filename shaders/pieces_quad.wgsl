// What the matrix-vector product takes of a row at a time: a quad.
alias Piece = Quad;
alias Values = vec4<f32>;

fn values_at(piece: u32) -> Values {
    return x[piece];
}

fn scaled(v: Values, piece: u32) -> Values {
    return v * norm[piece];
}

fn product(start: u32, piece: u32, v: Values) -> f32 {
    return dot(widen(weight[start + piece]), v);
}

fn square(v: Values) -> f32 {
    return dot(v, v);
}
