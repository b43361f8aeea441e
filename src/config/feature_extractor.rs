//! `preprocessor_config.json` of models that hear: transformers' WhisperFeatureExtractor.

use super::ConfigError;
use super::fields::Fields;
use super::model::parse_object;

/// Bounds of what is held in memory while features are made: samples of a chunk, numbers of a spectrogram, and the
/// largest transform, whose table is its square where it has no divisors.
const MOST_SAMPLES: usize = 1 << 26;
const MOST_FEATURES: usize = 1 << 26;
const LARGEST_FFT: usize = 2048;

/// How audio becomes a spectrogram, under transformers' names; what isn't said is as transformers has it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FeatureExtractorConfig {
    /// Mel bands: rows of the spectrogram. Default 80.
    pub feature_size: usize,
    /// Samples a second. Default 16 000.
    pub sampling_rate: usize,
    /// Samples from one frame to the next. Default 160.
    pub hop_length: usize,
    /// Seconds to which audio is padded or cut. Default 30.
    pub chunk_length: usize,
    /// Samples of a frame. Default 400.
    pub n_fft: usize,
    /// The sample that audio is padded with. Default 0.
    pub padding_value: f32,
}

impl FeatureExtractorConfig {
    /// Parses `json`; `file` is what messages call it.
    ///
    /// # Errors
    /// [`ConfigError`]: not an object, a value of another type, one that no audio can have (a frame longer than what is
    /// mirrored at the ends), or one that isn't supported: another class, dither (which is random), or a size beyond
    /// what memory has room for.
    pub fn from_json(file: &str, json: &[u8]) -> Result<FeatureExtractorConfig, ConfigError> {
        let (_, object) = parse_object(file, json)?;
        let fields = Fields::new(file, &object);
        if fields.text("feature_extractor_type")?.is_some_and(|class| class != "WhisperFeatureExtractor") {
            return Err(fields.unsupported("feature_extractor_type", "WhisperFeatureExtractor"));
        }
        if fields.number("dither")?.is_some_and(|dither| dither != 0.0) {
            return Err(fields.unsupported("dither", "0"));
        }
        let config = FeatureExtractorConfig {
            feature_size: fields.count("feature_size")?.unwrap_or(80),
            sampling_rate: fields.count("sampling_rate")?.unwrap_or(16_000),
            hop_length: fields.count("hop_length")?.unwrap_or(160),
            chunk_length: fields.count("chunk_length")?.unwrap_or(30),
            n_fft: fields.count("n_fft")?.unwrap_or(400),
            padding_value: fields.number("padding_value")?.unwrap_or(0.0) as f32,
        };
        config.check(&fields)?;
        Ok(config)
    }

    fn check(&self, fields: &Fields<'_>) -> Result<(), ConfigError> {
        if !(2..=LARGEST_FFT).contains(&self.n_fft) {
            return Err(fields.unsupported("n_fft", format!("2 to {LARGEST_FFT}")));
        }
        let samples = self.chunk_length.checked_mul(self.sampling_rate);
        let Some(samples) = samples.filter(|samples| *samples <= MOST_SAMPLES) else {
            return Err(fields.unsupported("chunk_length", format!("as many seconds as have {MOST_SAMPLES} samples")));
        };
        if self.n_fft / 2 >= samples {
            return Err(fields.invalid("n_fft", format!("less than twice the {samples} samples of a chunk")));
        }
        if self.frames() == 0 {
            return Err(fields.invalid("hop_length", format!("no more than the {samples} samples of a chunk")));
        }
        if self.frames().checked_mul(self.feature_size).is_none_or(|numbers| numbers > MOST_FEATURES) {
            let frames = self.frames();
            return Err(
                fields.unsupported("feature_size", format!("at most {MOST_FEATURES} numbers in {frames} frames"))
            );
        }
        if !self.padding_value.is_finite() {
            return Err(fields.invalid("padding_value", "a finite float32"));
        }
        Ok(())
    }

    /// Samples of a chunk.
    pub fn samples(&self) -> usize {
        self.chunk_length.saturating_mul(self.sampling_rate)
    }

    /// Frames of a chunk: columns of the spectrogram. Frames are centred on every `hop_length`th sample from the first
    /// on; the last of them is dropped, as Whisper does.
    pub fn frames(&self) -> usize {
        // Half a frame is mirrored at both ends: of an odd frame, one sample less than it has.
        let padded = self.samples() + self.n_fft / 2 * 2;
        padded.saturating_sub(self.n_fft) / self.hop_length.max(1)
    }
}

impl Default for FeatureExtractorConfig {
    /// Whisper's up to large-v2.
    fn default() -> Self {
        FeatureExtractorConfig {
            feature_size: 80,
            sampling_rate: 16_000,
            hop_length: 160,
            chunk_length: 30,
            n_fft: 400,
            padding_value: 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<FeatureExtractorConfig, ConfigError> {
        FeatureExtractorConfig::from_json("org/name: preprocessor_config.json", json.as_bytes())
    }

    #[test]
    fn what_is_not_said_is_as_transformers_has_it() {
        assert_eq!(parse("{}").unwrap(), FeatureExtractorConfig::default());
        let large = r#"{"chunk_length": 30, "dither": 0.0, "feature_extractor_type": "WhisperFeatureExtractor",
            "feature_size": 128, "hop_length": 160, "n_fft": 400, "n_samples": 480000, "nb_max_frames": 3000,
            "padding_side": "right", "padding_value": 0.0, "return_attention_mask": false, "sampling_rate": 16000}"#;
        assert_eq!(parse(large).unwrap(), FeatureExtractorConfig { feature_size: 128, ..Default::default() });
        assert_eq!((parse(large).unwrap().samples(), parse(large).unwrap().frames()), (480_000, 3000));
    }

    #[test]
    fn what_no_audio_can_have_or_memory_has_no_room_for_is_refused() {
        for (json, code, key) in [
            (r#"{"n_fft": 0}"#, "CONFIG_INVALID", "n_fft"),
            (r#"{"n_fft": 1}"#, "UNSUPPORTED_CONFIG", "n_fft"),
            (r#"{"n_fft": 4096}"#, "UNSUPPORTED_CONFIG", "n_fft"),
            (r#"{"chunk_length": 1, "sampling_rate": 200}"#, "CONFIG_INVALID", "n_fft"),
            (r#"{"chunk_length": 4294967295, "sampling_rate": 4294967295}"#, "UNSUPPORTED_CONFIG", "chunk_length"),
            (r#"{"hop_length": 480001}"#, "CONFIG_INVALID", "hop_length"),
            (r#"{"hop_length": 1, "feature_size": 4294967295}"#, "UNSUPPORTED_CONFIG", "feature_size"),
            (r#"{"padding_value": 1e300}"#, "CONFIG_INVALID", "padding_value"),
            (r#"{"dither": 0.001}"#, "UNSUPPORTED_CONFIG", "dither"),
            (
                r#"{"feature_extractor_type": "Wav2Vec2FeatureExtractor"}"#,
                "UNSUPPORTED_CONFIG",
                "feature_extractor_type",
            ),
        ] {
            let error = parse(json).unwrap_err();
            assert_eq!(error.code(), code, "{error}");
            assert!(error.to_string().contains(&format!("preprocessor_config.json: `{key}` is ")), "{error}");
        }
        assert_eq!(parse("[]").unwrap_err().code(), "CONFIG_INVALID");
    }
}
