//! What the targets share: opening a checkpoint, and asserting that what was read of it can be true.

use layerline::checkpoint::{Catalog, CatalogOptions, Order};
use layerline::config::{Method, Quantization};
use layerline::hub::MemoryRepo;
use pollster::block_on;

/// Opens a repo of these files. Any error is fine; a catalog has to be true of the files.
pub fn open(files: &[(&str, &[u8])], options: &CatalogOptions) {
    let mut repo = MemoryRepo::new("fuzz");
    for (path, bytes) in files {
        repo.insert(*path, *bytes);
    }
    let catalog = match block_on(Catalog::open(&repo, options)) {
        Ok(catalog) => catalog,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    for (name, info) in &catalog.tensors {
        let size = catalog.files[info.file].size.expect("memory knows sizes");
        assert!(info.range.start <= info.range.end && info.range.end <= size, "{name}: {info:?} of {size}");
        if matches!(info.order, Order::RowMajor | Order::ColumnMajor) {
            let bits = info.shape.iter().map(|dim| *dim as u64).product::<u64>() * info.dtype.bits();
            assert_eq!(info.bytes() * 8, bits, "{name}: {info:?}");
        }
    }
    for method in [Method::CompressedTensors, Method::Gptq { zeros_less_one: true }, Method::Awq] {
        for symmetric in [true, false] {
            let quantization = Quantization { method, bits: 4, group: Some(32), symmetric };
            let _ = catalog.clone().group("fuzz", quantization);
        }
    }
}
