//! Weights in CPU memory: the file's bytes as they came, in the browser outside wasm's memory, to be streamed to the GPU
//! again and again.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;

use crate::hub::{ByteStream, Chunk, HubError};

type Key = (usize, u64);

/// Ranges of files that are kept.
#[derive(Default)]
pub struct Held {
    ranges: RefCell<HashMap<Key, Rc<[Chunk]>>>,
    bytes: Cell<u64>,
}

impl Held {
    /// Bytes that are kept.
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Keeps nothing any more.
    pub fn clear(&self) {
        self.ranges.borrow_mut().clear();
        self.bytes.set(0);
    }

    /// Takes over what is kept elsewhere of a range.
    pub fn take_over(&self, other: &Held, file: usize, range: &Range<u64>) {
        if let Some(chunks) = other.ranges.borrow_mut().remove(&(file, range.start)) {
            let bytes: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
            other.bytes.set(other.bytes.get().saturating_sub(bytes));
            self.bytes.set(self.bytes.get() + bytes);
            self.ranges.borrow_mut().insert((file, range.start), chunks);
        }
    }

    /// A range that is kept as a stream.
    pub fn open(&self, file: usize, range: &Range<u64>) -> Option<Box<dyn ByteStream>> {
        let chunks = self.ranges.borrow().get(&(file, range.start))?.clone();
        Some(Box::new(Replay { chunks, next: 0 }))
    }

    /// Keeps what has come of a range.
    pub fn keep(&self, file: usize, range: &Range<u64>, chunks: Vec<Chunk>) {
        let bytes: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        if bytes == range.end - range.start
            && self.ranges.borrow_mut().insert((file, range.start), chunks.into()).is_none()
        {
            self.bytes.set(self.bytes.get() + bytes);
        }
    }
}

struct Replay {
    chunks: Rc<[Chunk]>,
    next: usize,
}

impl ByteStream for Replay {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Chunk>, HubError>> {
        let chunk = self.chunks.get(self.next).cloned();
        self.next += 1;
        Box::pin(std::future::ready(Ok(chunk)))
    }
}

/// A stream whose chunks are copied as they pass.
pub struct Recording {
    /// Where they come from.
    pub stream: Box<dyn ByteStream>,
    /// What has passed, where it is to be kept.
    pub passed: Option<Vec<Chunk>>,
}

impl ByteStream for Recording {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Chunk>, HubError>> {
        Box::pin(async move {
            let chunk = self.stream.next().await?;
            if let (Some(passed), Some(chunk)) = (&mut self.passed, &chunk) {
                passed.push(chunk.to_owned_chunk());
            }
            Ok(chunk)
        })
    }
}
