//! The cache for JavaScript: its options, what it holds, and deleting it.

use wasm_bindgen::prelude::*;

use super::options::Options;
use crate::hub::cache::CacheOptions;

impl Options<'_> {
    /// What the cache may do.
    pub fn cache(&self) -> Result<CacheOptions, JsValue> {
        let default = CacheOptions::default();
        Ok(CacheOptions {
            enabled: self.flag("use_browser_cache")?.unwrap_or(default.enabled),
            cache_dir: self.text("cache_dir")?.filter(|name| !name.is_empty()).unwrap_or(default.cache_dir),
            local_files_only: self.flag("local_files_only")?.unwrap_or(default.local_files_only),
            force_download: self.flag("force_download")?.unwrap_or(default.force_download),
            storage: default.storage,
        })
    }
}

#[cfg(feature = "engine")]
pub use engine::{clear_cache, delete_cached, scan_cache};

// In one of the two wasm files only.
#[cfg(feature = "engine")]
mod engine {
    use wasm_bindgen::prelude::*;

    use crate::api::error::with_code;
    use crate::hub::cache::{HFCacheInfo, clear, delete, every_storage, scan};

    fn stuck(error: &dyn std::error::Error) -> JsValue {
        with_code("CACHE_BUSY", &format!("Something of the cache could not be deleted: {error}. Try again later"))
    }

    /// What the cache of that name holds, as JSON in the form of `HFCacheInfo`.
    #[wasm_bindgen]
    pub async fn scan_cache(cache_dir: String) -> String {
        let mut all = HFCacheInfo::default();
        for storage in every_storage(&cache_dir).await {
            all.merge(scan(&*storage).await);
        }
        serde_json::to_string(&all).unwrap_or_default()
    }

    /// Deletes a repo, or one revision of it, from the cache of that name.
    ///
    /// Throws `CACHE_BUSY` where something of it is just being written; the rest is deleted.
    #[wasm_bindgen]
    pub async fn delete_cached(
        cache_dir: String,
        repo_id: String,
        endpoint: Option<String>,
        revision: Option<String>,
    ) -> Result<(), JsValue> {
        let mut result = Ok(());
        for storage in every_storage(&cache_dir).await {
            result = result.and(delete(&*storage, &repo_id, endpoint.as_deref(), revision.as_deref()).await);
        }
        result.map_err(|error| stuck(&error))
    }

    /// Deletes all that the cache of that name holds.
    ///
    /// Throws `CACHE_BUSY` where something of it is just being written; the rest is deleted.
    #[wasm_bindgen]
    pub async fn clear_cache(cache_dir: String) -> Result<(), JsValue> {
        let mut result = Ok(());
        for storage in every_storage(&cache_dir).await {
            result = result.and(clear(&*storage).await);
        }
        result.map_err(|error| stuck(&error))
    }
}
