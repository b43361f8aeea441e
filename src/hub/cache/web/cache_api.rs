//! The Cache API: a blob is a response, its path the URL. A response is stored whole, so that a segment waits in memory
//! until it is complete.

use std::any::Any;

use futures_util::future::LocalBoxFuture;
use js_sys::{Array, Reflect};
use wasm_bindgen::prelude::*;

use super::super::memory::MemoryStorage;
use super::super::storage::{Blob, BlobWriter, Item, Storage, StorageError, StorageKind, Stored, Storing};
use super::blob::{StoredBlob, lender};
use super::{failure, global, locks};
use crate::hub::Chunk;
use crate::hub::blob::JsBlob;
use crate::hub::lending::Lender;

/// Nothing is ever fetched from it: it only makes URLs of paths.
const BASE: &str = "https://cache.layerline.invalid/";

#[wasm_bindgen]
extern "C" {
    type CacheStorage;
    #[wasm_bindgen(method, catch, js_name = open)]
    async fn open_cache(this: &CacheStorage, name: &str) -> Result<JsValue, JsValue>;

    #[derive(Clone)]
    type Cache;
    #[wasm_bindgen(method, catch, js_name = match)]
    async fn find(this: &Cache, url: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    async fn put(this: &Cache, url: &str, response: &NewResponse) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    async fn delete(this: &Cache, url: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    async fn keys(this: &Cache) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(js_name = Response)]
    type NewResponse;
    #[wasm_bindgen(constructor, js_class = "Response", catch)]
    fn of_blob(body: &JsBlob) -> Result<NewResponse, JsValue>;
    #[wasm_bindgen(method, catch)]
    async fn blob(this: &NewResponse) -> Result<JsValue, JsValue>;
}

fn failed(error: JsValue) -> StorageError {
    failure(&error)
}

/// A cache of the Cache API.
pub(super) struct CacheApi {
    name: String,
    cache: Cache,
    lender: Lender,
}

impl CacheApi {
    pub(super) async fn open(name: &str) -> Stored<CacheApi> {
        let caches: CacheStorage = global(&["caches"]).ok_or(StorageError::Missing)?.unchecked_into();
        let cache = caches.open_cache(name).await.map_err(failed)?.unchecked_into();
        Ok(CacheApi { name: name.to_owned(), cache, lender: lender() })
    }

    async fn find(&self, path: &str) -> Stored<JsBlob> {
        let found = self.cache.find(&url(path)).await.map_err(failed)?;
        if found.is_undefined() {
            return Err(StorageError::Missing);
        }
        Ok(found.unchecked_into::<NewResponse>().blob().await.map_err(failed)?.unchecked_into())
    }

    /// All paths.
    async fn paths(&self) -> Stored<Vec<String>> {
        let requests: Array = self.cache.keys().await.map_err(failed)?.unchecked_into();
        let path = |request: JsValue| {
            let url = Reflect::get(&request, &"url".into()).ok()?.as_string()?;
            url.strip_prefix(BASE).map(str::to_owned)
        };
        Ok(requests.iter().filter_map(path).collect())
    }

    async fn items(&self, folder: &str, with_sizes: bool) -> Stored<Vec<Item>> {
        let prefix = MemoryStorage::within(folder);
        let mut items: Vec<Item> = Vec::new();
        for path in self.paths().await? {
            let Some(rest) = path.strip_prefix(&prefix) else { continue };
            let (name, is_folder) = rest.split_once('/').map_or((rest, false), |(folder, _)| (folder, true));
            if is_folder && items.iter().any(|item| item.name == name) {
                continue;
            }
            let mut size = 0;
            if with_sizes
                && !is_folder
                && let Ok(blob) = self.find(&path).await
            {
                size = blob.size() as u64;
            }
            items.push(Item { name: name.to_owned(), is_folder, size });
        }
        Ok(items)
    }

    async fn remove(&self, path: &str) -> Stored<()> {
        self.cache.delete(&url(path)).await.map_err(failed)?;
        let prefix = MemoryStorage::within(path);
        for path in self.paths().await?.iter().filter(|found| found.starts_with(&prefix)) {
            self.cache.delete(&url(path)).await.map_err(failed)?;
        }
        Ok(())
    }

    fn lock_name(&self, path: &str) -> String {
        format!("layerline:{}:{path}", self.name)
    }
}

fn url(path: &str) -> String {
    format!("{BASE}{path}")
}

impl Storage for CacheApi {
    fn kind(&self) -> StorageKind {
        StorageKind::CacheApi
    }

    fn keeps_weights(&self) -> bool {
        true
    }

    fn list<'a>(&'a self, folder: &'a str, with_sizes: bool) -> Storing<'a, Vec<Item>> {
        Box::pin(self.items(folder, with_sizes))
    }

    fn open<'a>(&'a self, path: &'a str) -> Storing<'a, Box<dyn Blob>> {
        Box::pin(async move {
            let blob = self.find(path).await?;
            Ok(Box::new(StoredBlob { blob, lender: self.lender.clone() }) as Box<dyn Blob>)
        })
    }

    fn create<'a>(&'a self, path: &'a str, _size: u64) -> Storing<'a, Box<dyn BlobWriter>> {
        let writer = Writer { cache: self.cache.clone(), url: url(path), parts: Array::new() };
        Box::pin(async move { Ok(Box::new(writer) as Box<dyn BlobWriter>) })
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

struct Writer {
    cache: Cache,
    url: String,
    parts: Array,
}

impl BlobWriter for Writer {
    fn write<'a>(&'a mut self, chunk: &'a Chunk) -> Storing<'a, ()> {
        // The chunk's memory is its own no longer than the chunk lives.
        self.parts.push(&chunk.as_js().slice(0, chunk.as_js().length()));
        Box::pin(async { Ok(()) })
    }

    fn finish(self: Box<Self>) -> Storing<'static, ()> {
        Box::pin(async move {
            let response = JsBlob::of(&self.parts).and_then(|blob| NewResponse::of_blob(&blob)).map_err(failed)?;
            self.cache.put(&self.url, &response).await.map(drop).map_err(failed)
        })
    }
}
