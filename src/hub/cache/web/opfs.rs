//! The origin's private file system. A worker writes by a synchronous handle, a page by a stream that replaces the file
//! when it is closed; both lock the file, so that no two write one. A worker reads by a synchronous handle too where the
//! browser has such handles that let others read: it is several times as fast as a blob, whose bytes come from another process.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;

use futures_util::future::LocalBoxFuture;
use js_sys::{Object, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};

use super::super::storage::{Blob, BlobWriter, Item, Storage, StorageError, StorageKind, Stored, Storing};
use super::blob::{StoredBlob, lender};
use super::{failure, global, locks, with};
use crate::hub::Chunk;
use crate::hub::blob::JsBlob;
use crate::hub::lending::{Lender, Lent};

#[wasm_bindgen]
extern "C" {
    type StorageManager;
    #[wasm_bindgen(method, catch, js_name = getDirectory)]
    async fn root(this: &StorageManager) -> Result<JsValue, JsValue>;

    #[derive(Clone)]
    type Directory;
    #[wasm_bindgen(method, catch, js_name = getDirectoryHandle)]
    async fn directory(this: &Directory, name: &str, options: &Object) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch, js_name = getFileHandle)]
    async fn file(this: &Directory, name: &str, options: &Object) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch, js_name = removeEntry)]
    async fn remove_entry(this: &Directory, name: &str, options: &Object) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn values(this: &Directory) -> Result<Handles, JsValue>;

    /// An async iterator of handles.
    type Handles;
    #[wasm_bindgen(method, catch)]
    async fn next(this: &Handles) -> Result<JsValue, JsValue>;
    type Step;
    #[wasm_bindgen(method, getter)]
    fn done(this: &Step) -> bool;
    #[wasm_bindgen(method, getter)]
    fn value(this: &Step) -> FileHandle;

    type FileHandle;
    #[wasm_bindgen(method, getter)]
    fn kind(this: &FileHandle) -> String;
    #[wasm_bindgen(method, getter)]
    fn name(this: &FileHandle) -> String;
    #[wasm_bindgen(method, catch, js_name = getFile)]
    async fn get_file(this: &FileHandle) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch, js_name = createSyncAccessHandle)]
    async fn sync_handle(this: &FileHandle) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch, js_name = createWritable)]
    async fn writable(this: &FileHandle) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch, js_name = createSyncAccessHandle)]
    async fn sync_handle_with(this: &FileHandle, options: &Object) -> Result<JsValue, JsValue>;

    type SyncHandle;
    #[wasm_bindgen(method, catch, js_name = getSize)]
    fn size(this: &SyncHandle) -> Result<f64, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn read(this: &SyncHandle, bytes: &Uint8Array, options: &Object) -> Result<f64, JsValue>;
    #[wasm_bindgen(method, catch, js_name = write)]
    fn write_at(this: &SyncHandle, bytes: &Uint8Array, options: &Object) -> Result<f64, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn truncate(this: &SyncHandle, size: f64) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn close(this: &SyncHandle) -> Result<JsValue, JsValue>;

    type Writable;
    #[wasm_bindgen(method, catch, js_name = write)]
    async fn write_part(this: &Writable, part: &Object) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch, js_name = close)]
    async fn commit(this: &Writable) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn abort(this: &Writable) -> Result<Promise, JsValue>;
}

/// Bytes that are written at a time: in pieces of 64 kB a gigabyte takes up to 0.6 s more.
const PIECE: u32 = 2 << 20;

fn failed(error: JsValue) -> StorageError {
    failure(&error)
}

fn has_method(name: &str) -> bool {
    global(&["FileSystemFileHandle", "prototype"]).is_some_and(|it| Reflect::has(&it, &name.into()).unwrap_or(false))
}

/// Whether files can be written on this thread.
pub(super) fn can_write() -> bool {
    has_method("createSyncAccessHandle") || has_method("createWritable")
}

