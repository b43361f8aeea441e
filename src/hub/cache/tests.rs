//! The cache in front of a hub that serves from memory: what is asked for, what is kept, and what becomes of faults.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{join_all, ready};
use pollster::block_on;

use super::super::http::{Request, Response, Transport, TransportError};
use super::memory::MemoryStorage;
use super::segment::{BLOCK, MAX_SEGMENT};
use super::storage::{Blob, BlobWriter, Item, StorageError, Storing};
use super::*;
use crate::hub::Chunk;

const SHA: &str = "0123456789abcdef0123456789abcdef01234567";
const OTHER: &str = "89abcdef0123456789abcdef0123456789abcdef";
const FILE: &str = "model.safetensors";

/// Files by path, the commit that `main` is, and what goes wrong.
#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    main: RefCell<String>,
    /// "path a..b", "path" or "revision main"
    asked: RefCell<Vec<String>>,
    offline: Cell<bool>,
    /// The next body breaks after so many bytes, for good.
    breaks_after: Cell<Option<usize>>,
    /// The next answer that resumes is of another range.
    misplaced: Cell<bool>,
    /// 404s without the Hub's code.
    bare_404: Cell<bool>,
}

#[derive(Clone)]
struct Hub(Rc<State>);

impl Hub {
    fn new(files: &[(&str, Vec<u8>)]) -> Hub {
        let files = files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.clone())).collect();
        Hub(Rc::new(State { files, main: RefCell::new(SHA.to_owned()), ..State::default() }))
    }

    /// What has been asked for since the last call.
    fn asked(&self) -> Vec<String> {
        self.0.asked.take()
    }

    fn open_at(&self, storage: &Rc<dyn Storage>, revision: &str, cache: CacheOptions) -> Result<OpenedRepo, HubError> {
        self.open_until(storage, revision, cache, &Abort::new())
    }

    fn open_until(
        &self,
        storage: &Rc<dyn Storage>,
        revision: &str,
        cache: CacheOptions,
        abort: &Abort,
    ) -> Result<OpenedRepo, HubError> {
        let options =
            HubOptions { endpoint: "https://h/".to_owned(), revision: revision.to_owned(), ..HubOptions::default() };
        let pin = |options| HubRepo::pin_by(Box::new(self.clone()), "a/b", options, abort.clone());
        block_on(open_with(Some(storage.clone()), "a/b", options, &cache, abort.clone(), pin))
    }

    fn open(&self, storage: &Rc<dyn Storage>) -> OpenedRepo {
        self.open_at(storage, "main", CacheOptions::default()).unwrap()
    }

    /// A repo at a known commit, which needs no request.
    fn pinned(&self, storage: &Rc<dyn Storage>) -> OpenedRepo {
        self.open_at(storage, SHA, CacheOptions::default()).unwrap()
    }
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: VecDeque<Vec<u8>>,
    breaks: bool,
}

impl Response for Answer {
    fn status(&self) -> u16 {
        self.status
    }

    fn header(&self, name: &str) -> Option<String> {
        self.headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone())
    }

    fn redirected_to(&self) -> Option<String> {
        None
    }

    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Chunk>, TransportError>> {
        let piece = self.body.pop_front().map(Chunk::from);
        let broken = piece.is_none() && self.breaks;
        Box::pin(ready(if broken { Err(TransportError::Network("reset".to_owned())) } else { Ok(piece) }))
    }
}

impl Transport for Hub {
    fn get<'a>(&'a self, request: Request<'a>) -> LocalBoxFuture<'a, Result<Box<dyn Response>, TransportError>> {
        Box::pin(ready(self.answer(request).map(|answer| Box::new(answer) as Box<dyn Response>)))
    }

    fn sleep(&self, _: Duration) -> LocalBoxFuture<'_, ()> {
        Box::pin(ready(()))
    }

    fn until(&self, _: &str) -> Option<Duration> {
        None
    }

    fn random(&self) -> f64 {
        0.0
    }
}

