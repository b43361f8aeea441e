//! From a stream to segments, as its chunks pass.

use std::ops::Range;
use std::rc::Rc;

use super::super::Chunk;
use super::background;
use super::file::CachedFile;
use super::room::Room;
use super::segment::{MAX_SEGMENT, Sums, trailer_size};
use super::storage::{BlobWriter, StorageError, Stored};

/// Writes what passes to segments of a file. Whatever becomes of the stream, what has passed is kept.
pub(super) struct Recorder {
    file: Rc<CachedFile>,
    room: Rc<Room>,
    /// The file's byte that comes next.
    at: u64,
    /// Where the stream ends.
    end: u64,
    state: State,
    written: Vec<u64>,
}

enum State {
    Idle,
    Writing(Writer),
    /// Up to this byte nothing is kept.
    Skipping(u64),
}

impl Recorder {
    /// Keeps the bytes of `range`, or as many of them as come.
    pub(super) fn new(file: Rc<CachedFile>, room: Rc<Room>, range: Range<u64>) -> Recorder {
        Recorder { file, room, at: range.start, end: range.end, state: State::Idle, written: Vec::new() }
    }

    /// Opens the first segment, which may go on while the first byte is on its way.
    pub(super) async fn prepare(&mut self) {
        if matches!(self.state, State::Idle) && self.at < self.end {
            self.begin().await;
        }
    }

    /// Keeps a chunk, or what there is room for.
    pub(super) async fn push(&mut self, chunk: &Chunk) {
        let mut rest = chunk.clone();
        while !rest.is_empty() {
            let len = rest.len() as u64;
            match &mut self.state {
                State::Idle => self.begin().await,
                State::Skipping(until) if *until <= self.at => self.state = State::Idle,
                State::Skipping(until) => {
                    let n = len.min(*until - self.at);
                    self.advance(&mut rest, n);
                }
                State::Writing(writer) if writer.room() == 0 => self.finish().await,
                State::Writing(writer) => {
                    let n = len.min(writer.room());
                    let piece = if n == len { rest.clone() } else { rest.slice(0..n as usize) };
                    match writer.write(&piece).await {
                        Ok(()) => {
                            self.room.stats.count_written(n);
                            self.advance(&mut rest, n);
                        }
                        Err(error) => self.failed(error).await,
                    }
                }
            }
        }
    }

    fn advance(&mut self, rest: &mut Chunk, n: u64) {
        self.at += n;
        // `n` is at most the chunk's length, a usize.
        *rest = rest.slice(n as usize..rest.len());
    }

    async fn begin(&mut self) {
        if self.room.stats.is_full() {
            self.state = State::Skipping(u64::MAX);
            return;
        }
        let generation = self.room.generation();
        match Writer::create(self.file.clone(), self.at..self.end).await {
            Ok(writer) => {
                self.written.push(self.at);
                self.state = State::Writing(writer);
            }
            Err(StorageError::Full) => self.full(generation).await,
            // Another tab writes the same, or this can't be written at all: the next segment may be.
            Err(_) => self.state = State::Skipping(self.at.saturating_add(MAX_SEGMENT)),
        }
    }

    async fn failed(&mut self, error: StorageError) {
        let generation = self.room.generation();
        let State::Writing(writer) = std::mem::replace(&mut self.state, State::Idle) else { return };
        if error == StorageError::Full {
            // What it has so far may still get its trailer.
            writer.finish().await;
            self.full(generation).await;
        } else {
            writer.discard().await;
            self.state = State::Skipping(self.at.saturating_add(MAX_SEGMENT));
        }
    }

    async fn full(&mut self, generation: u64) {
        self.state = if self.room.make(generation).await { State::Idle } else { State::Skipping(u64::MAX) };
    }

    /// Closes the segment that is being written.
    pub(super) async fn finish(&mut self) {
        if let State::Writing(writer) = std::mem::replace(&mut self.state, State::Idle) {
            writer.finish().await;
        }
    }

    /// Removes all that this stream has written: what came may not have been the file.
    pub(super) async fn discard(&mut self) {
        if let State::Writing(writer) = std::mem::replace(&mut self.state, State::Skipping(u64::MAX)) {
            writer.discard().await;
        }
        for start in std::mem::take(&mut self.written) {
            self.file.spoil(start).await;
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let State::Writing(writer) = std::mem::replace(&mut self.state, State::Idle) {
            background(Box::pin(writer.finish()));
        }
    }
}

/// One segment that is being written.
struct Writer {
    file: Rc<CachedFile>,
    blob: Box<dyn BlobWriter>,
    start: u64,
    sums: Sums,
}

impl Writer {
    async fn create(file: Rc<CachedFile>, Range { start, end }: Range<u64>) -> Stored<Writer> {
        let length = end.saturating_sub(start).min(MAX_SEGMENT);
        let blob = file.storage.create(&file.path(start), length + trailer_size(length)).await?;
        Ok(Writer { file, blob, start, sums: Sums::default() })
    }

    /// How many bytes it still takes.
    fn room(&self) -> u64 {
        MAX_SEGMENT.saturating_sub(self.sums.length())
    }

    async fn write(&mut self, chunk: &Chunk) -> Stored<()> {
        self.blob.write(chunk).await?;
        self.sums.add(chunk);
        Ok(())
    }

    /// Seals it. Where that fails nothing is left of it.
    async fn finish(mut self) {
        let range = self.start..self.start + self.sums.length();
        // An empty one says only that the file is empty.
        if range.is_empty() && self.file.size() != Some(0) {
            return self.discard().await;
        }
        let trailer = self.sums.trailer(self.file.identity, self.start, self.file.size());
        let sealed = match self.blob.write(&Chunk::from(trailer)).await {
            Ok(()) => self.blob.finish().await,
            Err(error) => Err(error),
        };
        match sealed {
            Ok(()) => self.file.added(range),
            Err(_) => remove(&self.file, self.start).await,
        }
    }

    async fn discard(self) {
        drop(self.blob);
        remove(&self.file, self.start).await;
    }
}

async fn remove(file: &CachedFile, start: u64) {
    // It has no seal, so that it is never believed, whether or not it can be removed.
    let _ = file.storage.remove(&file.path(start)).await;
}

/// Keeps a whole file, or the start of one whose size is known or not.
pub(super) async fn keep(file: &Rc<CachedFile>, room: &Rc<Room>, bytes: &[u8], size: Option<u64>) {
    if let Some(size) = size {
        file.set_size(size);
    }
    let mut recorder = Recorder::new(file.clone(), room.clone(), 0..bytes.len() as u64);
    if bytes.is_empty() {
        recorder.begin().await;
    }
    for piece in bytes.chunks(MAX_SEGMENT as usize) {
        recorder.push(&Chunk::from(piece.to_vec())).await;
    }
    recorder.finish().await;
}
