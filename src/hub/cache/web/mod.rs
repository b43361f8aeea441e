//! The places that a browser has for things: its private file system, the Cache API, memory.

mod blob;
mod cache_api;
mod locks;
mod opfs;

use std::rc::Rc;

use js_sys::Reflect;
use wasm_bindgen::prelude::*;

use super::super::{Abort, HubError, HubOptions, HubRepo};
use super::memory::MemoryStorage;
use super::names::cache_folder;
use super::storage::{Storage, StorageError, StorageKind};
use super::{CacheOptions, OpenedRepo, open_with};
use cache_api::CacheApi;
use opfs::Opfs;

/// Opens a repo at the commit that `options.revision` means, by way of the cache.
///
/// A commit that is given in full costs no request. A branch or a tag costs one, unless only local files are wanted;
/// where the endpoint can't be reached, or gives no verdict, it is taken for what it was last seen at, as
/// huggingface_hub does. Every request ends with [`HubError::Aborted`] once `abort` is.
pub async fn open(id: &str, options: HubOptions, cache: CacheOptions, abort: Abort) -> Result<OpenedRepo, HubError> {
    let storage = if cache.enabled { Some(best(&cache).await) } else { None };
    open_with(storage, id, options, &cache, abort.clone(), |options| HubRepo::pin(id, options, abort.clone())).await
}

/// The place that was asked for, or the best that there is.
async fn best(cache: &CacheOptions) -> Rc<dyn Storage> {
    let folder = cache_folder(&cache.cache_dir);
    let may = |kind| cache.storage.is_none_or(|asked| asked == kind);
    if may(StorageKind::Opfs)
        && opfs::can_write()
        && let Ok(opfs) = Opfs::open(&folder).await
    {
        return Rc::new(opfs);
    }
    if may(StorageKind::CacheApi)
        && let Ok(api) = CacheApi::open(&folder).await
    {
        return Rc::new(api);
    }
    Rc::new(MemoryStorage::shared(&folder))
}

/// Every place where a cache of that name may have something.
pub async fn every_storage(cache_dir: &str) -> Vec<Rc<dyn Storage>> {
    let folder = cache_folder(cache_dir);
    let mut storages: Vec<Rc<dyn Storage>> = Vec::new();
    // What can't be written here, a worker may have written.
    if let Ok(opfs) = Opfs::open(&folder).await {
        storages.push(Rc::new(opfs));
    }
    if let Ok(api) = CacheApi::open(&folder).await {
        storages.push(Rc::new(api));
    }
    storages.push(Rc::new(MemoryStorage::shared(&folder)));
    storages
}

/// `globalThis.a.b`; `None` where there is none.
fn global(path: &[&str]) -> Option<JsValue> {
    let found = path.iter().try_fold(JsValue::from(js_sys::global()), |object, name| {
        if object.is_null_or_undefined() { None } else { Reflect::get(&object, &(*name).into()).ok() }
    });
    found.filter(|value| !value.is_null_or_undefined())
}

/// An object with one entry.
fn with(name: &str, value: impl Into<JsValue>) -> js_sys::Object {
    let object = js_sys::Object::new();
    // Setting a new property of a fresh, extensible object can't fail.
    let _ = Reflect::set(&object, &name.into(), &value.into());
    object
}

/// What a storage's rejection means, by its name.
fn failure(error: &JsValue) -> StorageError {
    let text = |name: &str| Reflect::get(error, &name.into()).ok().and_then(|value| value.as_string());
    match text("name").as_deref() {
        Some("NotFoundError") => StorageError::Missing,
        Some("QuotaExceededError") => StorageError::Full,
        Some("NoModificationAllowedError" | "InvalidStateError") => StorageError::Busy,
        _ => StorageError::Failed(text("message").unwrap_or_else(|| format!("{error:?}"))),
    }
}
