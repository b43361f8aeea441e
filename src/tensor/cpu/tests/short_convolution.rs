//! Gated convolutions over a few tokens against a float64 reference, a text in parts.

use super::*;
use crate::tensor::ops::ShortConvolution;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn short_convolutions_equal_float64() {
    let mut random = Random(51);
    let half = |value: f32| f64::from(f16::from_f32(value).to_f32());
    for (width, taps, has_bias) in [(72, 3, false), (24, 4, true), (8, 1, true)] {
        let mut weights = Weights::default();
        let weight = weights.vector(&mut random, width * taps);
        let bias = has_bias.then(|| weights.vector(&mut random, width));
        let convolution = ShortConvolution { layer: 1, width, taps, weight, bias };
        let mut memory = Memory::default();
        memory.reserve(1, 9, width / 2).unwrap();
        let bcx = random.values(9 * 3 * width);
        let at = |token: usize, part: usize, channel: usize| bcx[(token * 3 + part) * width + channel];
        for tokens in [0..1, 1..6, 6..7, 7..9] {
            let ran = Ran { position: tokens.start, ..Ran::default() };
            let rows = &bcx[tokens.start * 3 * width..tokens.end * 3 * width];
            let op = |ops: &mut Executor<'_>, x| ops.short_convolution(x, &convolution).unwrap();
            let y = weights.run(&mut memory, rows, 3 * width, ran, op);
            let mut expected = Vec::new();
            for (token, channel) in tokens.flat_map(|token| (0..width).map(move |channel| (token, channel))) {
                let seen = (0..taps.min(token + 1)).map(|back| {
                    let product = half(at(token - back, 0, channel) * at(token - back, 2, channel));
                    weights.value(weight, channel * taps + taps - 1 - back) * product
                });
                let sum = bias.map_or(0.0, |bias| weights.value(bias, channel)) + seen.sum::<f64>();
                expected.push(sum * f64::from(at(token, 1, channel)));
            }
            close(&y, &expected, 2e-6, "a short convolution");
        }
    }
}

#[test]
fn no_room_is_said() {
    let mut weights = Weights::default();
    let weight = weights.vector(&mut Random(52), 24);
    let convolution = ShortConvolution { layer: 0, width: 8, taps: 3, weight, bias: None };
    let mut memory = Memory::default();
    let op = |ops: &mut Executor<'_>, x| {
        let refused = ops.short_convolution(x, &convolution).unwrap_err().to_string();
        assert_eq!(refused, "the CPU can't compute layer 0, which has no cache");
        x
    };
    weights.run(&mut memory, &[0.0; 24], 24, Ran::default(), op);
    memory.reserve(0, 1, 4).unwrap();
    let op = |ops: &mut Executor<'_>, x| {
        let refused = ops.short_convolution(x, &convolution).unwrap_err().to_string();
        assert_eq!(refused, "the CPU can't compute a convolution of 2 positions of 8 channels");
        x
    };
    weights.run(&mut memory, &[0.0; 48], 24, Ran::default(), op);
}