/// Whether there are handles that read without keeping others from it.
fn can_share() -> bool {
    has_method("createSyncAccessHandle")
        && global(&["FileSystemSyncAccessHandle", "prototype"])
            .is_some_and(|it| Reflect::has(&it, &"mode".into()).unwrap_or(false))
}

/// A folder of the origin's private file system.
pub(super) struct Opfs {
    name: String,
    top: Directory,
    /// Folders that have been opened, by path.
    open: RefCell<BTreeMap<String, Directory>>,
    lender: Lender,
    pieces: Lender,
    can_share: bool,
}

impl Opfs {
    pub(super) async fn open(name: &str) -> Stored<Opfs> {
        let manager: StorageManager = global(&["navigator", "storage"]).ok_or(StorageError::Missing)?.unchecked_into();
        if !Reflect::has(&manager, &"getDirectory".into()).unwrap_or(false) {
            return Err(StorageError::Missing);
        }
        let root: Directory = manager.root().await.map_err(failed)?.unchecked_into();
        let top = root.directory(name, &with("create", true)).await.map_err(failed)?.unchecked_into();
        Ok(Opfs {
            name: name.to_owned(),
            top,
            open: RefCell::default(),
            lender: lender(),
            pieces: Lender::new(PIECE),
            can_share: can_share(),
        })
    }

    async fn directory(&self, path: &str, create: bool) -> Stored<Directory> {
        let mut directory = self.top.clone();
        let mut ends: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
        ends.push(path.len());
        let mut start = 0;
        for end in ends.into_iter().filter(|end| *end > 0) {
            let (so_far, name) = (path.get(..end).unwrap_or_default(), path.get(start..end).unwrap_or_default());
            start = end + 1;
            let known = self.open.borrow().get(so_far).cloned();
            directory = match known {
                Some(known) => known,
                None => {
                    let found = directory.directory(name, &with("create", create)).await.map_err(failed)?;
                    let found: Directory = found.unchecked_into();
                    self.open.borrow_mut().insert(so_far.to_owned(), found.clone());
                    found
                }
            };
        }
        Ok(directory)
    }

    /// A folder that was removed behind our back is opened anew.
    fn forget(&self) {
        self.open.borrow_mut().clear();
    }

    async fn file(&self, path: &str, create: bool) -> Stored<FileHandle> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        for again in [true, false] {
            let handle = match self.directory(folder, create).await {
                Ok(directory) => directory.file(name, &with("create", create)).await.map_err(failed),
                Err(error) => Err(error),
            };
            match handle {
                Err(StorageError::Missing) if create && again => self.forget(),
                handle => return handle.map(JsCast::unchecked_into),
            }
        }
        Err(StorageError::Missing)
    }

    async fn items(&self, folder: &str, with_sizes: bool) -> Stored<Vec<Item>> {
        let mut items = Vec::new();
        let handles = match self.directory(folder, false).await {
            Ok(directory) => directory.values().map_err(failed)?,
            Err(StorageError::Missing) => return Ok(items),
            Err(error) => return Err(error),
        };
        loop {
            let step: Step = match handles.next().await.map_err(failed) {
                Ok(step) => step.unchecked_into(),
                Err(StorageError::Missing) => break,
                Err(error) => return Err(error),
            };
            if step.done() {
                break;
            }
            let handle = step.value();
            let is_folder = handle.kind() == "directory";
            let mut size = 0;
            if with_sizes
                && !is_folder
                && let Ok(file) = handle.get_file().await
            {
                size = file.unchecked_into::<JsBlob>().size() as u64;
            }
            items.push(Item { name: handle.name(), is_folder, size });
        }
        Ok(items)
    }

    async fn remove(&self, path: &str) -> Stored<()> {
        self.forget();
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let directory = match self.directory(parent, false).await {
            Err(StorageError::Missing) => return Ok(()),
            directory => directory?,
        };
        match directory.remove_entry(name, &with("recursive", true)).await.map_err(failed) {
            Ok(_) | Err(StorageError::Missing) => return Ok(()),
            Err(_) => {}
        }
        // Something in it is being written: the rest goes.
        let mut result = Err(StorageError::Busy);
        for item in self.items(path, false).await.unwrap_or_default() {
            let inner = format!("{path}/{}", item.name);
            match Box::pin(self.remove(&inner)).await {
                Ok(()) => {}
                Err(error) => result = Err(error),
            }
        }
        self.forget();
        if directory.remove_entry(name, &with("recursive", true)).await.is_ok() {
            result = Ok(());
        }
        result
    }

    fn lock_name(&self, path: &str) -> String {
        format!("layerline:{}:{path}", self.name)
    }
}

