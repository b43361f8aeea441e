//! Where a repo can be but a hub, in a browser: a folder of some web server, files of the page's, a folder of the user's.
#![cfg(target_arch = "wasm32")]
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "common/loopback.rs"]
mod loopback;

use std::ops::Range;
use std::time::Duration;

use js_sys::{ArrayBuffer, Function, Map, Promise, Uint8Array};
use layerline::hub::{Abort, FilesRepo, HubError, HubRepo, Repo, Timeouts};
use loopback::{MODEL, SHARD, endpoint, faults, log, options, pin, reset};
use serde_json::json;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

async fn read(repo: &dyn Repo, path: &str, range: Range<u64>) -> Result<Vec<u8>, HubError> {
    repo.open(path, range).await?.collect().await
}

/// Calls a function of JavaScript's and waits for what it promises.
async fn js(arguments: &str, body: &str, values: [&JsValue; 2]) -> JsValue {
    let promise = Function::new_with_args(arguments, body).call2(&JsValue::NULL, values[0], values[1]).unwrap();
    JsFuture::from(promise.unchecked_into::<Promise>()).await.unwrap()
}

// A URL.

fn at_url() -> HubRepo {
    let (limit, retry) = (Duration::from_secs(1), Duration::from_millis(20));
    let timeouts = Timeouts { answer: limit, silence: limit, retry };
    let base = format!("{}/{MODEL}/resolve/main/", endpoint());
    HubRepo::at_url(&base, layerline::hub::HubOptions { timeouts, ..options() }, Abort::new()).unwrap()
}

const RANGE: Range<u64> = 5000..2_005_000;

#[wasm_bindgen_test]
async fn a_url_gives_the_same_bytes_whatever_happens_to_them() {
    reset().await;
    let whole = read(&pin(MODEL).await.unwrap(), SHARD, RANGE).await.unwrap();
    assert!(read(&at_url(), SHARD, RANGE).await.unwrap() == whole);
    let survived = [
        json!({"host": "cdn", "method": "GET", "dropAfter": 300_000, "times": 2}),
        json!({"host": "cdn", "method": "GET", "stallAfter": 300_000, "times": 1}),
        json!({"host": "cdn", "method": "GET", "hang": true, "times": 1}),
        json!({"host": "hub", "path": SHARD, "status": 503, "times": 1}),
        json!({"host": "hub", "path": SHARD, "status": 429, "headers": {"Retry-After": "0"}, "times": 1}),
        json!({"host": "cdn", "ignoreRange": true}),
    ];
    for fault in survived {
        faults(json!([fault])).await;
        let repo = at_url();
        assert!(read(&repo, SHARD, RANGE).await.unwrap() == whole, "{fault}");
        assert!(log().await.iter().any(|entry| entry.host == "cdn"), "{fault}");
    }
    reset().await;
}

#[wasm_bindgen_test]
async fn a_urls_faults_have_their_codes() {
    let typed = [
        (json!({"host": "hub", "path": SHARD, "status": 404}), "ENTRY_NOT_FOUND"),
        (json!({"host": "hub", "path": SHARD, "status": 500}), "BAD_RESPONSE"),
        (json!({"host": "cdn", "contentRange": "bytes 0-99999/9999999"}), "BAD_RESPONSE"),
        (json!({"host": "hub", "path": SHARD, "hang": true}), "NETWORK"),
        (json!({"host": "cdn", "method": "GET", "dropAfter": 0}), "NETWORK"),
    ];
    for (fault, code) in typed {
        faults(json!([fault])).await;
        assert_eq!(read(&at_url(), SHARD, RANGE).await.unwrap_err().code(), code, "{fault}");
    }
    // A web server has no commits: only validators tell that a file isn't the one that it was.
    reset().await;
    let repo = at_url();
    repo.read_prefix(SHARD, 9).await.unwrap();
    faults(json!([{"host": "cdn", "headers": {"ETag": "\"other\""}}])).await;
    assert_eq!(read(&repo, SHARD, RANGE).await.unwrap_err().code(), "FILE_CHANGED");
    reset().await;
}

// Files of the page's.

/// Bytes that tell where they lie.
fn content() -> Vec<u8> {
    (0..2_500_000_u32).map(|i| (i % 251) as u8).collect()
}

async fn blob(bytes: &[u8]) -> JsValue {
    js("bytes", "return Promise.resolve(new Blob([bytes]))", [&Uint8Array::from(bytes), &JsValue::NULL]).await
}

