// What the matrix-vector product takes of a row at a time: eight integers, which share a scale.
alias Piece = u32;

fn product(start: u32, piece: u32, v: Values) -> f32 {
    let group = group_at(start, piece / params.group);
    let sum = dot(integers_at(start, 2u * piece), v[0]) + dot(integers_at(start, 2u * piece + 1u), v[1]);
    // The same for every row.
    let of_x = dot(v[0] + v[1], vec4<f32>(1.0));
    return (sum - group.y * of_x) * group.x;
}
