//! Checkpoint formats: names → (dtype, shape, where the bytes are).

mod catalog;
mod error;
mod header;
mod index;
mod locate;

pub use catalog::{Catalog, CatalogOptions, CheckpointFile, TensorInfo};
pub use error::{CheckpointError, HeaderFault, IndexFault};
