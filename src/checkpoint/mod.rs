//! Checkpoint formats: names → (dtype, shape, where the bytes are).

mod catalog;
mod entry;
mod error;
mod flax;
mod grouped;
mod header;
mod index;
mod locate;
mod safetensors;
mod torch;
mod window;

pub use catalog::{Catalog, CheckpointFile, TensorInfo};
pub use entry::Order;
pub use error::{CheckpointError, HeaderFault, IndexFault};
pub use flax::FlaxFault;
pub use grouped::GroupedTensors;
pub use locate::CatalogOptions;
pub use torch::TorchFault;

/// The first request for a file, as the Hub's clients make it: nearly all headers are shorter.
const FIRST_BYTES: u64 = 100_001;

// Natively only: they block on futures and read a folder.
#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod golden_tests;
#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod testing;
