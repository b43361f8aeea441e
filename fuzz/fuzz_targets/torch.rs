//! What `torch.save` writes: a zip archive around a pickle. An input may also be a bare pickle, which then lies in a
//! genuine archive's place for it.
#![no_main]

use layerline::checkpoint::CatalogOptions;

const ARCHIVE: &[u8] = include_bytes!("../../tests/goldens/formats/bin/pytorch_model.bin");
/// Where its `data.pkl` lies.
const PICKLE: std::ops::Range<usize> = 64..1283;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if data.starts_with(b"\x80\x02") && !data.starts_with(b"\x80\x02\x8a\x0a") && data.len() <= PICKLE.len() {
        let mut archive = ARCHIVE.to_vec();
        archive[PICKLE][..data.len()].copy_from_slice(data);
        layerline_fuzz::open(&[("pytorch_model.bin", &archive)], &CatalogOptions::default());
    } else {
        layerline_fuzz::open(&[("pytorch_model.bin", data)], &CatalogOptions::default());
    }
});
