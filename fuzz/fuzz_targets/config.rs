//! `config.json` and `generation_config.json`.
#![no_main]

use layerline::config::{GenerationConfig, ModelConfig, Quantization};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(config) = ModelConfig::from_json("config.json", data) {
        let _ = config.model_type();
        let _ = config.dtype();
        let _ = Quantization::of(&config);
        let _ = GenerationConfig::from_model_config(&config);
    }
    let _ = GenerationConfig::from_json("generation_config.json", data);
});
