// RMSNorm of the queries and the keys of a row of qkv = [queries | keys | values], in place: a workgroup a group of WIDTH
// elements, which is one head, or all query heads, or all key heads.

struct Params {
    q_width: u32,   // elements of a group of queries
    k_width: u32,   // elements of a group of keys
    q_groups: u32,  // groups of queries; those of keys follow
    stride: u32,    // a row of qkv
    q_eps: f32,
    k_eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> qkv: array<f32>;
@group(0) @binding(2) var<storage, read> q_weight: array<f32>;
@group(0) @binding(3) var<storage, read> k_weight: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let is_key = group.x >= params.q_groups;
    let width = select(params.q_width, params.k_width, is_key);
    let keys = params.q_groups * params.q_width + (group.x - params.q_groups) * params.k_width;
    let start = group.y * params.stride + select(group.x * params.q_width, keys, is_key);
    var squares = 0.0;
    for (var i = local; i < width; i += WORKGROUP) {
        squares += qkv[start + i] * qkv[start + i];
    }
    let mean = sum_lanes(vec4<f32>(squares), local).x / f32(width);
    let scale = inverseSqrt(mean + select(params.q_eps, params.k_eps, is_key));
    for (var i = local; i < width; i += WORKGROUP) {
        var weight: f32;
        if is_key {
            weight = k_weight[i];
        } else {
            weight = q_weight[i];
        }
        qkv[start + i] *= scale * weight;
    }
}
