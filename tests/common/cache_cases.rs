//! The cache against the loopback hub: the same cases in a worker, which writes by synchronous handles, and on a page.

use futures_util::future::join;
use js_sys::{Function, Promise};
use layerline::hub::cache::{CacheOptions, OpenedRepo, StorageKind, clear, delete, every_storage, open, scan};
use layerline::hub::{Abort, HubError, HubOptions};
use serde_json::json;
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::wasm_bindgen_test;

use crate::loopback::{Entry, MODEL, SHARD, faults, log, options, reset};

const MB: u64 = 1 << 20;
const KINDS: [StorageKind; 3] = [StorageKind::Opfs, StorageKind::CacheApi, StorageKind::Memory];

/// An empty cache of its own for each test.
async fn fresh(name: &str) -> CacheOptions {
    reset().await;
    for storage in every_storage(name).await {
        clear(&*storage).await.unwrap();
    }
    CacheOptions { cache_dir: name.to_owned(), ..CacheOptions::default() }
}

async fn visit(cache: &CacheOptions) -> OpenedRepo {
    open(MODEL, options(), cache.clone(), Abort::new()).await.unwrap()
}

async fn read(opened: &OpenedRepo, end: u64) -> Result<Vec<u8>, HubError> {
    opened.repo.open(SHARD, 0..end).await?.collect().await
}

async fn ranges() -> Vec<String> {
    let cdn = |entry: Entry| (entry.host == "cdn").then_some(entry.range?);
    log().await.into_iter().filter_map(cdn).collect()
}

/// Puts what `edit` makes of a segment's bytes in its place.
async fn spoil(cache: &CacheOptions, segment: &str, edit: &str) {
    let walk = Function::new_with_args(
        "top, segment, edit",
        "return (async () => {
            const find = async (folder, inside) => {
                for await (const handle of folder.values()) {
                    const here = inside || handle.name.endsWith('.safetensors');
                    if (handle.kind === 'file' && here && handle.name === segment) return handle;
                    const found = handle.kind === 'directory' && (await find(handle, here));
                    if (found) return found;
                }
            };
            const root = await navigator.storage.getDirectory();
            const handle = await find(await root.getDirectoryHandle(top), false);
            const bytes = new Uint8Array(await (await handle.getFile()).arrayBuffer());
            const edited = new Function('bytes', edit)(bytes);
            if (handle.createSyncAccessHandle) {
                const sync = await handle.createSyncAccessHandle();
                sync.truncate(0);
                sync.write(edited, { at: 0 });
                sync.close();
            } else {
                const stream = await handle.createWritable();
                await stream.write(edited);
                await stream.close();
            }
        })()",
    );
    let edited =
        walk.call3(&cache.cache_dir.as_str().into(), &cache.cache_dir.as_str().into(), &segment.into(), &edit.into());
    JsFuture::from(edited.unwrap().unchecked_into::<Promise>()).await.unwrap();
}

#[wasm_bindgen_test]
async fn a_second_visit_asks_for_the_revision_alone() {
    for kind in KINDS {
        let cache = CacheOptions { storage: Some(kind), ..fresh("second").await };
        let weights = kind != StorageKind::Memory;
        let mut seen = Vec::new();
        for _ in 0..2 {
            reset().await;
            let opened = visit(&cache).await;
            assert_eq!(opened.storage, Some(kind));
            opened.repo.read("config.json", MB).await.unwrap();
            let absent = opened.repo.read("nothing.json", MB).await.unwrap_err();
            assert_eq!(absent.code(), "ENTRY_NOT_FOUND");
            let prefix = opened.repo.read_prefix(SHARD, 100_001).await.unwrap();
            let bytes = if weights { read(&opened, 9 * MB).await.unwrap() } else { Vec::new() };
            seen.push((prefix, bytes, opened.commit.clone()));
        }
        assert!(seen[0] == seen[1], "{kind:?}");
        let asked = log().await;
        assert!(asked.len() == 1 && asked[0].path.contains("/revision/main"), "{kind:?}: {asked:?}");
        // A commit that is given in full needs no request.
        reset().await;
        let pinned = HubOptions { revision: seen[0].2.clone(), ..options() };
        let opened = open(MODEL, pinned, cache.clone(), Abort::new()).await.unwrap();
        opened.repo.read_prefix(SHARD, 100_001).await.unwrap();
        assert!(log().await.is_empty(), "{kind:?}");
    }
}

