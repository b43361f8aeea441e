//! Reaching a repo's files: URLs, pinned revisions, ranges.

mod abort;
#[cfg(target_arch = "wasm32")]
mod blob;
// Natively only the tests have a transport, and so a repo to keep.
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code, unused_imports))]
pub mod cache;
mod chunk;
mod classify;
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
mod connection;
#[cfg(not(target_arch = "wasm32"))]
mod directory;
mod error;
#[cfg(target_arch = "wasm32")]
mod fetch;
#[cfg(target_arch = "wasm32")]
mod files_repo;
// Natively there is no transport but the tests': the rest compiles everywhere so that it is checked everywhere.
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
mod http;
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
mod hub_repo;
mod id;
#[cfg(target_arch = "wasm32")]
mod lending;
mod memory;
#[cfg(all(target_arch = "wasm32", feature = "engine"))]
mod online;
#[cfg(target_arch = "wasm32")]
mod reader;
mod repo;
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
mod retry;
mod stream;
#[cfg(target_arch = "wasm32")]
mod timer;
mod version;

pub use abort::Abort;
pub use chunk::Chunk;
pub use connection::Timeouts;
#[cfg(not(target_arch = "wasm32"))]
pub use directory::DirectoryRepo;
pub use error::HubError;
#[cfg(target_arch = "wasm32")]
pub use files_repo::FilesRepo;
pub use http::Traffic;
pub use hub_repo::{HubOptions, HubRepo};
pub(crate) use id::is_plain_path;
pub use memory::MemoryRepo;
#[cfg(all(target_arch = "wasm32", feature = "engine"))]
pub(crate) use online::OnOnline;
pub use repo::{ByteStream, Prefix, Repo};
#[cfg(all(target_arch = "wasm32", feature = "engine"))]
pub(crate) use timer::Timer;

// Natively only: it blocks on futures and reads a folder.
#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests;
