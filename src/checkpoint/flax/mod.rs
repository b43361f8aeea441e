//! What `flax.serialization` writes: a msgpack tree of arrays. It has no directory, so it is walked from array to array;
//! their bytes are left where they lie.

mod error;
mod msgpack;
mod names;

use std::collections::BTreeMap;
use std::ops::Range;

pub use error::FlaxFault;
pub(super) use names::to_torch;

use self::msgpack::{MAX_TOKEN, NoToken, Token, token};
use super::entry::{Entry, Header, Order, bytes, dims, dtype_named};
use super::window::Window;
use super::{CheckpointError, CheckpointFile, FIRST_BYTES};
use crate::hub::{HubError, Repo};
use crate::tensor::Dtype;
use crate::{Error, Result};

/// A request for what describes the next array, and for those after it where they are small.
const READ: u64 = 16 << 10;
/// Tokens in all: a dozen an array.
const MAX_TOKENS: usize = 2_000_000;
const MAX_DEPTH: usize = 64;
/// Dimensions that numpy allows.
const MAX_DIMS: u64 = 64;
/// The key by which Flax marks an array that it wrote in chunks.
const CHUNKED: &str = "__msgpack_chunked_array__";

/// Walks through a file. The arrays' names are their paths with slashes, as in Flax's indices.
pub(super) async fn read(repo: &dyn Repo, path: &str) -> Result<(CheckpointFile, Header)> {
    let prefix = repo.read_prefix(path, FIRST_BYTES).await?;
    let file_size = prefix.file_size;
    let fault = |fault| Error::from(CheckpointError::Flax { repo: repo.id().to_owned(), path: path.to_owned(), fault });
    let size = file_size.ok_or_else(|| fault(FlaxFault::UnknownSize))?;
    let window = Window::new(repo, path, prefix.bytes);
    let mut walk = Walk { window, at: 0, size, tokens: 0, arrays: BTreeMap::new() };
    walk.tree().await.map_err(|error| match error {
        Failure::Flax(flax) => fault(flax),
        Failure::Other(Error::Hub(HubError::RangeNotSatisfiable { .. })) => {
            fault(FlaxFault::Truncated { file_size: size, needed: size })
        }
        Failure::Other(error) => error,
    })?;
    let header = Header { tensors: walk.arrays, metadata: BTreeMap::new() };
    Ok((CheckpointFile { path: path.to_owned(), size: file_size }, header))
}

/// A fault of the file's, which wants the file's name, or anything else.
enum Failure {
    Flax(FlaxFault),
    Other(Error),
}

impl From<FlaxFault> for Failure {
    fn from(fault: FlaxFault) -> Self {
        Failure::Flax(fault)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Other(error)
    }
}

/// A map that the walk is in.
struct Map {
    /// Entries still to come.
    left: u64,
    /// Bytes of the path before this map's keys.
    path: usize,
    /// Of a map that stands for an array in chunks.
    chunks: Option<Chunks>,
}

/// An array in chunks, as far as it has been seen.
#[derive(Default)]
struct Chunks {
    shape: Vec<u64>,
    /// The first chunk's type and where all of them are.
    seen: Option<(Dtype, Range<u64>)>,
    count: u64,
    bytes: u64,
}

struct Walk<'a> {
    window: Window<'a>,
    at: u64,
    size: u64,
    tokens: usize,
    arrays: BTreeMap<String, Entry>,
}

