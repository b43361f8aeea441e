// Y = X·Wᵀ for many tokens, for devices that are software: they run invocations one after the other, so workgroup memory
// and barriers cost there and save nothing. An invocation makes 8 × 8 of Y straight from both operands, in registers.

// Two quads: the eight columns of one row of the tile.
struct Row {
    a: vec4<f32>,
    b: vec4<f32>,
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let n = (group.x * WORKGROUP + local) * 8u;
    let m = group.y * 8u;
    if n >= params.rows {
        return;
    }
    // Rows past the end repeat the last one; nothing is written for them.
    let last_n = params.rows - 1u;
    let wa = params.line * min(vec4<u32>(n, n + 1u, n + 2u, n + 3u), vec4<u32>(last_n));
    let wb = params.line * min(vec4<u32>(n + 4u, n + 5u, n + 6u, n + 7u), vec4<u32>(last_n));
    let last_m = step.tokens - 1u;
    let xa = params.quads * min(vec4<u32>(m, m + 1u, m + 2u, m + 3u), vec4<u32>(last_m));
    let xb = params.quads * min(vec4<u32>(m + 4u, m + 5u, m + 6u, m + 7u), vec4<u32>(last_m));

    var r0: Row;
    var r1: Row;
    var r2: Row;
    var r3: Row;
    var r4: Row;
    var r5: Row;
    var r6: Row;
    var r7: Row;
    for (var k = 0u; k < params.quads; k++) {
        let w0 = weight_at(wa.x, k);
        let w1 = weight_at(wa.y, k);
        let w2 = weight_at(wa.z, k);
        let w3 = weight_at(wa.w, k);
        let w4 = weight_at(wb.x, k);
        let w5 = weight_at(wb.y, k);
        let w6 = weight_at(wb.z, k);
        let w7 = weight_at(wb.w, k);
        let x0 = x[xa.x + k];
        r0.a += vec4<f32>(dot(x0, w0), dot(x0, w1), dot(x0, w2), dot(x0, w3));
        r0.b += vec4<f32>(dot(x0, w4), dot(x0, w5), dot(x0, w6), dot(x0, w7));
        let x1 = x[xa.y + k];
        r1.a += vec4<f32>(dot(x1, w0), dot(x1, w1), dot(x1, w2), dot(x1, w3));
        r1.b += vec4<f32>(dot(x1, w4), dot(x1, w5), dot(x1, w6), dot(x1, w7));
        let x2 = x[xa.z + k];
        r2.a += vec4<f32>(dot(x2, w0), dot(x2, w1), dot(x2, w2), dot(x2, w3));
        r2.b += vec4<f32>(dot(x2, w4), dot(x2, w5), dot(x2, w6), dot(x2, w7));
        let x3 = x[xa.w + k];
        r3.a += vec4<f32>(dot(x3, w0), dot(x3, w1), dot(x3, w2), dot(x3, w3));
        r3.b += vec4<f32>(dot(x3, w4), dot(x3, w5), dot(x3, w6), dot(x3, w7));
        let x4 = x[xb.x + k];
        r4.a += vec4<f32>(dot(x4, w0), dot(x4, w1), dot(x4, w2), dot(x4, w3));
        r4.b += vec4<f32>(dot(x4, w4), dot(x4, w5), dot(x4, w6), dot(x4, w7));
        let x5 = x[xb.y + k];
        r5.a += vec4<f32>(dot(x5, w0), dot(x5, w1), dot(x5, w2), dot(x5, w3));
        r5.b += vec4<f32>(dot(x5, w4), dot(x5, w5), dot(x5, w6), dot(x5, w7));
        let x6 = x[xb.z + k];
        r6.a += vec4<f32>(dot(x6, w0), dot(x6, w1), dot(x6, w2), dot(x6, w3));
        r6.b += vec4<f32>(dot(x6, w4), dot(x6, w5), dot(x6, w6), dot(x6, w7));
        let x7 = x[xb.w + k];
        r7.a += vec4<f32>(dot(x7, w0), dot(x7, w1), dot(x7, w2), dot(x7, w3));
        r7.b += vec4<f32>(dot(x7, w4), dot(x7, w5), dot(x7, w6), dot(x7, w7));
    }
    store(m, n, r0);
    store(m + 1u, n, r1);
    store(m + 2u, n, r2);
    store(m + 3u, n, r3);
    store(m + 4u, n, r4);
    store(m + 5u, n, r5);
    store(m + 6u, n, r6);
    store(m + 7u, n, r7);
}

fn store(m: u32, n: u32, row: Row) {
    if m >= step.tokens {
        return;
    }
    store_quad(m, n, row.a);
    store_quad(m, n + 4u, row.b);
}

fn store_quad(m: u32, n: u32, value: vec4<f32>) {
    put(m, n, value.x);
    put(m, n + 1u, value.y);
    put(m, n + 2u, value.z);
    put(m, n + 3u, value.w);
}