impl Storage for Opfs {
    fn kind(&self) -> StorageKind {
        StorageKind::Opfs
    }

    fn keeps_weights(&self) -> bool {
        true
    }

    fn list<'a>(&'a self, folder: &'a str, with_sizes: bool) -> Storing<'a, Vec<Item>> {
        Box::pin(self.items(folder, with_sizes))
    }

    fn open<'a>(&'a self, path: &'a str) -> Storing<'a, Box<dyn Blob>> {
        Box::pin(async move {
            let (file, lender) = (self.file(path, false).await?, self.lender.clone());
            // What is just being written, by whomever, can't be opened so.
            if self.can_share
                && let Ok(handle) = file.sync_handle_with(&with("mode", "read-only")).await
            {
                // It closes the handle, whatever comes.
                let mut reader = SyncReader { handle: handle.unchecked_into(), size: 0, lender };
                reader.size = reader.handle.size().map_err(failed)? as u64;
                return Ok(Box::new(reader) as Box<dyn Blob>);
            }
            let blob = file.get_file().await.map_err(failed)?.unchecked_into::<JsBlob>();
            Ok(Box::new(StoredBlob { blob, lender }) as Box<dyn Blob>)
        })
    }

    fn create<'a>(&'a self, path: &'a str, size: u64) -> Storing<'a, Box<dyn BlobWriter>> {
        Box::pin(async move {
            let file = self.file(path, true).await?;
            if has_method("createSyncAccessHandle") {
                let handle = file.sync_handle().await.map_err(failed)?.unchecked_into();
                return Ok(Box::new(SyncWriter::new(handle, size as f64, &self.pieces)?) as Box<dyn BlobWriter>);
            }
            let stream = Some(file.writable().await.map_err(failed)?.unchecked_into());
            Ok(Box::new(StreamWriter { stream, at: 0.0 }) as Box<dyn BlobWriter>)
        })
    }

    fn remove<'a>(&'a self, path: &'a str) -> Storing<'a, ()> {
        Box::pin(self.remove(path))
    }

    fn hold<'a>(&'a self, path: &'a str) -> LocalBoxFuture<'a, Box<dyn Any>> {
        Box::pin(async move { locks::hold(&self.lock_name(path)) })
    }

    fn is_held<'a>(&'a self, path: &'a str) -> LocalBoxFuture<'a, bool> {
        Box::pin(async move { locks::is_held(&self.lock_name(path)).await })
    }
}

struct SyncReader {
    handle: SyncHandle,
    size: u64,
    lender: Lender,
}

impl Blob for SyncReader {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, range: Range<u64>) -> Storing<'_, Chunk> {
        Box::pin(async move {
            let length = u32::try_from(range.end.saturating_sub(range.start)).map_err(|_| StorageError::Busy)?;
            let memory = self.lender.lend_at_least(length);
            let wanted = memory.subarray(0, length);
            let read = self.handle.read(&wanted, &with("at", range.start as f64)).map_err(failed)?;
            let lent = Lent::new(memory.buffer().unchecked_into(), &self.lender);
            Ok(Chunk::lent(wanted.subarray(0, read as u32), lent))
        })
    }

    fn close(&self) {
        let _ = self.handle.close();
    }
}

impl Drop for SyncReader {
    fn drop(&mut self) {
        // An open handle keeps the file from being removed. Closing one that is closed does nothing.
        let _ = self.handle.close();
    }
}

