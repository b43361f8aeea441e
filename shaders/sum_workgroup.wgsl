// Sums over the LANES neighbouring invocations that share a row, through workgroup memory. LANES is a power of two.
var<workgroup> partial: array<vec4<f32>, WORKGROUP>;

fn sum_lanes(value: vec4<f32>, local: u32) -> vec4<f32> {
    partial[local] = value;
    for (var step = LANES >> 1u; step > 0u; step >>= 1u) {
        workgroupBarrier();
        // Lanes past `step` add what nobody reads; the neighbour's index stays inside the workgroup.
        let sum = partial[local] + partial[(local + step) % WORKGROUP];
        workgroupBarrier();
        partial[local] = sum;
    }
    workgroupBarrier();
    return partial[local - local % LANES];
}
