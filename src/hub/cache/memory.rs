//! Blobs in memory: few and small, the least recently used forgotten first.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use futures_util::future::{LocalBoxFuture, ready};

use super::super::Chunk;
use super::storage::{Blob, BlobWriter, Item, Storage, StorageError, StorageKind, Stored, Storing};

/// What memory keeps at most.
const LIMIT: u64 = 32 << 20;

thread_local! {
    static SHARED: RefCell<BTreeMap<String, Rc<MemoryStorage>>> = const { RefCell::new(BTreeMap::new()) };
}

/// Blobs in memory. In a browser they lie in JavaScript's, not in wasm's, which never shrinks.
pub struct MemoryStorage {
    limit: u64,
    keeps_weights: bool,
    blobs: RefCell<BTreeMap<String, Kept>>,
    bytes: Cell<u64>,
    clock: Cell<u64>,
    held: Rc<RefCell<Vec<String>>>,
}

struct Kept {
    bytes: Chunk,
    used: u64,
}

impl MemoryStorage {
    /// The one of this thread for a cache's name.
    pub(super) fn shared(name: &str) -> Rc<MemoryStorage> {
        SHARED.with_borrow_mut(|shared| {
            shared.entry(name.to_owned()).or_insert_with(|| Rc::new(MemoryStorage::new(LIMIT, false))).clone()
        })
    }

    pub(super) fn new(limit: u64, keeps_weights: bool) -> MemoryStorage {
        MemoryStorage {
            limit,
            keeps_weights,
            blobs: RefCell::default(),
            bytes: Cell::new(0),
            clock: Cell::new(0),
            held: Rc::default(),
        }
    }

    fn tick(&self) -> u64 {
        self.clock.set(self.clock.get() + 1);
        self.clock.get()
    }

    fn forget(&self, path: &str) {
        if let Some(kept) = self.blobs.borrow_mut().remove(path) {
            self.bytes.set(self.bytes.get().saturating_sub(kept.bytes.len() as u64));
        }
    }

    fn keep(&self, path: &str, bytes: Chunk) -> Stored<()> {
        self.forget(path);
        let size = bytes.len() as u64;
        if size > self.limit {
            return Err(StorageError::Full);
        }
        while self.bytes.get() + size > self.limit {
            let oldest = self.blobs.borrow().iter().min_by_key(|(_, kept)| kept.used).map(|(path, _)| path.clone());
            match oldest {
                Some(oldest) => self.forget(&oldest),
                None => break,
            }
        }
        self.bytes.set(self.bytes.get() + size);
        self.blobs.borrow_mut().insert(path.to_owned(), Kept { bytes, used: self.tick() });
        Ok(())
    }

    /// What a folder's paths begin with.
    pub(super) fn within(folder: &str) -> String {
        if folder.is_empty() { String::new() } else { format!("{folder}/") }
    }
}

impl Storage for Rc<MemoryStorage> {
    fn kind(&self) -> StorageKind {
        StorageKind::Memory
    }

    fn keeps_weights(&self) -> bool {
        self.keeps_weights
    }

    fn list<'a>(&'a self, folder: &'a str, _with_sizes: bool) -> Storing<'a, Vec<Item>> {
        let prefix = MemoryStorage::within(folder);
        let mut items: Vec<Item> = Vec::new();
        for (path, kept) in self.blobs.borrow().iter() {
            let Some(rest) = path.strip_prefix(&prefix) else { continue };
            let (name, is_folder) = rest.split_once('/').map_or((rest, false), |(folder, _)| (folder, true));
            if items.last().is_none_or(|last| last.name != name) {
                let size = if is_folder { 0 } else { kept.bytes.len() as u64 };
                items.push(Item { name: name.to_owned(), is_folder, size });
            }
        }
        Box::pin(ready(Ok(items)))
    }

    fn open<'a>(&'a self, path: &'a str) -> Storing<'a, Box<dyn Blob>> {
        let used = self.tick();
        let blob = self.blobs.borrow_mut().get_mut(path).map(|kept| {
            kept.used = used;
            Box::new(kept.bytes.clone()) as Box<dyn Blob>
        });
        Box::pin(ready(blob.ok_or(StorageError::Missing)))
    }