/// Gathers pieces, each of which is written at once.
struct SyncWriter {
    handle: SyncHandle,
    /// The file's bytes, as it is now.
    size: f64,
    /// Where what is gathered begins.
    at: f64,
    memory: Uint8Array,
    /// How much of `memory` is gathered.
    filled: u32,
    _lent: Lent,
}

impl SyncWriter {
    /// Makes the file `size` bytes long: that there is no room is said now, and growing by a write takes twice as long.
    fn new(handle: SyncHandle, size: f64, pieces: &Lender) -> Stored<SyncWriter> {
        let memory = pieces.lend();
        let lent = Lent::new(memory.buffer().unchecked_into(), pieces);
        // It closes the handle, whatever comes.
        let mut writer = SyncWriter { handle, size: 0.0, at: 0.0, memory, filled: 0, _lent: lent };
        if writer.handle.size().map_err(failed)? > 0.0 {
            writer.resize(0.0)?;
        }
        writer.resize(size)?;
        Ok(writer)
    }

    fn resize(&mut self, size: f64) -> Stored<()> {
        self.handle.truncate(size).map_err(failed)?;
        self.size = size;
        Ok(())
    }

    /// Writes what is gathered.
    fn flush(&mut self) -> Stored<()> {
        let piece = self.memory.subarray(0, self.filled);
        let written = self.handle.write_at(&piece, &with("at", self.at)).map_err(failed)?;
        if written != f64::from(self.filled) {
            return Err(StorageError::Full);
        }
        self.at += written;
        self.filled = 0;
        Ok(())
    }

    fn gather(&mut self, bytes: &Uint8Array) -> Stored<()> {
        let mut from = 0;
        while from < bytes.length() {
            let n = (bytes.length() - from).min(self.memory.length() - self.filled);
            self.memory.set(&bytes.subarray(from, from + n), self.filled);
            self.filled += n;
            from += n;
            if self.filled == self.memory.length() {
                self.flush()?;
            }
        }
        Ok(())
    }
}

impl BlobWriter for SyncWriter {
    fn write<'a>(&'a mut self, chunk: &'a Chunk) -> Storing<'a, ()> {
        Box::pin(async move { self.gather(chunk.as_js()) })
    }

    fn finish(mut self: Box<Self>) -> Storing<'static, ()> {
        Box::pin(async move {
            self.flush()?;
            // Fewer bytes than were to come.
            if self.at < self.size { self.resize(self.at) } else { Ok(()) }
        })
    }
}

impl Drop for SyncWriter {
    fn drop(&mut self) {
        // An open handle keeps the file locked. Closing one that is closed does nothing.
        let _ = self.handle.close();
    }
}

struct StreamWriter {
    /// `None` once it is finished.
    stream: Option<Writable>,
    at: f64,
}

impl BlobWriter for StreamWriter {
    fn write<'a>(&'a mut self, chunk: &'a Chunk) -> Storing<'a, ()> {
        Box::pin(async move {
            let Some(stream) = &self.stream else { return Err(StorageError::Busy) };
            let part = with("type", "write");
            for (name, value) in [("position", self.at.into()), ("data", chunk.as_js().into())] {
                Reflect::set(&part, &name.into(), &value).map_err(failed)?;
            }
            stream.write_part(&part).await.map_err(failed)?;
            self.at += chunk.len() as f64;
            Ok(())
        })
    }

    fn finish(mut self: Box<Self>) -> Storing<'static, ()> {
        Box::pin(async move {
            let Some(stream) = self.stream.take() else { return Ok(()) };
            // What was under way when the stream was dropped may lie behind the end.
            let end = with("type", "truncate");
            Reflect::set(&end, &"size".into(), &self.at.into()).map_err(failed)?;
            stream.write_part(&end).await.map_err(failed)?;
            stream.commit().await.map(drop).map_err(failed)
        })
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        if let Some(aborted) = self.stream.take().and_then(|stream| stream.abort().ok()) {
            // Nobody must hear of an unhandled rejection.
            spawn_local(async move {
                let _ = JsFuture::from(aborted).await;
            });
        }
    }
}
