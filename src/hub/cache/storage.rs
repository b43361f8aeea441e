//! What the cache asks of the place that it keeps things in: immutable blobs in folders.

use std::any::Any;
use std::ops::Range;

use futures_util::future::LocalBoxFuture;

use super::super::Chunk;

/// Where the cache keeps what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StorageKind {
    /// The origin's private file system.
    Opfs,
    /// The Cache API, where there is no file system that can be written.
    CacheApi,
    /// Memory, bounded and without weights, where there is neither.
    Memory,
}

/// Why a blob could not be read or written. The cache goes on without it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// It isn't there.
    #[error("it is not there")]
    Missing,
    /// Somebody else, another tab perhaps, is writing it.
    #[error("another writer has it")]
    Busy,
    /// There is no room left for it.
    #[error("there is no room left")]
    Full,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// The result of a storage's operation.
pub type Stored<T> = Result<T, StorageError>;
/// … that is under way.
pub type Storing<'a, T> = LocalBoxFuture<'a, Stored<T>>;

/// One thing in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its name in the folder.
    pub name: String,
    /// Whether it is a folder itself.
    pub is_folder: bool,
    /// A blob's bytes; 0 where they were not asked for.
    pub size: u64,
}

/// Blobs by path. The parts of a path are of `[A-Za-z0-9._~%+-]`, at most 255 bytes, and none is `.` or `..`.
pub trait Storage {
    /// Which one it is.
    fn kind(&self) -> StorageKind;

    /// Whether there is room for weights, or for small files alone.
    fn keeps_weights(&self) -> bool;

    /// What lies in a folder, in any order; nothing where there is no such folder.
    fn list<'a>(&'a self, folder: &'a str, with_sizes: bool) -> Storing<'a, Vec<Item>>;

    /// A blob to read.
    fn open<'a>(&'a self, path: &'a str) -> Storing<'a, Box<dyn Blob>>;

    /// A blob to write, empty, with the folders that it lies in. About `size` bytes will come, perhaps fewer.
    fn create<'a>(&'a self, path: &'a str, size: u64) -> Storing<'a, Box<dyn BlobWriter>>;

    /// Removes a blob, or a folder with all that is in it and not being written. What isn't there is removed already.
    fn remove<'a>(&'a self, path: &'a str) -> Storing<'a, ()>;

    /// Says that a path is in use until what this gives is dropped, to whoever asks [`Storage::is_held`].
    fn hold<'a>(&'a self, path: &'a str) -> LocalBoxFuture<'a, Box<dyn Any>>;

    /// Whether anybody, in another tab too, holds the path.
    fn is_held<'a>(&'a self, path: &'a str) -> LocalBoxFuture<'a, bool>;
}

/// A blob that is there.
pub trait Blob {
    /// Its bytes.
    fn size(&self) -> u64;

    /// The bytes of `range`, which lies within it.
    fn read(&self, range: Range<u64>) -> Storing<'_, Chunk>;

    /// Gives up what keeps others from removing it; it is not read any more. Dropping does the same.
    fn close(&self) {}
}

/// A blob that comes to be. Dropped before it is finished, it may leave a part of itself.
pub trait BlobWriter {
    /// Appends.
    fn write<'a>(&'a mut self, chunk: &'a Chunk) -> Storing<'a, ()>;

    /// Makes it readable.
    fn finish(self: Box<Self>) -> Storing<'static, ()>;
}
