//! What the cache has of one file: segments, found by their offsets.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use super::super::Chunk;
use super::names::ABSENT;
use super::segment::{MAX_SEGMENT, MAX_TRAILER, Trailer, identity};
use super::storage::{Blob, Item, Storage, StorageError};
use super::{record, stats::CacheStats};

/// A run of cached bytes between two gaps must be this long to be worth a second request.
const MIN_RUN: u64 = 128 << 10;

/// A file of a pinned commit, as the cache knows it.
pub(super) struct CachedFile {
    pub(super) storage: Rc<dyn Storage>,
    /// The folder of its segments.
    pub(super) folder: String,
    pub(super) identity: u64,
    /// Segments by offset, and where those end that have been looked at.
    segments: RefCell<BTreeMap<u64, Option<u64>>>,
    size: Cell<Option<u64>>,
    absent: Cell<bool>,
    stats: Rc<CacheStats>,
}

impl CachedFile {
    /// Looks at what there is. A folder that can't be read has nothing.
    pub(super) async fn open(storage: Rc<dyn Storage>, folder: String, stats: Rc<CacheStats>) -> Rc<CachedFile> {
        let items = storage.list(&folder, false).await.unwrap_or_default();
        let absent = items.iter().any(|item| item.name == ABSENT)
            && record::read(&*storage, &format!("{folder}/{ABSENT}")).await.is_some();
        Rc::new(CachedFile {
            identity: identity(&[&folder]),
            storage,
            folder,
            segments: RefCell::new(offsets(&items)),
            size: Cell::new(None),
            absent: Cell::new(absent),
            stats,
        })
    }

    pub(super) fn path(&self, start: u64) -> String {
        format!("{}/{start}", self.folder)
    }

    /// The whole file's size, where a segment has told.
    pub(super) fn size(&self) -> Option<u64> {
        self.size.get()
    }

    pub(super) fn set_size(&self, size: u64) {
        self.size.set(Some(size));
    }

    /// Whether the commit is known to lack the file.
    pub(super) fn is_absent(&self) -> bool {
        self.absent.get()
    }

    /// Keeps that the commit lacks the file.
    pub(super) async fn set_absent(&self) {
        self.absent.set(true);
        record::write(&*self.storage, &format!("{}/{ABSENT}", self.folder), b"").await;
    }

    /// A segment that has come to be.
    pub(super) fn added(&self, range: Range<u64>) {
        self.segments.borrow_mut().insert(range.start, Some(range.end));
    }

    /// Forgets a segment and deletes it: it is not what it should be.
    pub(super) async fn spoil(&self, start: u64) {
        self.segments.borrow_mut().remove(&start);
        self.stats.count_spoilt();
        // Refused where somebody is just writing it.
        let _ = self.storage.remove(&self.path(start)).await;
    }

    /// A segment that holds byte `at`.
    pub(super) async fn find(self: &Rc<Self>, at: u64) -> Option<Reader> {
        let candidates: Vec<u64> = {
            let segments = self.segments.borrow();
            let near = segments.range(at.saturating_sub(MAX_SEGMENT)..=at).rev();
            near.filter(|(_, end)| end.is_none_or(|end| at < end)).map(|(start, _)| *start).collect()
        };
        for start in candidates {
            if let Some(reader) = self.read(start).await
                && reader.trailer.range.contains(&at)
            {
                return Some(reader);
            }
        }
        None
    }

    /// Where the bytes that the cache lacks, from `at` on, end.
    pub(super) async fn gap_end(self: &Rc<Self>, at: u64, end: u64) -> u64 {
        let starts: Vec<(u64, Option<u64>)> = {
            let segments = self.segments.borrow();
            segments.range(at.saturating_add(1)..end.max(at.saturating_add(1))).map(|(s, e)| (*s, *e)).collect()
        };
        let mut run = Run::default();
        for (start, known) in starts {
            let known = match known {
                Some(end) => Some(end),
                None => self.read(start).await.map(|reader| reader.trailer.range.end),
            };
            if let Some(segment_end) = known
                && let Some(start) = run.join(start..segment_end, end)
            {
                return start;
            }
        }
        end
    }

    /// Opens a segment and checks its seal.
    async fn read(self: &Rc<Self>, start: u64) -> Option<Reader> {
        match self.open_segment(start).await {
            Ok(Some(reader)) => {
                if let Some(size) = reader.trailer.file_size {
                    self.size.set(Some(size));
                }
                self.added(reader.trailer.range.clone());
                Some(reader)
            }
            Ok(None) => {
                self.spoil(start).await;
                None
            }
            // Somebody has removed it, and then perhaps all of the file.
            Err(StorageError::Missing) => {
                let items = self.storage.list(&self.folder, false).await.unwrap_or_default();
                self.segments.replace(offsets(&items));
                None
            }
            Err(_) => {
                self.segments.borrow_mut().remove(&start);
                None
            }
        }
    }