impl Hub {
    fn answer(&self, request: Request<'_>) -> Result<Answer, TransportError> {
        let state = &*self.0;
        if state.offline.get() {
            return Err(TransportError::Network("offline".to_owned()));
        }
        let answer = |status, headers, body: &[u8]| Answer {
            status,
            headers,
            body: body.chunks(60_000).map(<[u8]>::to_vec).collect(),
            breaks: false,
        };
        if let Some((_, revision)) = request.url.split_once("/revision/") {
            state.asked.borrow_mut().push(format!("revision {revision}"));
            let sha = state.main.borrow();
            return Ok(answer(200, vec![], format!(r#"{{"sha":"{sha}"}}"#).as_bytes()));
        }
        let (_, path) = request.url.split_once("/resolve/").and_then(|(_, rest)| rest.split_once('/')).unwrap();
        let range = request.range.map(|range| format!(" {}..{}", range.start, range.end)).unwrap_or_default();
        state.asked.borrow_mut().push(format!("{path}{range}"));
        let Some(file) = state.files.get(path) else {
            let headers =
                if state.bare_404.get() { vec![] } else { vec![("x-error-code", "EntryNotFound".to_owned())] };
            return Ok(answer(404, headers, b""));
        };
        let Some(range) = request.range else { return Ok(answer(200, vec![], file)) };
        let (start, size) = (range.start, file.len() as u64);
        if start >= size {
            return Ok(answer(416, vec![], b""));
        }
        let end = range.end.min(size);
        let told = if state.misplaced.take() { start + 1 } else { start };
        let headers = vec![("content-range", format!("bytes {told}-{}/{size}", end - 1))];
        let mut answer = answer(206, headers, &file[start as usize..end as usize]);
        if let Some(n) = state.breaks_after.get() {
            let whole = Vec::from(std::mem::take(&mut answer.body)).concat();
            let sent = &whole[..n.min(whole.len())];
            answer.body = sent.chunks(60_000).map(<[u8]>::to_vec).collect();
            if n < whole.len() {
                answer.breaks = true;
                state.breaks_after.set(Some(0));
            }
        }
        Ok(answer)
    }
}

fn data(n: u64) -> Vec<u8> {
    (0..n).map(|i| (i * 37 % 251) as u8).collect()
}

fn storage() -> (Rc<MemoryStorage>, Rc<dyn Storage>) {
    let memory = Rc::new(MemoryStorage::new(u64::MAX, true));
    (memory.clone(), Rc::new(memory))
}

fn read_range(opened: &OpenedRepo, range: Range<u64>) -> Result<Vec<u8>, HubError> {
    block_on(async { opened.repo.open(FILE, range).await?.collect().await })
}

fn read(opened: &OpenedRepo, path: &str) -> Result<Vec<u8>, HubError> {
    block_on(opened.repo.read(path, 1 << 30))
}

fn blobs(storage: &dyn Storage, folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for item in block_on(storage.list(folder, true)).unwrap() {
        let path = if folder.is_empty() { item.name.clone() } else { format!("{folder}/{}", item.name) };
        if item.is_folder { found.extend(blobs(storage, &path)) } else { found.push(path) }
    }
    found
}

fn bytes_of(storage: &dyn Storage, path: &str) -> Vec<u8> {
    let blob = block_on(storage.open(path)).unwrap();
    block_on(blob.read(0..blob.size())).unwrap().to_vec()
}

fn overwrite(storage: &dyn Storage, path: &str, bytes: Vec<u8>) {
    block_on(async {
        let mut writer = storage.create(path, 0).await.unwrap();
        writer.write(&Chunk::from(bytes)).await.unwrap();
        writer.finish().await.unwrap();
    });
}

#[test]
fn a_second_visit_asks_for_the_revision_alone() {
    let file = data(3 * MAX_SEGMENT + 12_345);
    let size = file.len() as u64;
    let hub = Hub::new(&[(FILE, file.clone()), ("config.json", b"{}".to_vec()), ("empty", vec![])]);
    let (_, storage) = storage();
    let visit = || {
        let opened = hub.open(&storage);
        assert_eq!(opened.commit, SHA);
        assert_eq!(read(&opened, "config.json").unwrap(), b"{}");
        assert_eq!(read(&opened, "empty").unwrap(), b"");
        assert_eq!(read(&opened, "generation_config.json").unwrap_err().code(), "ENTRY_NOT_FOUND");
        let prefix = block_on(opened.repo.read_prefix(FILE, 100_001)).unwrap();
        assert_eq!((prefix.bytes.len(), prefix.file_size), (100_001, Some(size)));
        assert!(prefix.bytes == file[..100_001]);
        for range in [5000..8 << 20, 8 << 20..size] {
            assert!(read_range(&opened, range.clone()).unwrap() == file[range.start as usize..range.end as usize]);
        }
        opened
    };
    let first = visit();
    assert_eq!(
        hub.asked(),
        [
            "revision main".to_owned(),
            "config.json".to_owned(),
            "empty".to_owned(),
            "generation_config.json".to_owned(),
            format!("{FILE} 0..100001"),
            format!("{FILE} 100001..{}", 8 << 20),
            format!("{FILE} {}..{size}", 8 << 20),
        ]
    );
    assert_eq!(first.cache.written_bytes(), size + 2);
    let second = visit();
    assert_eq!(hub.asked(), ["revision main"]);
    assert_eq!((second.traffic.requests(), second.cache.spoilt_segments()), (1, 0));
    // A commit needs no request at all, and no network.
    hub.0.offline.set(true);
    let third = hub.pinned(&storage);
    assert!(read_range(&third, 7..9_000_000).unwrap() == file[7..9_000_000]);
    assert_eq!(third.traffic.requests(), 0);
}

#[test]
fn a_small_file_too_large_is_said_from_the_cache_too() {
    let hub = Hub::new(&[("config.json", data(100))]);
    let (_, storage) = storage();
    read(&hub.pinned(&storage), "config.json").unwrap();
    hub.asked();
    let error = block_on(hub.pinned(&storage).repo.read("config.json", 99)).unwrap_err();
    assert_eq!((error.code(), hub.asked().len()), ("TOO_LARGE", 0));
}

#[test]
fn a_bare_404_is_not_kept() {
    let hub = Hub::new(&[]);
    hub.0.bare_404.set(true);
    let (_, storage) = storage();
    for _ in 0..2 {
        assert_eq!(read(&hub.pinned(&storage), "config.json").unwrap_err().code(), "ENTRY_NOT_FOUND");
        assert_eq!(hub.asked(), ["config.json"]);
    }
}

#[test]
fn what_makes_no_sense_is_asked_for_again() {
    let hub = Hub::new(&[("config.json", b"{".to_vec())]);
    let (_, storage) = storage();
    // Known to be absent, or there and read.
    for path in ["model.safetensors", "config.json"] {
        let visit = || {
            let opened = hub.pinned(&storage);
            let _ = read(&opened, path);
            (opened, hub.asked().len())
        };
        let (first, asked) = visit();
        assert_eq!((asked, visit().1), (1, 0), "{path}");
        block_on(first.repo.forget(path));
        let _ = read(&first, path);
        assert_eq!(hub.asked(), [path]);
        block_on(first.repo.forget(path));
        assert_eq!(visit().1, 1, "{path}");
    }
}

#[test]
fn a_download_resumes_at_the_byte_it_stopped_at() {
    let file = data(2 * MAX_SEGMENT);
    let end = file.len() as u64;
    let hub = Hub::new(&[(FILE, file.clone())]);
    let (_, storage) = storage();
    let stopped = MAX_SEGMENT + 777_777;
    // Broken, also after retrying.
    hub.0.breaks_after.set(Some(stopped as usize));
    assert_eq!(read_range(&hub.pinned(&storage), 0..end).unwrap_err().code(), "NETWORK");
    hub.0.breaks_after.set(None);
    hub.asked();
    assert!(read_range(&hub.pinned(&storage), 0..end).unwrap() == file);
    assert_eq!(hub.asked(), [format!("{FILE} {stopped}..{end}")]);
}

#[test]
fn a_dropped_and_an_aborted_stream_keep_what_has_come() {
    let file = data(MAX_SEGMENT);
    let hub = Hub::new(&[(FILE, file.clone())]);
    for abort in [None, Some(Abort::new())] {
        let (_, storage) = storage();
        let token = abort.clone().unwrap_or_default();
        let opened = hub.open_until(&storage, SHA, CacheOptions::default(), &token).unwrap();
        let mut stream = block_on(opened.repo.open(FILE, 0..MAX_SEGMENT)).unwrap();
        let came = (0..5).map(|_| block_on(stream.next()).unwrap().unwrap().len() as u64).sum::<u64>();
        if let Some(abort) = abort {
            abort.abort();
            assert_eq!(block_on(stream.next()).unwrap_err().code(), "ABORTED");
        }
        drop(stream);
        hub.asked();
        assert!(read_range(&hub.pinned(&storage), 0..MAX_SEGMENT).unwrap() == file);
        assert_eq!(hub.asked(), [format!("{FILE} {came}..{MAX_SEGMENT}")]);
    }
}

#[test]
fn poisoned_segments_are_deleted_and_fetched_again() {
    let file = data(2 * MAX_SEGMENT);
    let end = file.len() as u64;
    let hub = Hub::new(&[(FILE, file.clone())]);
    let (_, storage) = storage();
    read_range(&hub.pinned(&storage), 0..end).unwrap();
    let second = blobs(&*storage, "").into_iter().find(|path| path.ends_with(&format!("/{MAX_SEGMENT}"))).unwrap();
    let whole = bytes_of(&*storage, &second);
    let first = bytes_of(&*storage, &second.replace(&format!("/{MAX_SEGMENT}"), "/0"));
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        bytes
    };
    let block = BLOCK as usize;
    for (poison, from) in [
        (vec![], MAX_SEGMENT),
        (whole[..100].to_vec(), MAX_SEGMENT),
        (whole[..whole.len() - 1].to_vec(), MAX_SEGMENT),
        // Another segment of the same file.
        (first, MAX_SEGMENT),
        (flipped(whole.len() - 20), MAX_SEGMENT),
        (flipped(0), MAX_SEGMENT),
        // Blocks in front of the damage are good.
        (flipped(block), MAX_SEGMENT + BLOCK),
        (flipped(3 * block + 5), MAX_SEGMENT + 3 * BLOCK),
    ] {
        overwrite(&*storage, &second, poison);
        hub.asked();
        let opened = hub.pinned(&storage);
        assert!(read_range(&opened, 0..end).unwrap() == file);
        assert_eq!(hub.asked(), [format!("{FILE} {from}..{end}")]);
        assert_eq!(opened.cache.spoilt_segments(), 1);
        // What is in its place now is right; of a block's damage the segment's good blocks go too.
        assert!(read_range(&hub.pinned(&storage), 0..end).unwrap() == file);
        assert_eq!(hub.asked().is_empty(), from == MAX_SEGMENT);
        overwrite(&*storage, &second, whole.clone());
        if from > MAX_SEGMENT {
            let rest = second.replace(&format!("/{MAX_SEGMENT}"), &format!("/{from}"));
            block_on(storage.remove(&rest)).unwrap();
        }
    }
    // A damaged ref, record or mark is none.
    for path in blobs(&*storage, "").into_iter().filter(|path| path.contains('+')) {
        overwrite(&*storage, &path, b"?".to_vec());
    }
    assert!(read_range(&hub.open(&storage), 0..end).unwrap() == file);
    assert_eq!(hub.asked(), ["revision main"]);
}

#[test]
fn what_may_not_be_the_file_is_not_kept() {
    let file = data(MAX_SEGMENT + 500_000);
    let hub = Hub::new(&[(FILE, file.clone())]);
    let (_, storage) = storage();
    hub.0.breaks_after.set(Some(MAX_SEGMENT as usize + 70_000));
    let opened = hub.pinned(&storage);
    let mut stream = block_on(opened.repo.open(FILE, 0..file.len() as u64)).unwrap();
    hub.0.misplaced.set(true);
    let error = block_on(async {
        loop {
            match stream.next().await {
                Ok(Some(_)) => {}
                other => break other.unwrap_err(),
            }
        }
    });
    assert_eq!(error.code(), "BAD_RESPONSE");
    drop(stream);
    assert!(blobs(&*storage, "").iter().all(|path| path.contains('+')), "{:?}", blobs(&*storage, ""));
}

#[test]
fn a_segment_whose_request_fails_leaves_nothing() {
    let file = data(300_000);
    let hub = Hub::new(&[(FILE, file.clone())]);
    let (_, storage) = storage();
    let opened = hub.pinned(&storage);
    // From now on the file is known, so that its segments are opened while the request is under way.
    block_on(opened.repo.read_prefix(FILE, 1000)).unwrap();
    let kept = blobs(&*storage, "");
    hub.0.offline.set(true);
    assert_eq!(read_range(&opened, 1000..300_000).unwrap_err().code(), "NETWORK");
    assert_eq!(blobs(&*storage, ""), kept);
    hub.0.offline.set(false);
    assert!(read_range(&opened, 1000..300_000).unwrap() == file[1000..]);
    assert_eq!(blobs(&*storage, "").len(), kept.len() + 1);
    hub.asked();
    assert!(read_range(&hub.pinned(&storage), 0..300_000).unwrap() == file);
    assert!(hub.asked().is_empty());
}

#[test]
fn local_files_alone_ask_for_nothing() {
    let file = data(200_000);
    let hub = Hub::new(&[(FILE, file.clone()), ("config.json", b"{}".to_vec())]);
    let (_, storage) = storage();
    let local = CacheOptions { local_files_only: true, ..CacheOptions::default() };
    let error = hub.open_at(&storage, "main", local.clone()).map(drop).unwrap_err();
    assert_eq!(error.code(), "NOT_CACHED");
    assert!(error.to_string().contains("revision main") && error.to_string().contains("local_files_only"), "{error}");
    let opened = hub.open(&storage);
    read(&opened, "config.json").unwrap();
    read(&opened, "model.bin").unwrap_err();
    read_range(&opened, 0..100_000).unwrap();
    hub.asked();
    let opened = hub.open_at(&storage, "main", local).unwrap();
    assert_eq!(read(&opened, "config.json").unwrap(), b"{}");
    assert_eq!(read(&opened, "model.bin").unwrap_err().code(), "ENTRY_NOT_FOUND");
    assert_eq!(read(&opened, "tokenizer.json").unwrap_err().code(), "NOT_CACHED");
    assert_eq!(read_range(&opened, 0..100_000).unwrap(), file[..100_000]);
    let error = read_range(&opened, 90_000..110_000).unwrap_err();
    assert!(error.to_string().contains("bytes 100000..110000 of model.safetensors is not in the cache"), "{error}");
    assert_eq!(block_on(opened.repo.read_prefix(FILE, 150_000)).unwrap_err().code(), "NOT_CACHED");
    assert!(hub.asked().is_empty());
}

#[test]
fn without_a_network_a_branch_is_what_it_was() {
    let hub = Hub::new(&[("config.json", b"{}".to_vec())]);
    let (_, storage) = storage();
    hub.0.offline.set(true);
    assert_eq!(hub.open_at(&storage, "main", CacheOptions::default()).map(drop).unwrap_err().code(), "NETWORK");
    hub.0.offline.set(false);
    read(&hub.open(&storage), "config.json").unwrap();
    hub.0.offline.set(true);
    let opened = hub.open(&storage);
    assert_eq!((opened.commit.as_str(), read(&opened, "config.json").unwrap()), (SHA, b"{}".to_vec()));
    // A branch that moves is followed.
    hub.0.offline.set(false);
    hub.0.main.replace(OTHER.to_owned());
    assert_eq!(hub.open(&storage).commit, OTHER);
    hub.0.offline.set(true);
    assert_eq!(hub.open(&storage).commit, OTHER);
}

#[test]
fn a_forced_download_reads_nothing_old_and_replaces_it() {
    let file = data(300_000);
    let hub = Hub::new(&[(FILE, file.clone()), ("config.json", b"{}".to_vec())]);
    let (_, storage) = storage();
    let visit = |opened: &OpenedRepo| {
        read(opened, "config.json").unwrap();
        assert!(read_range(opened, 0..300_000).unwrap() == file);
    };
    visit(&hub.pinned(&storage));
    hub.asked();
    let forced = hub.open_at(&storage, SHA, CacheOptions { force_download: true, ..CacheOptions::default() }).unwrap();
    visit(&forced);
    assert_eq!(hub.asked(), ["config.json".to_owned(), format!("{FILE} 0..300000")]);
    visit(&hub.pinned(&storage));
    assert!(hub.asked().is_empty());
}

#[test]
fn any_reads_in_any_order_are_right_and_ask_for_no_byte_twice() {
    let size = 2 * MAX_SEGMENT + 99_999;
    let file = data(size);
    let hub = Hub::new(&[(FILE, file.clone())]);
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..3 {
        let (_, storage) = storage();
        let mut asked = 0;
        for _ in 0..10 {
            let opened = hub.pinned(&storage);
            let start = random.u64(0..size);
            let range = start..random.u64(start..size) + 1;
            if random.bool() {
                let prefix = block_on(opened.repo.read_prefix(FILE, range.end)).unwrap();
                assert!(prefix.bytes == file[..range.end as usize]);
            } else {
                assert!(read_range(&opened, range.clone()).unwrap() == file[range.start as usize..range.end as usize]);
            }
            asked += opened.traffic.bytes();
        }
        // The first prefix comes whole, and short runs between gaps again.
        assert!(asked <= 2 * size, "{asked} of {size}");
        let opened = hub.pinned(&storage);
        assert!(read_range(&opened, 0..size).unwrap() == file);
        hub.0.offline.set(true);
        assert!(read_range(&hub.pinned(&storage), 0..size).unwrap() == file);
        hub.0.offline.set(false);
    }
}

#[test]
fn six_streams_at_once_share_a_file() {
    let file = data(6 * 500_000);
    let hub = Hub::new(&[(FILE, file.clone())]);
    let (_, storage) = storage();
    let opened = hub.pinned(&storage);
    let ranges = (0..6).map(|i| i * 500_000..(i + 1) * 500_000);
    let reads = ranges.map(|range| async { opened.repo.open(FILE, range).await?.collect().await });
    let parts: Vec<_> = block_on(join_all(reads)).into_iter().map(Result::unwrap).collect();
    assert!(parts.concat() == file);
    hub.0.offline.set(true);
    assert!(read_range(&hub.pinned(&storage), 0..3_000_000).unwrap() == file);
}

/// Room for so many bytes, or a lock on everything.
struct Limited {
    inner: Rc<MemoryStorage>,
    limit: u64,
    busy: Cell<bool>,
}

struct LimitedWriter {
    inner: Box<dyn BlobWriter>,
    left: u64,
}

impl BlobWriter for LimitedWriter {
    fn write<'a>(&'a mut self, chunk: &'a Chunk) -> Storing<'a, ()> {
        let len = chunk.len() as u64;
        if len > self.left {
            return Box::pin(ready(Err(StorageError::Full)));
        }
        self.left -= len;
        self.inner.write(chunk)
    }

    fn finish(self: Box<Self>) -> Storing<'static, ()> {
        self.inner.finish()
    }
}

impl Storage for Limited {
    fn kind(&self) -> StorageKind {
        StorageKind::Opfs
    }