/// The same files, as a map of each kind of value and as a folder of the origin's.
async fn repos() -> Vec<FilesRepo> {
    let content = content();
    let bytes = Uint8Array::from(&content[..]);
    let within = ArrayBuffer::new(content.len() as u32 + 7);
    let view = Uint8Array::new_with_byte_offset(&within, 7);
    view.copy_from(&content);
    let values = [blob(&content).await, bytes.buffer().into(), view.into()];
    let mut repos = Vec::new();
    for value in values {
        let files = Map::new();
        files.set(&"weights.bin".into(), &value);
        files.set(&"sub/weights.bin".into(), &value);
        files.set(&"empty".into(), &Uint8Array::new_with_length(0));
        repos.push(FilesRepo::from_js(&files, None).unwrap());
    }
    let body = "const root = await navigator.storage.getDirectory();
        const folder = await root.getDirectoryHandle('picked', {create: true});
        const put = async (folder, name, bytes) => {
            const file = await (await folder.getFileHandle(name, {create: true})).createWritable();
            await file.write(bytes);
            await file.close();
        };
        await put(folder, 'weights.bin', bytes);
        await put(folder, 'empty', new Uint8Array());
        await put(await folder.getDirectoryHandle('sub', {create: true}), 'weights.bin', bytes);
        return folder;";
    let folder = js("bytes", &format!("return (async () => {{ {body} }})()"), [&bytes, &JsValue::NULL]).await;
    repos.push(FilesRepo::from_js(&folder, None).unwrap());
    repos
}

#[wasm_bindgen_test]
async fn files_of_every_kind_are_read_by_range() {
    let content = content();
    for (kind, repo) in repos().await.iter().enumerate() {
        for range in [0..1, 0..2_500_000, 1_048_575..1_048_577, 2_499_999..2_500_000, 7..2_097_160] {
            let expected = &content[range.start as usize..range.end as usize];
            assert!(read(repo, "weights.bin", range.clone()).await.unwrap() == expected, "{kind}: {range:?}");
            assert!(read(repo, "sub/weights.bin", range.clone()).await.unwrap() == expected, "{kind}: {range:?}");
        }
        assert!(read(repo, "empty", 0..0).await.unwrap().is_empty());
        assert!(repo.read("empty", 9).await.unwrap().is_empty());
        assert!(repo.read("weights.bin", 2_500_000).await.unwrap() == content);
        let prefix = repo.read_prefix("weights.bin", 3000).await.unwrap();
        assert_eq!((&prefix.bytes[..], prefix.file_size), (&content[..3000], Some(2_500_000)));
    }
}

#[wasm_bindgen_test]
async fn streams_do_not_share_what_they_read() {
    // Memory that one stream gives back is another's next: what the first has handed out must not change under it.
    for repo in repos().await {
        let mut first = repo.open("weights.bin", 0..1_000_000).await.unwrap();
        let held = first.next().await.unwrap().unwrap();
        for _ in 0..20 {
            read(&repo, "weights.bin", 1_000_000..2_500_000).await.unwrap();
        }
        assert!(held.to_vec() == content()[..held.len()]);
    }
}

#[wasm_bindgen_test]
async fn what_files_lack_has_its_code() {
    for repo in repos().await {
        assert_eq!(repo.read("nothing", 9).await.unwrap_err().code(), "ENTRY_NOT_FOUND");
        assert_eq!(repo.read("weights.bin", 9).await.unwrap_err().code(), "TOO_LARGE");
        assert_eq!(read(&repo, "weights.bin", 9..2_500_001).await.unwrap_err().code(), "RANGE_NOT_SATISFIABLE");
        for path in ["../weights.bin", "/weights.bin", "sub/../weights.bin", "a\\b", ""] {
            assert_eq!(repo.read(path, 9_000_000).await.unwrap_err().code(), "INVALID_PATH", "{path}");
        }
    }
    for nothing in [JsValue::NULL, "weights.bin".into(), js_sys::Object::new().into()] {
        assert!(FilesRepo::from_js(&nothing, None).is_none());
    }
}

#[wasm_bindgen_test]
async fn a_subfolder_is_the_root() {
    let files = Map::new();
    files.set(&"a/b/config.json".into(), &blob(b"{}").await);
    let repo = FilesRepo::from_js(&files, Some("a/b".to_owned())).unwrap();
    assert_eq!(repo.read("config.json", 9).await.unwrap(), b"{}");
    assert_eq!(repo.read("a/b/config.json", 9).await.unwrap_err().code(), "ENTRY_NOT_FOUND");
}