    async fn open_segment(self: &Rc<Self>, start: u64) -> Result<Option<Reader>, StorageError> {
        let blob = self.storage.open(&self.path(start)).await?;
        let size = blob.size();
        let tail = blob.read(size.saturating_sub(MAX_TRAILER)..size).await?.to_vec();
        let trailer = Trailer::parse(&tail, size, self.identity, start);
        Ok(trailer.map(|trailer| Reader { file: self.clone(), blob, trailer }))
    }
}

/// The segments of a folder, none of them looked at yet.
fn offsets(items: &[Item]) -> BTreeMap<u64, Option<u64>> {
    items.iter().filter_map(|item| offset(&item.name)).map(|start| (start, None)).collect()
}

/// The offset that a segment's name is.
fn offset(name: &str) -> Option<u64> {
    let start: u64 = name.parse().ok()?;
    (start.to_string() == name).then_some(start)
}

/// Segments side by side.
#[derive(Default)]
struct Run(Option<Range<u64>>);

impl Run {
    /// Adds the next segment by offset, which begins before `end`. Gives the run's start once it is long enough, or
    /// reaches `end`.
    fn join(&mut self, segment: Range<u64>, end: u64) -> Option<u64> {
        let run = match self.0.take() {
            Some(run) if segment.start <= run.end => run.start..run.end.max(segment.end),
            _ => segment,
        };
        let enough = run.end >= end || run.end - run.start >= MIN_RUN;
        let start = run.start;
        self.0 = Some(run);
        enough.then_some(start)
    }
}

/// An open segment whose seal is right.
pub(super) struct Reader {
    file: Rc<CachedFile>,
    blob: Box<dyn Blob>,
    pub(super) trailer: Trailer,
}

impl Reader {
    /// The bytes from the file's byte `at` to the end of their block, checked. `None`: they are not what they should be,
    /// and the segment is gone.
    pub(super) async fn next(&self, at: u64) -> Option<Chunk> {
        let block = self.trailer.block(at);
        let bytes = self.blob.read(block.clone()).await;
        if let Ok(bytes) = bytes
            && bytes.len() as u64 == block.end - block.start
            && self.trailer.is_block(block.start, &bytes)
        {
            let skip = at - self.trailer.range.start - block.start;
            self.file.stats.count_read(bytes.len() as u64 - skip);
            return Some(if skip == 0 { bytes } else { bytes.slice(skip as usize..bytes.len()) });
        }
        self.blob.close();
        self.file.spoil(self.trailer.range.start).await;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_segments() {
        assert_eq!((offset("0"), offset("4194304")), (Some(0), Some(4_194_304)));
        for name in ["", "absent", "00", "+1", "-1", "1.crswap", "99999999999999999999"] {
            assert_eq!(offset(name), None, "{name}");
        }
    }

    fn next_run(segments: &[Range<u64>], end: u64) -> u64 {
        let mut run = Run::default();
        segments.iter().find_map(|segment| run.join(segment.clone(), end)).unwrap_or(end)
    }

    #[test]
    fn short_runs_between_gaps_are_fetched_again() {
        let end = 10 << 20;
        assert_eq!(next_run(&[], end), end);
        let short = 1000..2000;
        assert_eq!(next_run(std::slice::from_ref(&short), end), end);
        // A short one that reaches the end costs no request.
        assert_eq!(next_run(&[short.clone(), end - 10..end + 90], end), end - 10);
        assert_eq!(next_run(&[short.clone(), 5000..5000 + MIN_RUN], end), 5000);
        // Side by side, or overlapping, they are one.
        assert_eq!(next_run(&[0..MIN_RUN / 2, MIN_RUN / 2..MIN_RUN], end), 0);
        assert_eq!(next_run(&[0..9, 4..6, 8..MIN_RUN], end), 0);
        assert_eq!(next_run(&[0..9, 10..MIN_RUN], end), end);
    }

    #[test]
    fn a_run_is_all_there_and_long_enough() {
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..2000 {
            let end = random.u64(1..40) * (MIN_RUN / 4);
            let mut segment = || {
                let start = random.u64(0..end);
                start..start + random.u64(1..MIN_RUN)
            };
            let mut segments: Vec<Range<u64>> = (0..end / 1000 % 12).map(|_| segment()).collect();
            segments.sort_by_key(|segment| segment.start);
            segments.dedup_by_key(|segment| segment.start);
            let found = next_run(&segments, end);
            // How far one gets from a byte by segments alone.
            let reach = |from: u64| {
                segments.iter().fold(from, |at, s| {
                    if (s.start..s.end).contains(&at) || s.start == at { at.max(s.end) } else { at }
                })
            };
            let enough = |from: u64| reach(from) >= end || reach(from) - from >= MIN_RUN;
            assert!(found == end || enough(found), "{segments:?} {end}");
            let earlier = segments.iter().map(|s| s.start).filter(|start| *start < found);
            for start in earlier {
                assert!(!enough(start), "{segments:?} {end}: {start} before {found}");
            }
        }
    }
}
