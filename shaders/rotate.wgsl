// Quads of the heads of one token's row of qkv, as they are and rotated.
fn quad(at: u32) -> vec4<f32> {
    return vec4<f32>(qkv[at], qkv[at + 1u], qkv[at + 2u], qkv[at + 3u]);
}

// Quad `q` of the head at `at`. Of the first ROTARY elements, a multiple of 8, each has its partner half of them away, or where
// NEIGHBOURS beside it.
// Where the head is normalised, 1/rms is common to all of it and left to the caller; `weighted` has the norm's weights.
fn rotated(at: u32, q: u32) -> vec4<f32> {
    let half = ROTARY / 8u;
    let mine = weighted(at + 4u * q);
    if q >= 2u * half {
        return mine;
    }
    if NEIGHBOURS {
        let r = params.angles_first + 2u * q;
        let cosines = vec2<f32>(step.rope[r].x, step.rope[r + 1u].x);
        let sines = vec2<f32>(step.rope[r].y, step.rope[r + 1u].y);
        return mine * cosines.xxyy + vec4<f32>(-mine.y, mine.x, -mine.w, mine.z) * sines.xxyy;
    }
    let r = params.angles_first + 4u * (q % max(half, 1u));
    let cosine = vec4<f32>(step.rope[r].x, step.rope[r + 1u].x, step.rope[r + 2u].x, step.rope[r + 3u].x);
    let sine = vec4<f32>(step.rope[r].y, step.rope[r + 1u].y, step.rope[r + 2u].y, step.rope[r + 3u].y);
    if q < half {
        return mine * cosine - weighted(at + 4u * (q + half)) * sine;
    }
    return mine * cosine + weighted(at + 4u * (q - half)) * sine;
}

// The square of a quad's length.
fn square(at: u32) -> f32 {
    let v = quad(at);
    return dot(v, v);
}

fn packed(v: vec4<f32>) -> vec2<u32> {
    return vec2<u32>(pack_halves(v.xy), pack_halves(v.zw));
}
