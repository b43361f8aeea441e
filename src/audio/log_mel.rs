//! Samples → a log-mel spectrogram, as transformers' `WhisperFeatureExtractor` makes it.

use super::AudioError;
use super::fourier::{Complex, Fourier};
use super::mel::{Band, bands};
use crate::config::FeatureExtractorConfig;

/// The least power of a band, where silence would have a logarithm of minus infinity.
const LEAST_POWER: f64 = 1e-10;
/// Nothing is quieter than the loudest by more than so many powers of ten.
const RANGE: f32 = 8.0;

/// A spectrogram as Whisper's encoder takes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Spectrogram {
    /// Mel bands.
    pub bands: usize,
    /// Frames.
    pub frames: usize,
    /// [bands][frames]: (log₁₀ of the power + 4) / 4, at most 2 below the loudest.
    pub data: Vec<f32>,
}

/// Makes spectrograms of one shape. What doesn't depend on the audio is made once.
#[derive(Debug)]
pub struct LogMel {
    config: FeatureExtractorConfig,
    /// Hann's window, periodic.
    window: Vec<f64>,
    fourier: Fourier,
    bands: Vec<Band>,
}

impl LogMel {
    /// For the features that `config` describes.
    pub fn new(config: &FeatureExtractorConfig) -> LogMel {
        let length = config.n_fft;
        let hann = |at: usize| 0.5 - 0.5 * (std::f64::consts::TAU * at as f64 / length as f64).cos();
        LogMel {
            config: config.clone(),
            window: (0..length).map(hann).collect(),
            fourier: Fourier::new(length),
            bands: bands(config.feature_size, length / 2 + 1, config.sampling_rate),
        }
    }

    /// The spectrogram of mono audio at the config's sampling rate: padded, or cut, to `chunk_length` seconds.
    ///
    /// # Errors
    /// [`AudioError::Sample`] where a sample is not finite.
    pub fn extract(&mut self, samples: &[f32]) -> Result<Spectrogram, AudioError> {
        if let Some((index, value)) = samples.iter().enumerate().find(|(_, sample)| !sample.is_finite()) {
            return Err(AudioError::Sample { index, value: *value });
        }
        let (bands, frames) = (self.bands.len(), self.config.frames());
        let logs = self.logs(&self.padded(samples), frames);
        let loudest = logs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let least = loudest - RANGE;
        let mut data = Vec::with_capacity(logs.len());
        for band in 0..bands {
            data.extend(logs.iter().skip(band).step_by(bands).map(|log| (log.max(least) + 4.0) / 4.0));
        }
        Ok(Spectrogram { bands, frames, data })
    }

    /// A chunk with half a frame more at both ends, mirrored at the first and the last sample.
    fn padded(&self, samples: &[f32]) -> Vec<f32> {
        let (length, half) = (self.config.samples(), self.config.n_fft / 2);
        let mut chunk: Vec<f32> = samples.iter().copied().take(length).collect();
        chunk.resize(length, self.config.padding_value);
        let before = chunk.iter().skip(1).take(half).rev();
        let after = chunk.iter().rev().skip(1).take(half);
        before.chain(&chunk).chain(after).copied().collect()
    }

    /// [frames][bands]: log₁₀ of the power.
    fn logs(&mut self, padded: &[f32], frames: usize) -> Vec<f32> {
        let length = self.config.n_fft;
        let mut pair = Complex::zeros(length);
        let mut spectrum = Complex::zeros(length);
        let mut logs = Vec::with_capacity(frames * self.bands.len());
        let mut windows = padded.windows(length).step_by(self.config.hop_length).take(frames);
        // Two frames of real numbers are one of complex ones.
        while let Some(first) = windows.next() {
            let second = windows.next();
            self.weigh(first, &mut pair.re);
            self.weigh(second.unwrap_or_default(), &mut pair.im);
            if pair.re.iter().chain(&pair.im).any(|sample| *sample != 0.0) {
                self.fourier.transform(&pair, &mut spectrum);
            } else {
                // Most of a short text's chunk is silence.
                spectrum.re.fill(0.0);
                spectrum.im.fill(0.0);
            }
            let [one, other] = powers(&spectrum);
            logs.extend(self.bands.iter().map(|band| log(band.power(&one))));
            if second.is_some() {
                logs.extend(self.bands.iter().map(|band| log(band.power(&other))));
            }
        }
        logs
    }

    /// The frame as the window lets it through; zeros for one that isn't there.
    fn weigh(&self, frame: &[f32], into: &mut [f64]) {
        into.fill(0.0);
        for ((sample, weight), to) in frame.iter().zip(&self.window).zip(into) {
            *to = f64::from(*sample) * weight;
        }
    }
}

fn log(power: f64) -> f32 {
    power.max(LEAST_POWER).log10() as f32
}

/// The power at each frequency up to the middle of the two frames that were transformed as one, the first as its real
/// part and the second as its imaginary: a real frame's spectrum is conjugate at mirrored frequencies.
fn powers(spectrum: &Complex) -> [Vec<f64>; 2] {
    let count = spectrum.re.len() / 2 + 1;
    // The mirror of frequency 0 is itself, then come the last ones.
    let mirrored = |part: &[f64]| part.iter().take(1).chain(part.iter().rev()).take(count).copied().collect::<Vec<_>>();
    let (mirror_re, mirror_im) = (mirrored(&spectrum.re), mirrored(&spectrum.im));
    let numbers = spectrum.re.iter().zip(&spectrum.im).zip(mirror_re.iter().zip(&mirror_im));
    let (first, second) = numbers
        .map(|((re, im), (mirror_re, mirror_im))| {
            let square = |a: f64, b: f64| (a * a + b * b) / 4.0;
            (square(re + mirror_re, im - mirror_im), square(im + mirror_im, re - mirror_re))
        })
        .unzip();
    [first, second]
}

#[cfg(test)]
#[path = "log_mel_tests.rs"]
mod tests;
