//! A repo on the Hub whose files are kept.

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use futures_util::lock::Mutex;

use super::super::{Abort, ByteStream, HubError, HubRepo, Prefix, Repo};
use super::file::CachedFile;
use super::names::file_folder;
use super::recorder::keep;
use super::room::Room;
use super::stats::CacheStats;
use super::storage::Storage;
use super::stream::CachedStream;

/// A model repo at one commit, by way of the cache.
pub(super) struct CachedRepo(Rc<Shared>);

/// What a repo shares with the streams that it has opened.
pub(super) struct Shared {
    pub(super) hub: HubRepo,
    pub(super) storage: Rc<dyn Storage>,
    pub(super) room: Rc<Room>,
    pub(super) abort: Abort,
    pub(super) local_files_only: bool,
    force_download: bool,
    /// The commit's folder.
    snapshot: String,
    files: Mutex<BTreeMap<String, Rc<CachedFile>>>,
    /// Tells other tabs that the commit is in use.
    _hold: Box<dyn Any>,
}

/// What the cache may do.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rules {
    pub(super) local_files_only: bool,
    pub(super) force_download: bool,
}

impl CachedRepo {
    pub(super) async fn new(
        hub: HubRepo,
        storage: Rc<dyn Storage>,
        stats: Rc<CacheStats>,
        snapshot: String,
        rules: Rules,
        abort: Abort,
    ) -> CachedRepo {
        let hold = storage.hold(&snapshot).await;
        CachedRepo(Rc::new(Shared {
            hub,
            room: Room::new(storage.clone(), stats, snapshot.clone()),
            storage,
            abort,
            local_files_only: rules.local_files_only,
            force_download: rules.force_download,
            snapshot,
            files: Mutex::default(),
            _hold: hold,
        }))
    }
}

impl Repo for CachedRepo {
    fn id(&self) -> &str {
        self.0.hub.id()
    }

    fn read<'a>(&'a self, path: &'a str, max_bytes: u64) -> LocalBoxFuture<'a, Result<Vec<u8>, HubError>> {
        Box::pin(self.0.read(path, max_bytes))
    }

    fn read_prefix<'a>(&'a self, path: &'a str, max_bytes: u64) -> LocalBoxFuture<'a, Result<Prefix, HubError>> {
        Box::pin(self.read_prefix(path, max_bytes))
    }

    fn open<'a>(
        &'a self,
        path: &'a str,
        range: Range<u64>,
    ) -> LocalBoxFuture<'a, Result<Box<dyn ByteStream>, HubError>> {
        Box::pin(async move {
            let Some(file) = self.0.file(path).await? else { return self.0.hub.open(path, range).await };
            self.stream(file, path, range).await
        })
    }

    fn forget<'a>(&'a self, path: &'a str) -> LocalBoxFuture<'a, ()> {
        Box::pin(self.0.forget(path))
    }
}

impl CachedRepo {
    async fn stream(
        &self,
        file: Rc<CachedFile>,
        path: &str,
        range: Range<u64>,
    ) -> Result<Box<dyn ByteStream>, HubError> {
        let mut stream = CachedStream::new(self.0.clone(), file, path, range);
        stream.decide().await?;
        Ok(Box::new(stream))
    }

    async fn read_prefix(&self, path: &str, max_bytes: u64) -> Result<Prefix, HubError> {
        let shared = &*self.0;
        let Some(file) = shared.file(path).await? else { return shared.hub.read_prefix(path, max_bytes).await };
        if let Some(bytes) = shared.cached_start(&file, max_bytes).await {
            return Ok(Prefix { bytes, file_size: file.size() });
        }
        if shared.local_files_only {
            return Err(shared.not_cached(format!("bytes 0..{max_bytes} of {path}")));
        }
        // A part of it is there: the rest is a range.
        if let Some(size) = file.size()
            && shared.storage.keeps_weights()
        {
            let bytes = self.stream(file, path, 0..max_bytes.min(size)).await?.collect().await?;
            return Ok(Prefix { bytes, file_size: Some(size) });
        }
        let read = shared.hub.read_prefix(path, max_bytes).await;
        match &read {
            Ok(prefix) => keep(&file, &shared.room, &prefix.bytes, prefix.file_size).await,
            Err(error) => shared.keep_absence(&file, path, error).await,
        }
        read
    }
}

