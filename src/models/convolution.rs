//! What makes rows of sound: two convolutions over frames, the second of which leaves half as many.

use super::declare::Declare;
use crate::Result;
use crate::config::{Activation, TransformerConfig};
use crate::tensor::ops::{Linear, Ops, Tensor};
use crate::weights::init::Init;
use crate::weights::spec::BlockSpec;

/// Frames that a convolution reads at a time.
const KERNEL: usize = 3;

/// What the convolutions read, and what they are called.
#[derive(Debug, Clone, Copy)]
pub struct ConvolutionNames {
    /// Numbers of a frame.
    pub channels: usize,
    /// The first.
    pub first: &'static str,
    /// The second, with a stride of two.
    pub second: &'static str,
}

/// Two convolutions, each followed by GELU.
pub(super) struct Convolutions {
    first: Linear,
    second: Linear,
}

impl Convolutions {
    /// Declares both; the first has a block of its own, for it runs over twice as many tokens as what comes behind it.
    pub fn declare(
        names: ConvolutionNames,
        config: &TransformerConfig,
        prefix: &str,
        declare: &mut Declare,
        blocks: &mut Vec<BlockSpec>,
    ) -> Convolutions {
        let (outputs, std) = (config.hidden_size, config.initializer_range);
        let mut one = |module: &str, channels: usize| {
            let name = format!("{prefix}{module}");
            let inputs = KERNEL * channels;
            let weight = declare.table(&name, outputs, inputs, Init::Normal { std, zero_row: None });
            declare.specs.shape(weight, vec![outputs, channels, KERNEL]);
            let bias = format!("{name}.bias");
            let bias = declare.vector(&bias, vec![(bias.clone(), outputs)], Init::Zeros);
            (name, Linear { weight, bias: Some(bias), inputs, outputs })
        };
        let (name, first) = one(names.first, names.channels);
        let (_, second) = one(names.second, outputs);
        // The second's are the next block's.
        let of_second = declare.block.split_off(2);
        blocks.push(declare.finish(name, &[]));
        declare.block = of_second;
        Convolutions { first, second }
    }

    /// Numbers of a row that the first reads: windows of three frames, `[channels][3]`.
    pub fn inputs(&self) -> usize {
        self.first.inputs
    }

    /// The first, over the windows that the caller gives.
    pub fn first(&self, ops: &mut dyn Ops) -> Result<Tensor> {
        let x = ops.features(self.first.inputs)?;
        ops.activated_linear(x, &self.first, Activation::Gelu)
    }

    /// The second, over twice as many rows as tokens run.
    pub fn second(&self, ops: &mut dyn Ops, x: Tensor) -> Result<Tensor> {
        let x = ops.unfold(x)?;
        ops.activated_linear(x, &self.second, Activation::Gelu)
    }
}

/// What the first convolution reads of a spectrogram, `[channels][frames]` as transformers' `input_features`: for each frame,
/// `[channels][3]`, its neighbours before and behind it beside it, zeros where there are none. `None` where the numbers aren't
/// whole channels.
pub fn windows(spectrogram: &[f32], channels: usize) -> Option<Vec<f32>> {
    let frames = spectrogram.len().checked_div(channels).filter(|frames| frames * channels == spectrogram.len())?;
    let mut windows = Vec::with_capacity(spectrogram.len() * KERNEL);
    for frame in 0..frames {
        for channel in spectrogram.chunks_exact(frames) {
            let at = |frame: Option<usize>| frame.and_then(|frame| channel.get(frame)).copied().unwrap_or(0.0);
            windows.extend([at(frame.checked_sub(1)), at(Some(frame)), at(Some(frame + 1))]);
        }
    }
    Some(windows)
}

#[cfg(test)]
mod tests {
    use super::windows;

    #[test]
    fn windows_are_of_neighbouring_frames() {
        let spectrogram = [1.0, 2.0, 3.0, 10.0, 20.0, 30.0];
        let expected =
            [[0.0, 1.0, 2.0, 0.0, 10.0, 20.0], [1.0, 2.0, 3.0, 10.0, 20.0, 30.0], [2.0, 3.0, 0.0, 20.0, 30.0, 0.0]];
        assert_eq!(windows(&spectrogram, 2).unwrap(), expected.concat());
        assert_eq!(windows(&spectrogram, 4), None);
        assert_eq!(windows(&spectrogram, 0), None);
    }
}