#[wasm_bindgen_test]
async fn an_aborted_download_resumes_at_the_byte_reached() {
    let cache = fresh("abort").await;
    faults(json!([{"host": "cdn", "method": "GET", "stallAfter": 5_500_000, "times": 1}])).await;
    let abort = Abort::new();
    let opened = open(MODEL, options(), cache.clone(), abort.clone()).await.unwrap();
    let mut stream = opened.repo.open(SHARD, 0..8 * MB).await.unwrap();
    let mut came = 0;
    while came < 5_500_000 {
        came += stream.next().await.unwrap().unwrap().len() as u64;
    }
    let (end, ()) = join(stream.next(), async { abort.abort() }).await;
    assert_eq!(end.unwrap_err().code(), "ABORTED");
    drop(stream);
    drop(opened);
    // On a page the end of what was kept is written behind the stream's back.
    for _ in 0..50 {
        log().await;
    }
    reset().await;
    read(&visit(&cache).await, 8 * MB).await.unwrap();
    assert_eq!(ranges().await, [format!("bytes={came}-{}", 8 * MB - 1)]);
}

#[wasm_bindgen_test]
async fn poisoned_segments_are_fetched_again() {
    let cache = fresh("poison").await;
    let right = read(&visit(&cache).await, 12 * MB).await.unwrap();
    for edit in
        ["bytes[1000] ^= 1; return bytes;", "return bytes.subarray(0, 3000000);", "return bytes.subarray(0, 0);"]
    {
        spoil(&cache, "0", edit).await;
        reset().await;
        let opened = visit(&cache).await;
        assert!(read(&opened, 12 * MB).await.unwrap() == right, "{edit}");
        assert_eq!(opened.cache.spoilt_segments(), 1, "{edit}");
        assert_eq!(ranges().await, [format!("bytes=0-{}", 8 * MB - 1)], "{edit}");
        // … and kept again.
        assert_eq!(read(&visit(&cache).await, 12 * MB).await.map(|bytes| bytes == right), Ok(true));
        assert_eq!(ranges().await.len(), 1);
    }
}

#[wasm_bindgen_test]
async fn two_that_write_the_same_at_once_do_no_harm() {
    let cache = fresh("both").await;
    let (one, two) = join(visit(&cache), visit(&cache)).await;
    let (a, b) = join(read(&one, 6 * MB), read(&two, 6 * MB)).await;
    assert!(a.unwrap() == b.unwrap());
    reset().await;
    let third = visit(&cache).await;
    read(&third, 6 * MB).await.unwrap();
    assert_eq!((ranges().await.len(), third.cache.spoilt_segments()), (0, 0));
}

#[wasm_bindgen_test]
async fn local_files_alone_ask_for_nothing() {
    let cache = fresh("local").await;
    let local = CacheOptions { local_files_only: true, ..cache.clone() };
    let unknown = open(MODEL, options(), local.clone(), Abort::new()).await.map(drop);
    assert_eq!(unknown.unwrap_err().code(), "NOT_CACHED");
    assert!(log().await.is_empty());
    let config = visit(&cache).await.repo.read("config.json", MB).await.unwrap();
    reset().await;
    let opened = visit(&local).await;
    assert_eq!(opened.repo.read("config.json", MB).await.unwrap(), config);
    assert_eq!(read(&opened, MB).await.unwrap_err().code(), "NOT_CACHED");
    assert!(log().await.is_empty());
}

#[wasm_bindgen_test]
async fn without_a_network_the_branch_is_what_it_was() {
    let cache = fresh("offline").await;
    let commit = visit(&cache).await.commit;
    faults(json!([{"destroy": true}])).await;
    assert_eq!(visit(&cache).await.commit, commit);
    reset().await;
}

#[wasm_bindgen_test]
async fn what_is_kept_can_be_listed_and_deleted_while_it_is_used() {
    let cache = fresh("list").await;
    let opened = visit(&cache).await;
    let right = read(&opened, 5 * MB).await.unwrap();
    let storage = every_storage("list").await.swap_remove(0);
    let info = scan(&*storage).await;
    let [repo] = &info.repos[..] else { panic!("{info:?}") };
    assert_eq!((repo.repo_id.as_str(), repo.endpoint.as_str()), (MODEL, crate::loopback::endpoint()));
    let revision = &repo.revisions[0];
    assert_eq!((&revision.commit_hash, &revision.refs[..]), (&opened.commit, &["main".to_owned()][..]));
    assert_eq!(revision.files[0].file_name, SHARD);
    assert!((5 * MB..5 * MB + 1000).contains(&revision.files[0].size_on_disk), "{info:?}");
    assert!(revision.last_accessed > 1_600_000_000_000, "{info:?}");
    delete(&*storage, MODEL, None, Some("main")).await.unwrap();
    assert!(scan(&*storage).await.repos.is_empty());
    // What has gone comes again, and is kept again.
    reset().await;
    assert!(read(&opened, 5 * MB).await.unwrap() == right);
    assert_eq!(ranges().await.len(), 1);
}
