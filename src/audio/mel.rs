//! Mel bands: triangles over a spectrum's frequencies, by Slaney's scale and norm, as transformers' `mel_filter_bank`.

/// Whisper's bands end at 8 kHz, whatever the sampling rate.
const MAX_FREQUENCY: f64 = 8_000.0;
/// Up to 1 kHz the scale is linear, 15 mels in all; above, 27 mels are a factor of 6.4.
const LINEAR_HERTZ: f64 = 1_000.0;
const LINEAR_MELS: f64 = 15.0;

/// One band: how much each of the frequencies from `first` on counts in it.
#[derive(Debug)]
pub(super) struct Band {
    first: usize,
    weights: Vec<f64>,
}

impl Band {
    /// The band's power. `spectrum` has the power at each frequency.
    pub(super) fn power(&self, spectrum: &[f64]) -> f64 {
        self.weights.iter().zip(spectrum.iter().skip(self.first)).map(|(weight, power)| weight * power).sum()
    }
}

/// `count` bands over `frequencies` ones, at least 2, which are spaced evenly from 0 to half the sampling rate.
pub(super) fn bands(count: usize, frequencies: usize, sampling_rate: usize) -> Vec<Band> {
    let last = hertz_to_mel(MAX_FREQUENCY);
    let corner = |at: usize| mel_to_hertz(last * at as f64 / (count + 1) as f64);
    let highest = (sampling_rate / 2) as f64;
    let hertz = |at: usize| highest * at as f64 / (frequencies - 1) as f64;
    let band = |at: usize| {
        let (from, middle, to) = (corner(at), corner(at + 1), corner(at + 2));
        // So that each has about the same energy.
        let norm = 2.0 / (to - from);
        let weight = |hertz: f64| ((hertz - from) / (middle - from)).min((to - hertz) / (to - middle)).max(0.0) * norm;
        let inside = |hertz: f64| weight(hertz) > 0.0;
        let first = (0..frequencies).position(|at| inside(hertz(at))).unwrap_or(frequencies);
        let weights = (first..frequencies).map(|at| weight(hertz(at))).take_while(|weight| *weight > 0.0).collect();
        Band { first, weights }
    };
    (0..count).map(band).collect()
}

fn hertz_to_mel(hertz: f64) -> f64 {
    if hertz < LINEAR_HERTZ {
        return hertz * LINEAR_MELS / LINEAR_HERTZ;
    }
    LINEAR_MELS + (hertz / LINEAR_HERTZ).ln() * 27.0 / 6.4f64.ln()
}

fn mel_to_hertz(mels: f64) -> f64 {
    if mels < LINEAR_MELS {
        return mels * LINEAR_HERTZ / LINEAR_MELS;
    }
    LINEAR_HERTZ * ((mels - LINEAR_MELS) * 6.4f64.ln() / 27.0).exp()
}