impl Shared {
    pub(super) fn not_cached(&self, what: impl Into<String>) -> HubError {
        HubError::NotCached { repo: self.hub.id().to_owned(), what: what.into() }
    }

    /// What the cache knows of a file; `None` where it can't keep it.
    ///
    /// Fails with [`HubError::EntryNotFound`] where the commit is known to lack it.
    async fn file(&self, path: &str) -> Result<Option<Rc<CachedFile>>, HubError> {
        if self.abort.is_aborted() {
            return Err(HubError::Aborted { repo: self.hub.id().to_owned() });
        }
        let Some(folder) = file_folder(&self.snapshot, &self.hub.full_path(path)) else {
            return if self.local_files_only { Err(self.not_cached(path)) } else { Ok(None) };
        };
        let mut files = self.files.lock().await;
        let file = match files.get(path) {
            Some(file) => file.clone(),
            None => {
                if self.force_download && !self.local_files_only {
                    // What another tab is just writing stays, and is right.
                    let _ = self.storage.remove(&folder).await;
                }
                let file = CachedFile::open(self.storage.clone(), folder, self.room.stats.clone()).await;
                files.insert(path.to_owned(), file.clone());
                file
            }
        };
        if file.is_absent() {
            let revision = self.hub.commit().to_owned();
            return Err(HubError::EntryNotFound { repo: self.hub.id().to_owned(), revision, path: path.to_owned() });
        }
        Ok(Some(file))
    }

    async fn read(&self, path: &str, max_bytes: u64) -> Result<Vec<u8>, HubError> {
        let Some(file) = self.file(path).await? else { return self.hub.read(path, max_bytes).await };
        if let Some(bytes) = self.cached_start(&file, max_bytes.saturating_add(1)).await
            && let Some(size) = file.size()
        {
            if size > max_bytes {
                return Err(HubError::TooLarge { repo: self.hub.id().to_owned(), path: path.to_owned(), max_bytes });
            }
            if bytes.len() as u64 == size {
                return Ok(bytes);
            }
        }
        if self.local_files_only {
            return Err(self.not_cached(path));
        }
        let read = self.hub.read(path, max_bytes).await;
        match &read {
            Ok(bytes) => keep(&file, &self.room, bytes, Some(bytes.len() as u64)).await,
            Err(error) => self.keep_absence(&file, path, error).await,
        }
        read
    }

    /// The file's first `most` bytes, or all of it where it is shorter, if the cache has them all.
    async fn cached_start(&self, file: &Rc<CachedFile>, most: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            let at = bytes.len() as u64;
            let end = file.size().map_or(most, |size| size.min(most));
            // Whether the file is empty its only segment says.
            if at >= end && at > 0 {
                bytes.truncate(usize::try_from(end).ok()?);
                return Some(bytes);
            }
            let Some(reader) = file.find(at).await else {
                return (file.size() == Some(0)).then_some(bytes);
            };
            let mut at = at;
            while reader.trailer.range.contains(&at) && at < most {
                let chunk = reader.next(at).await?;
                bytes.extend_from_slice(&chunk.to_vec());
                at = bytes.len() as u64;
            }
        }
    }

    async fn forget(&self, path: &str) {
        if let Some(file) = self.files.lock().await.remove(path) {
            // What another tab is just writing stays.
            let _ = self.storage.remove(&file.folder).await;
        }
    }

    async fn keep_absence(&self, file: &CachedFile, path: &str, error: &HubError) {
        if matches!(error, HubError::EntryNotFound { .. }) && self.hub.is_known_absent(path) {
            file.set_absent().await;
        }
    }
}
