//! A safetensors file.
#![no_main]

use layerline::checkpoint::CatalogOptions;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    layerline_fuzz::open(&[("model.safetensors", data)], &CatalogOptions::default());
});
