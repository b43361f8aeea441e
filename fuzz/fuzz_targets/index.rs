//! An index, beside the shards that the seeds name.
#![no_main]

use layerline::checkpoint::CatalogOptions;

const SHARDS: [(&str, &[u8]); 3] = [
    (
        "pytorch_model-00001-of-00003.bin",
        include_bytes!("../../tests/goldens/formats/bin-sharded/pytorch_model-00001-of-00003.bin"),
    ),
    (
        "pytorch_model-00002-of-00003.bin",
        include_bytes!("../../tests/goldens/formats/bin-sharded/pytorch_model-00002-of-00003.bin"),
    ),
    (
        "pytorch_model-00003-of-00003.bin",
        include_bytes!("../../tests/goldens/formats/bin-sharded/pytorch_model-00003-of-00003.bin"),
    ),
];

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let [one, two, three] = SHARDS;
    layerline_fuzz::open(&[("pytorch_model.bin.index.json", data), one, two, three], &CatalogOptions::default());
});
