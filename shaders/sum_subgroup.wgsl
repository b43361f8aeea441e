// Sums over the LANES neighbouring invocations that share a row. LANES is a power of two and at most the subgroup's
// size, so no barrier is needed.
fn sum_lanes(value: vec4<f32>, local: u32) -> vec4<f32> {
    var v = value;
    for (var step = 1u; step < LANES; step <<= 1u) {
        v += subgroupShuffleXor(v, step);
    }
    return v;
}
