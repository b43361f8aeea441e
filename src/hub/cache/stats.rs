//! What a repo has had of its cache.

use std::cell::Cell;

/// Counters of one opened repo. Sizes are bytes of files, without what the cache adds to them.
#[derive(Debug, Default)]
pub struct CacheStats {
    read: Cell<u64>,
    written: Cell<u64>,
    spoilt: Cell<u64>,
    evicted: Cell<u64>,
    full: Cell<bool>,
}

impl CacheStats {
    /// Bytes that came from the cache.
    pub fn read_bytes(&self) -> u64 {
        self.read.get()
    }

    /// Bytes that went to the cache.
    pub fn written_bytes(&self) -> u64 {
        self.written.get()
    }

    /// Segments that were not what they should be, and were deleted.
    pub fn spoilt_segments(&self) -> u64 {
        self.spoilt.get()
    }

    /// Commits that had to go to make room.
    pub fn evicted_snapshots(&self) -> u64 {
        self.evicted.get()
    }

    /// Whether there was no room left, so that some bytes were not kept.
    pub fn is_full(&self) -> bool {
        self.full.get()
    }

    pub(super) fn count_read(&self, bytes: u64) {
        self.read.set(self.read.get().saturating_add(bytes));
    }

    pub(super) fn count_written(&self, bytes: u64) {
        self.written.set(self.written.get().saturating_add(bytes));
    }

    pub(super) fn count_spoilt(&self) {
        self.spoilt.set(self.spoilt.get() + 1);
    }

    pub(super) fn count_evicted(&self) {
        self.evicted.set(self.evicted.get() + 1);
    }

    pub(super) fn set_full(&self) {
        self.full.set(true);
    }
}
