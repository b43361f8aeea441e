// Two float16 in a word, rounded to nearest, ties to even, as torch does: pack2x16float may truncate.
fn pack_halves(v: vec2<f32>) -> u32 {
    let b = bitcast<vec2<u32>>(clamp(v, vec2<f32>(-65504.0), vec2<f32>(65504.0)));
    let normal = bitcast<vec2<f32>>((b + vec2<u32>(0xfffu) + ((b >> vec2<u32>(13u)) & vec2<u32>(1u))) & vec2<u32>(0xffffe000u));
    // Below float16's normal range its steps are all 2^-24.
    let small = round(v * 16777216.0) / 16777216.0;
    return pack2x16float(select(normal, small, abs(v) < vec2<f32>(6.103515625e-5)));
}