    fn create<'a>(&'a self, path: &'a str, _size: u64) -> Storing<'a, Box<dyn BlobWriter>> {
        let writer = Writer { storage: self.clone(), path: path.to_owned(), bytes: Vec::new() };
        Box::pin(ready(Ok(Box::new(writer) as Box<dyn BlobWriter>)))
    }

    fn remove<'a>(&'a self, path: &'a str) -> Storing<'a, ()> {
        let prefix = MemoryStorage::within(path);
        let paths: Vec<String> =
            self.blobs.borrow().keys().filter(|key| *key == path || key.starts_with(&prefix)).cloned().collect();
        paths.iter().for_each(|path| self.forget(path));
        Box::pin(ready(Ok(())))
    }

    fn hold<'a>(&'a self, path: &'a str) -> LocalBoxFuture<'a, Box<dyn Any>> {
        self.held.borrow_mut().push(path.to_owned());
        let hold = Hold { held: self.held.clone(), path: path.to_owned() };
        Box::pin(ready(Box::new(hold) as Box<dyn Any>))
    }

    fn is_held<'a>(&'a self, path: &'a str) -> LocalBoxFuture<'a, bool> {
        Box::pin(ready(self.held.borrow().iter().any(|held| held == path)))
    }
}

struct Hold {
    held: Rc<RefCell<Vec<String>>>,
    path: String,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.held.borrow_mut();
        if let Some(index) = held.iter().position(|path| *path == self.path) {
            held.swap_remove(index);
        }
    }
}

impl Blob for Chunk {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read(&self, range: Range<u64>) -> Storing<'_, Chunk> {
        let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        Box::pin(ready(Ok(self.slice(index(range.start)..index(range.end)))))
    }
}

struct Writer {
    storage: Rc<MemoryStorage>,
    path: String,
    bytes: Vec<u8>,
}

impl BlobWriter for Writer {
    fn write<'a>(&'a mut self, chunk: &'a Chunk) -> Storing<'a, ()> {
        self.bytes.extend_from_slice(&chunk.to_vec());
        Box::pin(ready(Ok(())))
    }

    fn finish(self: Box<Self>) -> Storing<'static, ()> {
        let bytes = Chunk::from(self.bytes);
        Box::pin(ready(self.storage.keep(&self.path, bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pollster::block_on;

    fn put(storage: &Rc<MemoryStorage>, path: &str, n: usize) -> Stored<()> {
        block_on(async {
            let mut writer = storage.create(path, n as u64).await?;
            writer.write(&Chunk::from(vec![7; n])).await?;
            writer.finish().await
        })
    }

    fn names(storage: &Rc<MemoryStorage>, folder: &str) -> Vec<String> {
        block_on(storage.list(folder, true)).unwrap().into_iter().map(|item| item.name).collect()
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let storage = Rc::new(MemoryStorage::new(100, false));
        for path in ["a/1", "a/2", "b/1"] {
            put(&storage, path, 30).unwrap();
        }
        block_on(storage.open("a/1")).map(drop).unwrap();
        put(&storage, "c", 30).unwrap();
        assert_eq!(names(&storage, "a"), ["1"]);
        assert_eq!(names(&storage, ""), ["a", "b", "c"]);
        assert_eq!(put(&storage, "d", 101), Err(StorageError::Full));
        // Replaced, it counts once.
        put(&storage, "c", 40).unwrap();
        assert_eq!(storage.bytes.get(), 100);
    }

    #[test]
    fn folders_are_removed_whole_and_holds_end() {
        let storage = Rc::new(MemoryStorage::new(100, false));
        for path in ["a/b/1", "a/b/2", "ab"] {
            put(&storage, path, 1).unwrap();
        }
        block_on(storage.remove("a")).unwrap();
        assert_eq!(names(&storage, ""), ["ab"]);
        assert_eq!(block_on(storage.open("a/b/1")).map(drop), Err(StorageError::Missing));
        let hold = block_on(storage.hold("x"));
        assert!(block_on(storage.is_held("x")));
        drop(hold);
        assert!(!block_on(storage.is_held("x")));
    }
}
