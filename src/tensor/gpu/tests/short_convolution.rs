//! Gated convolutions over a few tokens against a float64 reference, on channels that fit no workgroup.

use super::*;
use crate::tensor::ops::ShortConvolution;

async fn convolve() {
    let random = &mut Random(51);
    for device in devices().await {
        for (width, taps, has_bias) in [(72, 3, false), (200, 4, true), (8, 1, true)] {
            for (mode, tokens, position) in
                [(Mode::Prefill, 37, 0), (Mode::Prefill, 5, 2), (Mode::Decode, 1, 0), (Mode::Decode, 1, 19)]
            {
                let mut case = Case::new(&device, tokens, mode);
                case.position = position;
                let weight = case.weight(random, width * taps, 1, Storage::F32);
                let bias = has_bias.then(|| case.weight(random, width, 1, Storage::F32));
                let convolution = ShortConvolution { layer: 0, width, taps, weight, bias };
                let half = width / 2;
                let before = |random: &mut Random| random.values(position * half).into_iter();
                case.cache = [0, 1].map(|_| before(random).map(|v| kept(v, Storage::F16)).collect());
                let bcx = random.values(tokens * 3 * width);
                let bytes = (position + tokens) * half * 2;
                let op = |ops: &mut Recorder<'_>, x| ops.short_convolution(x, &convolution).unwrap();
                let ran = case.run(&bcx, 3 * width, bytes, &[], &[], op).await;

                let at = |token: usize, part: usize, channel: usize| bcx[(token * 3 + part) * width + channel];
                let product = |at_position: usize, channel: usize| match at_position.checked_sub(position) {
                    Some(token) => kept(at(token, 0, channel) * at(token, 2, channel), Storage::F16),
                    None => case.cache[channel / half][at_position * half + channel % half],
                };
                for (which, found) in [&ran.keys, &ran.values].into_iter().enumerate() {
                    let channels = which * half..(which + 1) * half;
                    let all = (0..position + tokens).flat_map(|position| channels.clone().map(move |c| (position, c)));
                    let expected: Vec<_> = all.map(|(position, c)| (f64::from(product(position, c)), 0.0)).collect();
                    close("products", found, &expected);
                }
                let value = |id: WeightId, at: usize| f64::from(case.weights[id.0].values[at]);
                let mut expected = Vec::new();
                for (token, channel) in (0..tokens).flat_map(|token| (0..width).map(move |channel| (token, channel))) {
                    let own = position + token;
                    let seen = (0..taps.min(own + 1)).map(|back| {
                        value(weight, channel * taps + taps - 1 - back) * f64::from(product(own - back, channel))
                    });
                    let sum = bias.map_or(0.0, |bias| value(bias, channel)) + seen.sum::<f64>();
                    expected.push((sum * f64::from(at(token, 1, channel)), 2e-6));
                }
                close(&format!("{convolution:?} of {tokens} at {position}"), &ran.y, &expected);
            }
        }
    }
}
device_test!(short_convolutions_equal_float64, convolve());
