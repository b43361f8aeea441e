// y[t] = c[t] · (Σₖ weight[k] · (b · x)[t + k + 1 - TAPS] + bias), channel by channel: a gated convolution over a token and the
// TAPS - 1 before it. A row of bcx is [b | c | x]. Products b · x of tokens that ran before come from the cache, and those of
// these tokens go there, as packed halves: of each position the first half of the channels lies in the keys, the second in the
// values. An invocation takes two neighbouring channels of a token, a word of the cache.

struct Params {
    width: u32,     // channels
    x_stride: u32,  // a row of bcx
    y_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> bcx: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;    // [width][TAPS]
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> keys: array<u32>;
@group(0) @binding(5) var<storage, read_write> values: array<u32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;
@group(0) @binding(7) var<storage, read> step: Step;

// As the cache will have it, so that it doesn't matter which tokens run together.
fn product(token: u32, channel: u32) -> u32 {
    let b = token * params.x_stride + channel;
    let x = b + 2u * params.width;
    return pack_halves(vec2<f32>(bcx[b] * bcx[x], bcx[b + 1u] * bcx[x + 1u]));
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let channel = 2u * (group.x * WORKGROUP + local);
    let token = group.y;
    if channel >= params.width || token >= step.tokens {
        return;
    }
    let half = params.width / 2u;
    let in_keys = channel < half;
    // The pair's word of a position.
    let word = (channel % half) / 2u;
    let words = half / 2u;
    let own = product(token, channel);
    var sum = vec2<f32>();
    if BIAS {
        sum = vec2<f32>(bias[channel], bias[channel + 1u]);
    }
    for (var k = 0u; k < TAPS; k++) {
        let back = TAPS - 1u - k;
        var packed = 0u;
        if back == 0u {
            packed = own;
        } else if back <= token {
            packed = product(token - back, channel);
        } else if back <= step.position + token {
            let at = (step.position + token - back) * words + word;
            if in_keys {
                packed = keys[at];
            } else {
                packed = values[at];
            }
        }
        let tap = vec2<f32>(weight[channel * TAPS + k], weight[(channel + 1u) * TAPS + k]);
        sum += tap * unpack2x16float(packed);
    }
    let at = (step.position + token) * words + word;
    if in_keys {
        keys[at] = own;
    } else {
        values[at] = own;
    }
    let c = token * params.x_stride + params.width + channel;
    y[token * params.y_stride + channel] = bcx[c] * sum.x;
    y[token * params.y_stride + channel + 1u] = bcx[c + 1u] * sum.y;
}
