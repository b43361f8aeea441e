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

    /// The first `max_bytes` of a file, or all of it where it is shorter. `max_bytes` is at least 1.
    fn read_prefix<'a>(&'a self, path: &'a str, max_bytes: u64) -> LocalBoxFuture<'a, Result<Prefix, HubError>>;

    /// The file's bytes in `range`, as they arrive. The stream gives exactly `range.end - range.start` bytes or an error.
    fn open<'a>(
        &'a self,
        path: &'a str,
        range: Range<u64>,
    ) -> LocalBoxFuture<'a, Result<Box<dyn ByteStream>, HubError>>;

    /// What was read of the file makes no sense, or it should be there and isn't: whoever keeps copies of files forgets
    /// this one, so that it is asked for anew.
    fn forget<'a>(&'a self, _path: &'a str) -> LocalBoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// The start of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix {
    /// The bytes from 0 on.
    pub bytes: Vec<u8>,
    /// The whole file's size, where the transport tells it.
    pub file_size: Option<u64>,
}

/// Bytes in the order of the file, in chunks of whatever size the transport gives.
pub trait ByteStream {
    /// The next chunk, never empty; `None` after the last.
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Chunk>, HubError>>;
}

impl dyn ByteStream {
    /// All that is still to come, together.
    pub async fn collect(&mut self) -> Result<Vec<u8>, HubError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.next().await? {
            bytes.extend_from_slice(&chunk.to_vec());
        }
        Ok(bytes)
    }
}
