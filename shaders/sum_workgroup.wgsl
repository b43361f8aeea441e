// Sums over the LANES neighbouring invocations that share a row, through workgroup memory. LANES is a power of two.
var<workgroup> lanes_sum: array<vec4<f32>, WORKGROUP>;

fn sum_lanes(value: vec4<f32>, local: u32) -> vec4<f32> {
    lanes_sum[local] = value;
    for (var step = LANES >> 1u; step > 0u; step >>= 1u) {
        workgroupBarrier();
        // Lanes past `step` add what nobody reads; the neighbour's index stays inside the workgroup.
        let sum = lanes_sum[local] + lanes_sum[(local + step) % WORKGROUP];
        workgroupBarrier();
        lanes_sum[local] = sum;
    }
    workgroupBarrier();
    return lanes_sum[local - local % LANES];
}
