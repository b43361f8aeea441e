//! Making room: the least recently used commits go first, and none that is in use.

use std::cell::Cell;
use std::rc::Rc;

use futures_util::lock::Mutex;

use super::names::{REFS, REPO, USED};
use super::record;
use super::stats::CacheStats;
use super::storage::{Storage, Stored};

/// One cache's room, as an opened repo sees it.
pub(super) struct Room {
    pub(super) storage: Rc<dyn Storage>,
    pub(super) stats: Rc<CacheStats>,
    /// The commit that is open here.
    snapshot: String,
    generation: Cell<u64>,
    making: Mutex<()>,
}

impl Room {
    pub(super) fn new(storage: Rc<dyn Storage>, stats: Rc<CacheStats>, snapshot: String) -> Rc<Room> {
        Rc::new(Room { storage, stats, snapshot, generation: Cell::new(0), making: Mutex::new(()) })
    }

    /// How often room has been made.
    pub(super) fn generation(&self) -> u64 {
        self.generation.get()
    }

    /// Removes the least recently used commit that nobody uses. False: there is none, and from now on nothing more is
    /// kept. `seen` is the generation before the write that found no room.
    pub(super) async fn make(&self, seen: u64) -> bool {
        let _turn = self.making.lock().await;
        // Another stream has made room while this one waited.
        if self.generation.get() != seen {
            return true;
        }
        for (_, snapshot) in by_age(&*self.storage).await {
            if snapshot == self.snapshot || self.storage.is_held(&snapshot).await {
                continue;
            }
            if remove_snapshot(&*self.storage, &snapshot).await.is_ok() {
                self.generation.set(seen + 1);
                self.stats.count_evicted();
                return true;
            }
        }
        self.stats.set_full();
        false
    }
}

/// All commits' folders, the least recently used first.
async fn by_age(storage: &dyn Storage) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    for repo in folders(storage, "").await {
        for commit in folders(storage, &repo).await {
            let snapshot = format!("{repo}/{commit}");
            found.push((last_used(storage, &snapshot).await, snapshot));
        }
    }
    found.sort();
    found
}

/// The folders in a folder, but for those of the cache's own.
pub(super) async fn folders(storage: &dyn Storage, folder: &str) -> Vec<String> {
    let items = storage.list(folder, false).await.unwrap_or_default();
    items.into_iter().filter(|item| item.is_folder && item.name != REFS).map(|item| item.name).collect()
}

/// Milliseconds since 1970 at which a commit was last opened; 0 where it isn't known.
pub(super) async fn last_used(storage: &dyn Storage, snapshot: &str) -> u64 {
    let bytes = record::read(storage, &format!("{snapshot}/{USED}")).await;
    bytes.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.parse().ok()).unwrap_or(0)
}

/// Removes a commit, and its repo's folder where it was the last.
pub(super) async fn remove_snapshot(storage: &dyn Storage, snapshot: &str) -> Stored<()> {
    storage.remove(snapshot).await?;
    if let Some((repo, _)) = snapshot.rsplit_once('/')
        && folders(storage, repo).await.is_empty()
    {
        for rest in [REFS, REPO] {
            let _ = storage.remove(&format!("{repo}/{rest}")).await;
        }
        let _ = storage.remove(repo).await;
    }
    Ok(())
}