    fn keeps_weights(&self) -> bool {
        true
    }

    fn list<'a>(&'a self, folder: &'a str, with_sizes: bool) -> Storing<'a, Vec<Item>> {
        self.inner.list(folder, with_sizes)
    }

    fn open<'a>(&'a self, path: &'a str) -> Storing<'a, Box<dyn Blob>> {
        self.inner.open(path)
    }

    fn create<'a>(&'a self, path: &'a str, size: u64) -> Storing<'a, Box<dyn BlobWriter>> {
        if self.busy.get() {
            return Box::pin(ready(Err(StorageError::Busy)));
        }
        let used: u64 = blobs(&self.inner, "").iter().map(|path| bytes_of(&self.inner, path).len() as u64).sum();
        let left = self.limit.saturating_sub(used);
        Box::pin(async move {
            Ok(Box::new(LimitedWriter { inner: self.inner.create(path, size).await?, left }) as Box<dyn BlobWriter>)
        })
    }

    fn remove<'a>(&'a self, path: &'a str) -> Storing<'a, ()> {
        self.inner.remove(path)
    }

    fn hold<'a>(&'a self, path: &'a str) -> LocalBoxFuture<'a, Box<dyn Any>> {
        self.inner.hold(path)
    }

    fn is_held<'a>(&'a self, path: &'a str) -> LocalBoxFuture<'a, bool> {
        self.inner.is_held(path)
    }
}

fn limited(limit: u64) -> (Rc<Limited>, Rc<dyn Storage>) {
    let inner = Rc::new(MemoryStorage::new(u64::MAX, true));
    let limited = Rc::new(Limited { inner, limit, busy: Cell::new(false) });
    (limited.clone(), limited)
}

fn commits(storage: &dyn Storage) -> Vec<String> {
    block_on(scan(storage)).repos.into_iter().flat_map(|repo| repo.revisions).map(|it| it.commit_hash).collect()
}

#[test]
fn the_least_recently_used_commit_makes_room() {
    let file = data(500_000);
    let hub = Hub::new(&[(FILE, file.clone())]);
    let (_, storage) = limited(1_200_000);
    let third = "3".repeat(40);
    for (commit, used) in [(SHA, "5"), (OTHER, "3")] {
        let opened = hub.open_at(&storage, commit, CacheOptions::default()).unwrap();
        assert!(read_range(&opened, 0..500_000).unwrap() == file);
        let mark = format!("{}/{commit}/+used", repo_folder("https://h", "a/b"));
        block_on(record::write(&*storage, &mark, used.as_bytes()));
    }
    let opened = hub.open_at(&storage, &third, CacheOptions::default()).unwrap();
    assert!(read_range(&opened, 0..500_000).unwrap() == file);
    assert_eq!((opened.cache.evicted_snapshots(), opened.cache.is_full()), (1, false));
    assert_eq!(commits(&*storage), [SHA, &third]);
    hub.0.offline.set(true);
    let opened = hub.open_at(&storage, &third, CacheOptions::default()).unwrap();
    assert!(read_range(&opened, 0..500_000).unwrap() == file);
}

#[test]
fn what_is_in_use_stays_and_the_load_goes_on_without_room() {
    let file = data(2_000_000);
    let hub = Hub::new(&[(FILE, file.clone())]);
    let (_, storage) = limited(1_000_000);
    let in_use = hub.pinned(&storage);
    read_range(&in_use, 0..600_000).unwrap();
    let opened = hub.open_at(&storage, OTHER, CacheOptions::default()).unwrap();
    assert!(read_range(&opened, 0..2_000_000).unwrap() == file);
    assert_eq!((opened.cache.evicted_snapshots(), opened.cache.is_full()), (0, true));
    // What there was room for has been kept, and is right.
    assert_eq!(commits(&*storage).len(), 2);
    let again = hub.open_at(&storage, OTHER, CacheOptions::default()).unwrap();
    assert!(read_range(&again, 0..2_000_000).unwrap() == file);
    assert!(read_range(&in_use, 0..600_000).unwrap() == file[..600_000]);
}

#[test]
fn what_another_tab_writes_goes_uncached_here() {
    let file = data(MAX_SEGMENT + 100);
    let hub = Hub::new(&[(FILE, file.clone())]);
    let (limited, storage) = limited(u64::MAX);
    limited.busy.set(true);
    assert!(read_range(&hub.pinned(&storage), 0..file.len() as u64).unwrap() == file);
    assert!(blobs(&*storage, "").is_empty());
}

#[test]
fn a_cache_is_scanned_and_deleted_in_parts() {
    let hub = Hub::new(&[(FILE, data(5000)), ("sub dir/config.json", b"{}".to_vec())]);
    let (_, storage) = storage();
    let opened = hub.open(&storage);
    read_range(&opened, 0..5000).unwrap();
    read(&opened, "sub dir/config.json").unwrap_err();
    hub.open_at(&storage, OTHER, CacheOptions::default()).unwrap();
    let info = block_on(scan(&*storage));
    let [repo] = &info.repos[..] else { panic!("{info:?}") };
    assert_eq!((repo.repo_id.as_str(), repo.endpoint.as_str(), repo.nb_files), ("a/b", "https://h", 1));
    let [revision, other] = &repo.revisions[..] else { panic!("{info:?}") };
    assert_eq!((revision.commit_hash.as_str(), &revision.refs[..]), (SHA, &["main".to_owned()][..]));
    assert_eq!((revision.files.len(), revision.files[0].file_name.as_str()), (1, FILE));
    assert!((5000..5100).contains(&info.size_on_disk) && revision.size_on_disk == info.size_on_disk);
    assert!(revision.last_accessed > 1_600_000_000_000 && repo.last_accessed >= revision.last_accessed);
    assert_eq!((other.commit_hash.as_str(), other.size_on_disk), (OTHER, 0));

    block_on(delete(&*storage, "a/b", Some("https://elsewhere"), None)).unwrap();
    block_on(delete(&*storage, "a/c", None, None)).unwrap();
    assert_eq!(commits(&*storage), [SHA, OTHER]);
    block_on(delete(&*storage, "a/b", Some("https://h/"), Some("main"))).unwrap();
    assert_eq!(commits(&*storage), [OTHER]);
    block_on(delete(&*storage, "a/b", None, Some(OTHER))).unwrap();
    assert!(blobs(&*storage, "").is_empty());
    read_range(&opened, 0..5000).unwrap();
    block_on(clear(&*storage)).unwrap();
    assert!(blobs(&*storage, "").is_empty());
}

#[test]
fn memory_keeps_small_files_and_no_weights() {
    let hub = Hub::new(&[(FILE, data(500_000)), ("config.json", b"{}".to_vec())]);
    let storage: Rc<dyn Storage> = Rc::new(Rc::new(MemoryStorage::new(1 << 20, false)));
    let visit = || {
        let opened = hub.pinned(&storage);
        read(&opened, "config.json").unwrap();
        block_on(opened.repo.read_prefix(FILE, 1000)).unwrap();
        read_range(&opened, 500..500_000).unwrap();
    };
    visit();
    hub.asked();
    visit();
    assert_eq!(hub.asked(), [format!("{FILE} 1000..500000")]);
}

#[test]
fn a_mirror_that_names_no_commit_is_not_kept() {
    let hub = Hub::new(&[("config.json", b"{}".to_vec())]);
    hub.0.main.replace("none".to_owned());
    let (_, storage) = storage();
    let opened = hub.open(&storage);
    assert_eq!((opened.commit.as_str(), opened.storage), ("main", None));
    read(&opened, "config.json").unwrap();
    assert!(blobs(&*storage, "").is_empty());
}

#[test]
fn ids_and_endpoints_are_checked_before_anything_is_looked_up() {
    let hub = Hub::new(&[]);
    let (_, storage) = storage();
    let local = CacheOptions { local_files_only: true, ..CacheOptions::default() };
    let pin = |options| HubRepo::pin_by(Box::new(hub.clone()), "../x", options, Abort::new());
    let opened = open_with(Some(storage), "../x", HubOptions::default(), &local, Abort::new(), pin);
    assert_eq!(block_on(opened).map(drop).unwrap_err().code(), "INVALID_REPO_ID");
}
