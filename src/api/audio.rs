//! Spectrograms for JavaScript.

use js_sys::Object;
use wasm_bindgen::prelude::*;

use super::array::array;
use super::error::thrown;
use crate::audio::LogMel;
use crate::config::FeatureExtractorConfig;

/// Makes log-mel spectrograms as a repo's `preprocessor_config.json` says.
#[wasm_bindgen]
pub struct FeatureExtractor {
    log_mel: LogMel,
    config: FeatureExtractorConfig,
}

#[wasm_bindgen]
impl FeatureExtractor {
    /// Of the text of a `preprocessor_config.json`.
    ///
    /// Throws `CONFIG_INVALID` and `UNSUPPORTED_CONFIG`.
    #[wasm_bindgen(constructor)]
    pub fn new(config: &str) -> Result<FeatureExtractor, JsValue> {
        let config =
            FeatureExtractorConfig::from_json("preprocessor_config.json", config.as_bytes()).map_err(thrown)?;
        Ok(FeatureExtractor { log_mel: LogMel::new(&config), config })
    }

    /// Samples a second.
    pub fn sampling_rate(&self) -> f64 {
        self.config.sampling_rate as f64
    }

    /// Seconds to which audio is padded or cut.
    pub fn chunk_length(&self) -> f64 {
        self.config.chunk_length as f64
    }

    /// The spectrogram of mono samples as `{ dims: [mels, frames], data }`.
    ///
    /// Throws `AUDIO` where a sample isn't finite.
    pub fn extract(&mut self, samples: &[f32]) -> Result<Object, JsValue> {
        let spectrogram = self.log_mel.extract(samples).map_err(thrown)?;
        array(&[spectrogram.bands, spectrogram.frames], &spectrogram.data)
    }
}
