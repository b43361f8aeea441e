//! What a cache holds, in the words of huggingface_hub's `scan_cache_dir`, and removing it.

use serde::{Deserialize, Serialize};

use super::names::{ABSENT, REFS, REPO, decode};
use super::record;
use super::room::{folders, last_used, remove_snapshot};
use super::storage::{Storage, Stored};

/// All that a cache holds. Sizes are bytes as they lie in the storage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HFCacheInfo {
    /// Of all repos.
    pub size_on_disk: u64,
    /// By endpoint and id.
    pub repos: Vec<CachedRepoInfo>,
}

/// One repo's part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CachedRepoInfo {
    /// `org/name`
    pub repo_id: String,
    /// Where it comes from.
    pub endpoint: String,
    /// Of all revisions.
    pub size_on_disk: u64,
    /// Files of all revisions.
    pub nb_files: usize,
    /// When one of its revisions was last opened, in milliseconds since 1970.
    pub last_accessed: u64,
    /// By commit.
    pub revisions: Vec<CachedRevisionInfo>,
}

/// One commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CachedRevisionInfo {
    /// The commit.
    pub commit_hash: String,
    /// Branches and tags that were last seen at it.
    pub refs: Vec<String>,
    /// Of all files.
    pub size_on_disk: u64,
    /// When it was last opened, in milliseconds since 1970.
    pub last_accessed: u64,
    /// By path.
    pub files: Vec<CachedFileInfo>,
}

/// One file, or as much of it as there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CachedFileInfo {
    /// The path in the repo.
    pub file_name: String,
    /// What there is of it.
    pub size_on_disk: u64,
}

#[derive(Serialize, Deserialize)]
struct Description {
    endpoint: String,
    repo_id: String,
}

/// What a repo's folder is of, as a record.
pub(super) fn describe(endpoint: &str, repo_id: &str) -> String {
    let description = Description { endpoint: endpoint.to_owned(), repo_id: repo_id.to_owned() };
    serde_json::to_string(&description).unwrap_or_default()
}

impl HFCacheInfo {
    /// Adds what another storage holds.
    pub fn merge(&mut self, other: HFCacheInfo) {
        self.size_on_disk += other.size_on_disk;
        self.repos.extend(other.repos);
    }
}

/// What lies in a storage.
pub async fn scan(storage: &dyn Storage) -> HFCacheInfo {
    let mut info = HFCacheInfo::default();
    for folder in folders(storage, "").await {
        let described = record::read(storage, &format!("{folder}/{REPO}")).await;
        let Some(Description { endpoint, repo_id }) = described.and_then(|json| serde_json::from_slice(&json).ok())
        else {
            continue;
        };
        let refs = refs(storage, &folder).await;
        let mut revisions = Vec::new();
        for commit_hash in folders(storage, &folder).await {
            let snapshot = format!("{folder}/{commit_hash}");
            let files = files(storage, &snapshot).await;
            let of_this = refs.iter().filter(|(_, commit)| *commit == commit_hash);
            revisions.push(CachedRevisionInfo {
                refs: of_this.map(|(name, _)| name.clone()).collect(),
                size_on_disk: files.iter().map(|file| file.size_on_disk).sum(),
                last_accessed: last_used(storage, &snapshot).await,
                files,
                commit_hash,
            });
        }
        revisions.sort_by(|a, b| a.commit_hash.cmp(&b.commit_hash));
        info.repos.push(CachedRepoInfo {
            repo_id,
            endpoint,
            size_on_disk: revisions.iter().map(|revision| revision.size_on_disk).sum(),
            nb_files: revisions.iter().map(|revision| revision.files.len()).sum(),
            last_accessed: revisions.iter().map(|revision| revision.last_accessed).max().unwrap_or(0),
            revisions,
        });
    }
    info.repos.sort_by(|a, b| (&a.endpoint, &a.repo_id).cmp(&(&b.endpoint, &b.repo_id)));
    info.size_on_disk = info.repos.iter().map(|repo| repo.size_on_disk).sum();
    info
}

async fn refs(storage: &dyn Storage, repo: &str) -> Vec<(String, String)> {
    let mut refs = Vec::new();
    for item in storage.list(&format!("{repo}/{REFS}"), false).await.unwrap_or_default() {
        let commit = record::read(storage, &format!("{repo}/{REFS}/{}", item.name)).await;
        refs.extend(decode(&item.name).zip(commit.and_then(|commit| String::from_utf8(commit).ok())));
    }
    refs.sort();
    refs
}

async fn files(storage: &dyn Storage, snapshot: &str) -> Vec<CachedFileInfo> {
    let mut files = Vec::new();
    for folder in folders(storage, snapshot).await {
        let segments = storage.list(&format!("{snapshot}/{folder}"), true).await.unwrap_or_default();
        let kept: Vec<_> = segments.iter().filter(|item| item.name != ABSENT).collect();
        if let Some(file_name) = decode(&folder).filter(|_| !kept.is_empty()) {
            files.push(CachedFileInfo { file_name, size_on_disk: kept.iter().map(|item| item.size).sum() });
        }
    }
    files.sort_by(|a, b| a.file_name.cmp(&b.file_name));
    files
}

/// Deletes a repo, or one revision of it (a commit, or a branch or tag that was seen at one), from every endpoint or from
/// one. A model that is at work with it goes on: what it still needs comes over the network again.
///
/// # Errors
/// Where something of it can't be removed just now; the rest is.
pub async fn delete(
    storage: &dyn Storage,
    repo_id: &str,
    endpoint: Option<&str>,
    revision: Option<&str>,
) -> Stored<()> {
    let mut result = Ok(());
    for folder in folders(storage, "").await {
        let described = record::read(storage, &format!("{folder}/{REPO}")).await;
        let Some(found) = described.and_then(|json| serde_json::from_slice::<Description>(&json).ok()) else {
            continue;
        };
        let asked = endpoint.map(|endpoint| endpoint.trim_end_matches('/'));
        if found.repo_id != repo_id || asked.is_some_and(|endpoint| endpoint != found.endpoint) {
            continue;
        }
        let Some(revision) = revision else {
            result = result.and(storage.remove(&folder).await);
            continue;
        };
        let refs = refs(storage, &folder).await;
        let commit = refs.iter().find(|(name, _)| name == revision).map_or(revision, |(_, commit)| commit);
        if folders(storage, &folder).await.iter().any(|name| name == commit) {
            result = result.and(remove_snapshot(storage, &format!("{folder}/{commit}")).await);
        }
    }
    result
}

/// Deletes everything.
///
/// # Errors
/// Where something can't be removed just now; the rest is.
pub async fn clear(storage: &dyn Storage) -> Stored<()> {
    let mut result = Ok(());
    for item in storage.list("", false).await? {
        result = result.and(storage.remove(&item.name).await);
    }
    result
}
