// Y = X·Wᵀ for many tokens: a tiled matrix product.
//
// A workgroup makes TILE_M × TILE_N of Y, an invocation MICRO_M × MICRO_N quads squared of it, in registers. Both operands
// lie with their common dimension contiguous; blocks of 4 × 4 are turned on their way to workgroup memory, so that a read
// there gives four rows' elements of one k, and every multiply-add is an accumulation. The next tile's reads are on
// their way while this one is computed with.

const PITCH_M = TILE_M / 4u;
const PITCH_N = TILE_N / 4u;
const THREADS_M = PITCH_M / MICRO_M;
const THREADS_N = PITCH_N / MICRO_N;
const THREADS = THREADS_M * THREADS_N;
// Quads for one k: those of X, those of W, and one so that neighbouring ks start in different banks.
const PITCH = PITCH_M + PITCH_N + 1u;
const BLOCKS = (PITCH_M + PITCH_N) * TILE_K;
const BLOCKS_EACH = (BLOCKS + THREADS - 1u) / THREADS;

var<workgroup> tile: array<vec4<f32>, 4u * TILE_K * PITCH>;

// A 4 × 4 block, a column for each k: `q` counts its quad of rows in the tile, X's before W's, and `k` its quad along K.
fn block(m0: u32, n0: u32, q: u32, k: u32) -> mat4x4<f32> {
    if k >= params.quads {
        return mat4x4<f32>();
    }
    // Rows past the end repeat the last one; nothing is written for them.
    if q < PITCH_M {
        let rows = min(vec4<u32>(m0 + 4u * q) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(step.tokens - 1u));
        let at = rows * params.quads + k;
        return transpose(mat4x4<f32>(x[at.x], x[at.y], x[at.z], x[at.w]));
    }
    let rows = min(vec4<u32>(n0 + 4u * (q - PITCH_M)) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.rows - 1u));
    let at = rows * params.line;
    return transpose(mat4x4<f32>(weight_at(at.x, k), weight_at(at.y, k), weight_at(at.z, k), weight_at(at.w, k)));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let m0 = group.y * TILE_M;
    let n0 = group.x * TILE_N;
    // An invocation's quads lie THREADS_M or THREADS_N apart, so that neighbours read neighbouring quads.
    let tm = local / THREADS_N;
    let tn = local % THREADS_N;

    // acc[4i + r][j]: row r of the invocation's quad i of rows, quad j of columns.
    var acc: array<array<vec4<f32>, MICRO_N>, 4u * MICRO_M>;
    var next: array<mat4x4<f32>, BLOCKS_EACH>;
    for (var i = 0u; i < BLOCKS_EACH; i++) {
        let b = local + i * THREADS;
        next[i] = block(m0, n0, b / TILE_K, b % TILE_K);
    }
    for (var k0 = 0u; k0 < params.quads; k0 += TILE_K) {
        workgroupBarrier();
        for (var i = 0u; i < BLOCKS_EACH; i++) {
            let b = local + i * THREADS;
            if BLOCKS % THREADS == 0u || b < BLOCKS {
                let at = (b % TILE_K) * 4u * PITCH + b / TILE_K;
                tile[at] = next[i][0];
                tile[at + PITCH] = next[i][1];
                tile[at + 2u * PITCH] = next[i][2];
                tile[at + 3u * PITCH] = next[i][3];
            }
        }
        workgroupBarrier();
        if k0 + TILE_K < params.quads {
            for (var i = 0u; i < BLOCKS_EACH; i++) {
                let b = local + i * THREADS;
                next[i] = block(m0, n0, b / TILE_K, k0 + TILE_K + b % TILE_K);
            }
        }
        for (var k = 0u; k < 4u * TILE_K; k++) {
            var ws: array<vec4<f32>, MICRO_N>;
            for (var j = 0u; j < MICRO_N; j++) {
                ws[j] = tile[k * PITCH + PITCH_M + j * THREADS_N + tn];
            }
            for (var i = 0u; i < MICRO_M; i++) {
                let xs = tile[k * PITCH + i * THREADS_M + tm];
                for (var j = 0u; j < MICRO_N; j++) {
                    acc[4u * i][j] += xs.x * ws[j];
                    acc[4u * i + 1u][j] += xs.y * ws[j];
                    acc[4u * i + 2u][j] += xs.z * ws[j];
                    acc[4u * i + 3u][j] += xs.w * ws[j];
                }
            }
        }
    }
    for (var i = 0u; i < 4u * MICRO_M; i++) {
        let m = m0 + 4u * ((i / 4u) * THREADS_M + tm) + i % 4u;
        for (var j = 0u; j < MICRO_N; j++) {
            let n = n0 + 4u * (j * THREADS_N + tn);
            if m < step.tokens {
                put(m, n, acc[i][j].x);
                put(m, n + 1u, acc[i][j].y);
                put(m, n + 2u, acc[i][j].z);
                put(m, n + 3u, acc[i][j].w);
            }
        }
    }
}
