// What the matrix-vector product takes of a row at a time: two quads of two words each, in one read of 16 bytes.
alias Piece = vec4<u32>;

fn product(start: u32, piece: u32, v: Values) -> f32 {
    let w = weight[start + piece];
    return dot(widen(w.xy), v[0]) + dot(widen(w.zw), v[1]);
}
