//! A repo that lies in a folder.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;

use futures_util::future::{LocalBoxFuture, ready};

use super::id::is_plain_path;
use super::{ByteStream, Chunk, HubError, Prefix, Repo};

const CHUNK: u64 = 1 << 20;

/// The files of a local folder, in the layout of a model repo.
#[derive(Debug, Clone)]
pub struct DirectoryRepo {
    id: String,
    root: PathBuf,
}

impl DirectoryRepo {
    /// A repo in the folder `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        DirectoryRepo { id: root.display().to_string(), root }
    }

    fn file(&self, path: &str) -> Result<(OpenFile, u64), HubError> {
        if !is_plain_path(path) {
            return Err(HubError::InvalidPath { repo: self.id.clone(), path: path.to_owned() });
        }
        let file = File::open(self.root.join(path)).map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                HubError::EntryNotFound { repo: self.id.clone(), revision: "(local)".to_owned(), path: path.to_owned() }
            }
            _ => self.unreadable(path, &error),
        })?;
        let size = file.metadata().map_err(|error| self.unreadable(path, &error))?.len();
        Ok((OpenFile { repo: self.clone(), path: path.to_owned(), file, rest: 0..size }, size))
    }

    fn unreadable(&self, path: &str, error: &std::io::Error) -> HubError {
        HubError::Unreadable { repo: self.id.clone(), path: path.to_owned(), reason: error.to_string() }
    }
}

impl Repo for DirectoryRepo {
    fn id(&self) -> &str {
        &self.id
    }

    fn read<'a>(&'a self, path: &'a str, max_bytes: u64) -> LocalBoxFuture<'a, Result<Vec<u8>, HubError>> {
        Box::pin(ready(self.file(path).and_then(|(mut file, size)| {
            if size > max_bytes {
                return Err(HubError::TooLarge { repo: self.id.clone(), path: path.to_owned(), max_bytes });
            }
            file.read(size)
        })))
    }

    fn read_prefix<'a>(&'a self, path: &'a str, max_bytes: u64) -> LocalBoxFuture<'a, Result<Prefix, HubError>> {
        Box::pin(ready(
            self.file(path).and_then(|(mut file, size)| {
                Ok(Prefix { bytes: file.read(max_bytes.min(size))?, file_size: Some(size) })
            }),
        ))
    }

    fn open<'a>(
        &'a self,
        path: &'a str,
        range: Range<u64>,
    ) -> LocalBoxFuture<'a, Result<Box<dyn ByteStream>, HubError>> {
        let open = || {
            let (mut file, size) = self.file(path)?;
            if range.end > size {
                let what = format!("bytes {}..{} of {path}", range.start, range.end);
                return Err(HubError::RangeNotSatisfiable { repo: self.id.clone(), what });
            }
            file.file.seek(SeekFrom::Start(range.start)).map_err(|error| self.unreadable(path, &error))?;
            file.rest = range;
            Ok(Box::new(file) as Box<dyn ByteStream>)
        };
        Box::pin(ready(open()))
    }
}

struct OpenFile {
    repo: DirectoryRepo,
    path: String,
    file: File,
    rest: Range<u64>,
}

impl OpenFile {
    /// The next `n` bytes, which the file had when it was opened.
    fn read(&mut self, n: u64) -> Result<Vec<u8>, HubError> {
        let mut bytes = Vec::new();
        let read = (&mut self.file).take(n).read_to_end(&mut bytes);
        match read {
            Ok(read) if read as u64 == n => Ok(bytes),
            Ok(_) => Err(self.repo.unreadable(&self.path, &ErrorKind::UnexpectedEof.into())),
            Err(error) => Err(self.repo.unreadable(&self.path, &error)),
        }
    }
}

impl ByteStream for OpenFile {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Chunk>, HubError>> {
        let n = self.rest.end.saturating_sub(self.rest.start).min(CHUNK);
        if n == 0 {
            return Box::pin(ready(Ok(None)));
        }
        self.rest.start += n;
        Box::pin(ready(self.read(n).map(|bytes| Some(bytes.into()))))
    }
}
