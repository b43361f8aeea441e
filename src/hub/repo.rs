//! A repo's files, wherever they lie.

use std::ops::Range;

use futures_util::future::LocalBoxFuture;

use super::{Chunk, HubError};

/// Read access to the files of one model repo at one fixed commit.
///
/// The Hub is one implementation, a folder and memory are others; nothing above this trait knows which.
pub trait Repo {
    /// What the user called the repo, for messages: `org/name`.
    fn id(&self) -> &str;

    /// The whole of a small file (a config, an index, a tokenizer).
    ///
    /// Fails with [`HubError::EntryNotFound`] where the repo lacks the file and with [`HubError::TooLarge`] where it has
    /// more than `max_bytes`.
    fn read<'a>(&'a self, path: &'a str, max_bytes: u64) -> LocalBoxFuture<'a, Result<Vec<u8>, HubError>>;

    /// The file's bytes in `range`, as they arrive. The stream gives exactly `range.end - range.start` bytes or an error.
    fn open<'a>(
        &'a self,
        path: &'a str,
        range: Range<u64>,
    ) -> LocalBoxFuture<'a, Result<Box<dyn ByteStream>, HubError>>;
}

/// Bytes in the order of the file, in chunks of whatever size the transport gives.
pub trait ByteStream {
    /// The next chunk, never empty; `None` after the last.
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Chunk>, HubError>>;
}
