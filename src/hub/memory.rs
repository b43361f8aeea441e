//! A repo that lies in memory.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use futures_util::future::{LocalBoxFuture, ready};

use super::{ByteStream, Chunk, HubError, Prefix, Repo};

/// What a network would deliver at a time, about.
const CHUNK: usize = 64 << 10;

/// Files by path, held in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryRepo {
    id: String,
    files: BTreeMap<String, Vec<u8>>,
}

impl MemoryRepo {
    /// A repo without files; `id` is what messages call it.
    pub fn new(id: impl Into<String>) -> Self {
        MemoryRepo { id: id.into(), files: BTreeMap::new() }
    }

    /// Adds a file, or replaces it.
    pub fn insert(&mut self, path: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.files.insert(path.into(), bytes.into());
    }

    fn file(&self, path: &str) -> Result<&[u8], HubError> {
        self.files.get(path).map(Vec::as_slice).ok_or_else(|| HubError::EntryNotFound {
            repo: self.id.clone(),
            revision: "memory".to_owned(),
            path: path.to_owned(),
        })
    }
}

impl Repo for MemoryRepo {
    fn id(&self) -> &str {
        &self.id
    }

    fn read<'a>(&'a self, path: &'a str, max_bytes: u64) -> LocalBoxFuture<'a, Result<Vec<u8>, HubError>> {
        Box::pin(ready(self.file(path).and_then(|file| {
            if file.len() as u64 > max_bytes {
                return Err(HubError::TooLarge { repo: self.id.clone(), path: path.to_owned(), max_bytes });
            }
            Ok(file.to_vec())
        })))
    }

    fn read_prefix<'a>(&'a self, path: &'a str, max_bytes: u64) -> LocalBoxFuture<'a, Result<Prefix, HubError>> {
        Box::pin(ready(self.file(path).map(|file| {
            let n = usize::try_from(max_bytes).unwrap_or(usize::MAX).min(file.len());
            Prefix { bytes: file.get(..n).unwrap_or_default().to_vec(), file_size: Some(file.len() as u64) }
        })))
    }

    fn open<'a>(
        &'a self,
        path: &'a str,
        range: Range<u64>,
    ) -> LocalBoxFuture<'a, Result<Box<dyn ByteStream>, HubError>> {
        let open = || {
            let file = self.file(path)?;
            let bounds = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
            let bytes =
                bounds.and_then(|(start, end)| file.get(start..end)).ok_or_else(|| HubError::RangeNotSatisfiable {
                    repo: self.id.clone(),
                    what: format!("bytes {}..{} of {path}", range.start, range.end),
                })?;
            let chunks = bytes.chunks(CHUNK).map(|chunk| Chunk::from(chunk.to_vec())).collect();
            Ok(Box::new(Chunks(chunks)) as Box<dyn ByteStream>)
        };
        Box::pin(ready(open()))
    }
}

struct Chunks(VecDeque<Chunk>);

impl ByteStream for Chunks {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Chunk>, HubError>> {
        Box::pin(ready(Ok(self.0.pop_front())))
    }
}