impl Walk<'_> {
    async fn tree(&mut self) -> Result<(), Failure> {
        let Token::Map(left) = self.token().await? else {
            return Err(self.malformed("a Flax checkpoint begins with a map").into());
        };
        let mut path = String::new();
        let mut maps = vec![Map { left, path: 0, chunks: None }];
        while let Some(map) = maps.last_mut() {
            path.truncate(map.path);
            if map.left == 0 {
                let chunks = map.chunks.take();
                maps.pop();
                if let Some(chunks) = chunks {
                    self.chunked(&path, &chunks)?;
                }
                continue;
            }
            map.left -= 1;
            let Token::Text(key) = self.token().await? else {
                return Err(self.malformed("a map's key is no string").into());
            };
            if key == CHUNKED {
                map.chunks = Some(Chunks::default());
            }
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(&key);
            match self.token().await? {
                Token::Map(_) if maps.len() == MAX_DEPTH => return Err(FlaxFault::TooLarge.into()),
                Token::Map(left) => maps.push(Map { left, path: path.len(), chunks: None }),
                // 1: an array; 3: a numpy scalar, as an array without dimensions.
                Token::Extension(1 | 3, len) => {
                    let (dtype, shape, range) = self.array(&path, len).await?;
                    // Chunks lie in a map of their own within the map that stands for the array.
                    match maps.iter_mut().rev().nth(1).and_then(|map| map.chunks.as_mut()) {
                        Some(chunks) => chunks.push(dtype, range),
                        None => self.insert(&path, dtype, &shape, Order::RowMajor, range)?,
                    }
                }
                Token::Int(dim) => {
                    if let Some(chunks) = maps.iter_mut().rev().nth(1).and_then(|map| map.chunks.as_mut()) {
                        chunks.shape.push(dim);
                    }
                }
                Token::Bytes(len) | Token::Extension(_, len) => self.skip(len)?,
                Token::Array(_) => return Err(self.malformed("a list in a tree of arrays").into()),
                Token::True | Token::Other | Token::Text(_) => {}
            }
        }
        if self.at != self.size {
            return Err(self.malformed("the tree ends before the file").into());
        }
        Ok(())
    }

    /// An array's own msgpack: shape, dtype and bytes, `len` bytes in all. The walk goes on behind it.
    async fn array(&mut self, path: &str, len: u64) -> Result<(Dtype, Vec<u64>, Range<u64>), Failure> {
        let end = self.at.saturating_add(len);
        let not_an_array = "an array is not made of shape, dtype and bytes";
        let (Token::Array(3), Token::Array(count)) = (self.token().await?, self.token().await?) else {
            return Err(self.malformed(not_an_array).into());
        };
        if count > MAX_DIMS {
            return Err(self.malformed("an array has too many dimensions").into());
        }
        let mut shape = Vec::new();
        for _ in 0..count {
            let Token::Int(dim) = self.token().await? else {
                return Err(self.malformed(not_an_array).into());
            };
            shape.push(dim);
        }
        let (Token::Text(name), Token::Bytes(given)) = (self.token().await?, self.token().await?) else {
            return Err(self.malformed(not_an_array).into());
        };
        let start = self.at;
        self.skip(given)?;
        if self.at != end {
            return Err(self.malformed("an array's parts have another length than the array").into());
        }
        let array = || path.to_owned();
        let dtype = dtype_named(&name).ok_or_else(|| FlaxFault::Dtype { array: array(), dtype: name })?;
        let needed = bytes(dtype, &shape).unwrap_or(u64::MAX);
        if needed != given {
            return Err(FlaxFault::Size { array: array(), shape, needed, given }.into());
        }
        Ok((dtype, shape, start..self.at))
    }

    fn chunked(&mut self, path: &str, chunks: &Chunks) -> Result<(), Failure> {
        let Some((dtype, range)) = &chunks.seen else {
            return Err(self.malformed("an array in chunks has none").into());
        };
        let needed = bytes(*dtype, &chunks.shape).unwrap_or(u64::MAX);
        if needed != chunks.bytes {
            let (shape, given) = (chunks.shape.clone(), chunks.bytes);
            return Err(FlaxFault::Size { array: path.to_owned(), shape, needed, given }.into());
        }
        let order = if chunks.count == 1 { Order::RowMajor } else { Order::Chunked };
        self.insert(path, *dtype, &chunks.shape, order, range.clone())
    }

    fn insert(
        &mut self,
        path: &str,
        dtype: Dtype,
        shape: &[u64],
        order: Order,
        range: Range<u64>,
    ) -> Result<(), Failure> {
        let shape = dims(shape).ok_or_else(|| self.malformed("an array is larger than any memory"))?;
        if self.arrays.insert(path.to_owned(), Entry { dtype, shape, order, range }).is_some() {
            return Err(FlaxFault::Duplicate { array: path.to_owned() }.into());
        }
        Ok(())
    }

    async fn token(&mut self) -> Result<Token, Failure> {
        self.tokens += 1;
        if self.tokens > MAX_TOKENS {
            return Err(FlaxFault::TooLarge.into());
        }
        let mut rest = self.window.from(self.at);
        let ends = |rest: &[u8], at: u64, size: u64| rest.len() as u64 >= MAX_TOKEN.min(size.saturating_sub(at));
        if !ends(rest, self.at, self.size) && token(rest) == Err(NoToken::CutShort) {
            self.window.advance(self.at..self.size.min(self.at + READ)).await?;
            rest = self.window.from(self.at);
        }
        match token(rest) {
            Ok((token, len)) => {
                self.at += len;
                Ok(token)
            }
            Err(NoToken::Malformed(reason)) => Err(self.malformed(reason).into()),
            Err(NoToken::CutShort) => Err(FlaxFault::Truncated { file_size: self.size, needed: self.size + 1 }.into()),
        }
    }

    /// Goes on behind `len` bytes. The walk never leaves the file.
    fn skip(&mut self, len: u64) -> Result<(), Failure> {
        let end = self.at.saturating_add(len);
        if end > self.size {
            return Err(FlaxFault::Truncated { file_size: self.size, needed: end }.into());
        }
        self.at = end;
        Ok(())
    }

    fn malformed(&self, reason: &'static str) -> FlaxFault {
        FlaxFault::Malformed { at: self.at, reason }
    }
}

impl Chunks {
    fn push(&mut self, dtype: Dtype, range: Range<u64>) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(range.end - range.start);
        self.seen = Some(match self.seen.take() {
            Some((first, seen)) => (first, seen.start..range.end),
            None => (dtype, range),
        });
    }
}
