//! Reaching a repo's files: URLs, pinned revisions, ranges.

mod repo;

pub use repo::{ByteStream, Repo};

/// Why a repo's files could not be reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The repo has no such file.
    #[error("{repo} does not appear to have a file named {path} at revision {revision}")]
    EntryNotFound {
        /// `org/name`
        repo: String,
        /// The commit or branch asked for.
        revision: String,
        /// The file's path in the repo.
        path: String,
    },
    /// The file is larger than its kind can sensibly be.
    #[error("{repo}: {path} is larger than {max_bytes} bytes, too large for what it should hold")]
    TooLarge {
        /// `org/name`
        repo: String,
        /// The file's path in the repo.
        path: String,
        /// The limit.
        max_bytes: u64,
    },
}

impl HubError {
    /// The stable code that JavaScript sees.
    pub fn code(&self) -> &'static str {
        match self {
            HubError::EntryNotFound { .. } => "ENTRY_NOT_FOUND",
            HubError::TooLarge { .. } => "TOO_LARGE",
        }
    }
}

/// A piece of a file. In a browser it stays in JavaScript's memory until it is written to the GPU.
#[derive(Debug, Clone)]
pub struct Chunk(#[cfg(target_arch = "wasm32")] js_sys::Uint8Array, #[cfg(not(target_arch = "wasm32"))] Vec<u8>);
