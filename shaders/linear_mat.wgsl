// Y = X·Wᵀ for many tokens: a tiled matrix product.
//
// A workgroup makes TILE_M × TILE_N of Y, an invocation 4 × 4 of it. Both operands lie with their common dimension
// contiguous, so tiles go to workgroup memory as quads along it, without a transpose, and 8 quads read there give 64
// multiply-adds. Rows of a tile are one quad longer than needed: neighbouring rows then start in different banks.

const THREADS_M = TILE_M / 4u;
const THREADS_N = TILE_N / 4u;
const THREADS = THREADS_M * THREADS_N;
const PITCH = TILE_K + 1u;

var<workgroup> xs: array<vec4<f32>, TILE_M * PITCH>;
var<workgroup> ws: array<vec4<f32>, TILE_N * PITCH>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let m0 = group.y * TILE_M;
    let n0 = group.x * TILE_N;
    // An invocation's rows lie THREADS_M apart, so that neighbours read neighbouring rows of the tile.
    let tm = local / THREADS_N;
    let tn = local % THREADS_N;

    var acc0 = vec4<f32>();
    var acc1 = vec4<f32>();
    var acc2 = vec4<f32>();
    var acc3 = vec4<f32>();

    for (var k0 = 0u; k0 < params.quads; k0 += TILE_K) {
        for (var i = local; i < TILE_M * TILE_K; i += THREADS) {
            let m = m0 + i / TILE_K;
            let k = k0 + i % TILE_K;
            var v = vec4<f32>();
            if m < step.tokens && k < params.quads {
                v = x[m * params.quads + k];
            }
            xs[(i / TILE_K) * PITCH + i % TILE_K] = v;
        }
        for (var i = local; i < TILE_N * TILE_K; i += THREADS) {
            let n = n0 + i / TILE_K;
            let k = k0 + i % TILE_K;
            var v = vec4<f32>();
            if n < params.rows && k < params.quads {
                v = widen(weight[n * params.quads + k]);
            }
            ws[(i / TILE_K) * PITCH + i % TILE_K] = v;
        }
        workgroupBarrier();
        for (var k = 0u; k < TILE_K; k++) {
            let w0 = ws[tn * PITCH + k];
            let w1 = ws[(tn + THREADS_N) * PITCH + k];
            let w2 = ws[(tn + 2u * THREADS_N) * PITCH + k];
            let w3 = ws[(tn + 3u * THREADS_N) * PITCH + k];
            let x0 = xs[tm * PITCH + k];
            acc0 += vec4<f32>(dot(x0, w0), dot(x0, w1), dot(x0, w2), dot(x0, w3));
            let x1 = xs[(tm + THREADS_M) * PITCH + k];
            acc1 += vec4<f32>(dot(x1, w0), dot(x1, w1), dot(x1, w2), dot(x1, w3));
            let x2 = xs[(tm + 2u * THREADS_M) * PITCH + k];
            acc2 += vec4<f32>(dot(x2, w0), dot(x2, w1), dot(x2, w2), dot(x2, w3));
            let x3 = xs[(tm + 3u * THREADS_M) * PITCH + k];
            acc3 += vec4<f32>(dot(x3, w0), dot(x3, w1), dot(x3, w2), dot(x3, w3));
        }
        workgroupBarrier();
    }
    store(m0 + tm, n0 + tn, acc0);
    store(m0 + tm + THREADS_M, n0 + tn, acc1);
    store(m0 + tm + 2u * THREADS_M, n0 + tn, acc2);
    store(m0 + tm + 3u * THREADS_M, n0 + tn, acc3);
}

fn store(m: u32, n: u32, value: vec4<f32>) {
    if m >= step.tokens {
        return;
    }
    put(m, n, value.x);
    put(m, n + THREADS_N, value.y);
    put(m, n + 2u * THREADS_N, value.z);
    put(m, n + 3u * THREADS_N, value.w);
}
