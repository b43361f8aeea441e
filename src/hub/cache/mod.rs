//! The chunk cache: what has come of a repo at a commit is kept, in pieces, and doesn't come again.
//!
//! A commit's files never change, so nothing here is ever out of date: a file is a folder of immutable, sealed segments
//! ([`segment`]), and what lies in the folder is what there is of the file. No list of it is kept beside it, so that two
//! tabs that load at once can't harm each other. A download that ends early leaves what it has brought.
//!
//! As in huggingface_hub, what was downloaded with a token is read without one too: the cache is readable by this origin
//! alone, and a token is never stored.

mod file;
mod memory;
mod names;
mod record;
mod recorder;
mod repo;
mod room;
mod scan;
mod segment;
mod stats;
mod storage;
mod stream;
mod time;
#[cfg(target_arch = "wasm32")]
mod web;

use std::rc::Rc;

use futures_util::future::{FutureExt, LocalBoxFuture};
#[cfg(target_arch = "wasm32")]
pub use web::{every_storage, open};

use super::id::{is_commit, validate_endpoint, validate_repo_id};
use super::{Abort, HubError, HubOptions, HubRepo, Repo, Traffic};
use names::{REPO, USED, ref_path, repo_folder};
use repo::{CachedRepo, Rules};
pub use scan::{CachedFileInfo, CachedRepoInfo, CachedRevisionInfo, HFCacheInfo, clear, delete, scan};
pub use stats::CacheStats;
pub use storage::{Storage, StorageKind};

/// What the cache may do for a repo.
#[derive(Debug, Clone)]
pub struct CacheOptions {
    /// Whether anything is read from the cache or kept in it.
    pub enabled: bool,
    /// The name of the cache, and of its top folder.
    pub cache_dir: String,
    /// Nothing is asked of the endpoint: what isn't there fails with [`HubError::NotCached`].
    pub local_files_only: bool,
    /// Nothing is read from the cache that an earlier load has left: what comes takes its place.
    pub force_download: bool,
    /// Where things are kept; `None`: the best place that there is.
    pub storage: Option<StorageKind>,
}

impl CacheOptions {
    /// The cache that is taken where none is named.
    pub const DEFAULT_DIR: &str = "layerline";
}

impl Default for CacheOptions {
    fn default() -> Self {
        CacheOptions {
            enabled: true,
            cache_dir: Self::DEFAULT_DIR.to_owned(),
            local_files_only: false,
            force_download: false,
            storage: None,
        }
    }
}

/// A repo at one commit.
pub struct OpenedRepo {
    /// Its files.
    pub repo: Rc<dyn Repo>,
    /// The commit.
    pub commit: String,
    /// What has come over the network.
    pub traffic: Rc<Traffic>,
    /// What the cache has done; all zeros without one.
    pub cache: Rc<CacheStats>,
    /// Where the cache keeps things; `None`: nowhere.
    pub storage: Option<StorageKind>,
}

/// Finds the commit that `options.revision` means, and opens the repo at it.
///
/// A commit that is given in full costs no request. A branch or a tag costs one, unless only local files are wanted;
/// where the endpoint can't be reached, or gives no verdict, it is taken for what it was last seen at, as
/// huggingface_hub does.
async fn open_with<P>(
    storage: Option<Rc<dyn Storage>>,
    id: &str,
    options: HubOptions,
    cache: &CacheOptions,
    abort: Abort,
    pin: impl Fn(HubOptions) -> P,
) -> Result<OpenedRepo, HubError>
where
    P: Future<Output = Result<HubRepo, HubError>>,
{
    validate_repo_id(id)?;
    let endpoint = validate_endpoint(&options.endpoint)?.to_owned();
    let revision = options.revision.clone();
    let pinned = if cache.local_files_only && !is_commit(&revision) {
        Err(HubError::NotCached { repo: id.to_owned(), what: format!("revision {revision}") })
    } else {
        pin(options.clone()).await
    };
    let Some(storage) = storage else {
        if cache.local_files_only {
            return Err(HubError::NotCached { repo: id.to_owned(), what: format!("revision {revision}") });
        }
        return pinned.map(uncached);
    };
    let ref_path = ref_path(&repo_folder(&endpoint, id), &revision).filter(|_| !is_commit(&revision));
    let known = async |path: &Option<String>| {
        let bytes = record::read(&*storage, path.as_deref()?).await?;
        String::from_utf8(bytes).ok().filter(|commit| is_commit(commit))
    };
    let hub = match pinned {
        Ok(hub) if is_commit(hub.commit()) => {
            if let Some(path) = &ref_path
                && known(&ref_path).await.as_deref() != Some(hub.commit())
            {
                record::write(&*storage, path, hub.commit().as_bytes()).await;
            }
            hub
        }
        // A mirror that names no commit: what it serves may change.
        Ok(hub) => return Ok(uncached(hub)),
        Err(error) if gives_no_verdict(&error) => match known(&ref_path).await {
            Some(revision) => pin(HubOptions { revision, ..options }).await?,
            None => return Err(error),
        },
        Err(error) => return Err(error),
    };
    let commit = hub.commit().to_owned();
    let folder = repo_folder(hub.endpoint(), id);
    let snapshot = format!("{folder}/{commit}");
    let (traffic, stats) = (hub.traffic(), Rc::<CacheStats>::default());
    let rules = Rules { local_files_only: cache.local_files_only, force_download: cache.force_download };
    if !cache.local_files_only {
        background(Box::pin(describe(storage.clone(), folder, snapshot.clone(), scan::describe(hub.endpoint(), id))));
    }
    let kind = Some(storage.kind());
    let repo = CachedRepo::new(hub, storage, stats.clone(), snapshot, rules, abort).await;
    Ok(OpenedRepo { repo: Rc::new(repo), commit, traffic, cache: stats, storage: kind })
}

fn uncached(hub: HubRepo) -> OpenedRepo {
    let (commit, traffic) = (hub.commit().to_owned(), hub.traffic());
    OpenedRepo { repo: Rc::new(hub), commit, traffic, cache: Rc::default(), storage: None }
}

/// Whether the error leaves open what the revision is: the cache's answer is then better than none.
fn gives_no_verdict(error: &HubError) -> bool {
    matches!(
        error,
        HubError::Network { .. }
            | HubError::BadResponse { .. }
            | HubError::RateLimited { .. }
            | HubError::NotCached { .. }
    )
}

/// Says what the repo's folder is of, and that the commit is used now.
async fn describe(storage: Rc<dyn Storage>, folder: String, snapshot: String, description: String) {
    let path = format!("{folder}/{REPO}");
    if record::read(&*storage, &path).await.as_deref() != Some(description.as_bytes()) {
        record::write(&*storage, &path, description.as_bytes()).await;
    }
    record::write(&*storage, &format!("{snapshot}/{USED}"), time::unix_ms().to_string().as_bytes()).await;
}

/// Runs what nobody waits for. What needs no waiting is done when this returns, even if the thread ends then.
fn background(mut future: LocalBoxFuture<'static, ()>) {
    if (&mut future).now_or_never().is_none() {
        #[cfg(target_arch = "wasm32")]
        wasm_bindgen_futures::spawn_local(future);
    }
}

#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests;
