//! What `flax.serialization` writes.
#![no_main]

use layerline::checkpoint::CatalogOptions;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let options = CatalogOptions { from_flax: true, ..Default::default() };
    layerline_fuzz::open(&[("flax_model.msgpack", data)], &options);
});
