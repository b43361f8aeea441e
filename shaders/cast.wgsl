// Brings raw checkpoint elements from the staging buffer to where and how the kernels read them.
//
// FROM and TO: 0 float32, 1 float16, 2 bfloat16. Rows of the target are padded with zeros to its stride. An invocation
// writes one word: one float32, or two of the others.

struct Params {
    cols: u32,      // elements of a source row
    stride: u32,    // elements of a target row
    words: u32,     // words to write
    to: u32,        // first word in the target
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read_write> target_words: array<u32>;

fn bits(e: u32) -> u32 {
    return (source[e / 2u] >> ((e & 1u) * 16u)) & 0xffffu;
}

fn element(row: u32, col: u32) -> f32 {
    if col >= params.cols {
        return 0.0;
    }
    let e = row * params.cols + col;
    if FROM == 0u {
        return bitcast<f32>(source[e]);
    }
    if FROM == 1u {
        return unpack2x16float(bits(e)).x;
    }
    return bitcast<f32>(bits(e) << 16u);
}

// Rounds to nearest, ties to even, as torch does.
fn to_bf16(v: f32) -> u32 {
    let b = bitcast<u32>(v);
    return (b + 0x7fffu + ((b >> 16u) & 1u)) >> 16u;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let word = (group.y * groups.x + group.x) * WORKGROUP + local;
    if word >= params.words {
        return;
    }
    if TO == 0u {
        target_words[params.to + word] = bitcast<u32>(element(word / params.stride, word % params.stride));
        return;
    }
    let e = word * 2u;
    let row = e / params.stride;
    let col = e % params.stride;
    let a = element(row, col);
    let b = element(row, col + 1u);
    if TO == 1u {
        target_words[params.to + word] = pack_halves(vec2<f32>(a, b));
    } else {
        target_words[params.to + word] = to_bf16(a) | (to_bf16(b) << 16u);
    }
}
