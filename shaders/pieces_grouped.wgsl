// What the matrix-vector product takes of a row at a time: eight integers, which share a scale.
alias Piece = u32;

fn product(start: u32, piece: u32, v: Values) -> f32 {
    let group = group_at(start, piece / params.group);
    let sums = dot(integers_at(start, 2u * piece) - group.y, v[0]) + dot(integers_at(start, 2u * piece + 1u) - group.y, v[1]);
    return sums * group.x;
}
