// What changes from run to run.
struct Step {
    tokens: u32,    // how many run
    position: u32,  // of the first of them
    memory: u32,    // tokens that an encoder has read
    pad: u32,
    // (cos, sin) of each token and each pair of elements, made on the CPU in double precision: the sine of a large
    // angle is not to be trusted to a shader.
    rope: array<vec2<f32>>,
}

