// The activations of gated and plain feed-forward layers, chosen by ACTIVATION.
fn activate(v: vec2<f32>) -> vec2<f32> {
    if ACTIVATION == 0u {
        return v / (1.0 + exp(-v)); // silu
    }
    if ACTIVATION == 1u {
        // gelu_pytorch_tanh; tanh overflows to NaN in some drivers where its argument is large
        let inner = 0.7978845608028654 * (v + 0.044715 * v * v * v);
        return 0.5 * v * (1.0 + tanh(clamp(inner, vec2<f32>(-10.0), vec2<f32>(10.0))));
    }
    if ACTIVATION == 2u {
        return 0.5 * v * (1.0 + erf(v * 0.7071067811865476)); // gelu
    }
    if ACTIVATION == 3u {
        return v / (1.0 + exp(-1.702 * v)); // quick_gelu
    }
    if ACTIVATION == 4u {
        return max(v, vec2<f32>()); // relu
    }
    if ACTIVATION == 6u {
        return max(v, vec2<f32>()) * max(v, vec2<f32>()); // relu2
    }
    return tanh(clamp(v, vec2<f32>(-10.0), vec2<f32>(10.0)));
}

// Abramowitz and Stegun 7.1.26: at most 1.5e-7 off.
fn erf(v: vec2<f32>) -> vec2<f32> {
    let t = 1.0 / (1.0 + 0.3275911 * abs(v));
    let poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return sign(v) * (1.0 - poly * exp(-v * v));
}
