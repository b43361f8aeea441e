//! The Hub client in a browser, against the loopback hub: real CORS, real redirects to a second origin, real breaks.
#![cfg(target_arch = "wasm32")]
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "common/loopback.rs"]
mod loopback;

use std::ops::Range;
use std::time::Duration;

use futures_util::future::join;
use layerline::Error;
use layerline::checkpoint::{Catalog, CatalogOptions, CheckpointError};
use layerline::config::{ModelConfig, TransformerConfig, TransformerDefaults};
use layerline::hub::{Abort, HubError, HubOptions, HubRepo, Repo, Timeouts};
use layerline::tensor::Dtype;
use loopback::{MODEL, SHARD, endpoint, faults, log, options, pin, reset};
use serde_json::json;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web_sys::AbortController;

wasm_bindgen_test_configure!(run_in_browser);

/// A client that soon loses its patience.
async fn hasty() -> HubRepo {
    let (limit, retry) = (Duration::from_secs(1), Duration::from_millis(20));
    let timeouts = Timeouts { answer: limit, silence: limit, retry };
    HubRepo::pin(MODEL, HubOptions { timeouts, ..options() }, Abort::new()).await.unwrap()
}

/// The ranges of [`SHARD`] that the CDN was asked for.
async fn ranges() -> Vec<String> {
    log().await.into_iter().filter_map(|entry| (entry.host == "cdn").then_some(entry.range?)).collect()
}

async fn read(repo: &HubRepo, range: Range<u64>) -> Result<Vec<u8>, HubError> {
    repo.open(SHARD, range).await?.collect().await
}

/// Waits until the hub has heard that nobody wants its answers any more.
///
/// Firefox keeps a silent connection that a redirect led to, though its request was aborted.
async fn until_closed(fault: &impl std::fmt::Display) {
    let navigator = js_sys::Reflect::get(&js_sys::global(), &"navigator".into()).unwrap();
    let agent = js_sys::Reflect::get(&navigator, &"userAgent".into()).unwrap();
    let firefox = agent.as_string().unwrap().contains("Firefox");
    let kept = |entry: &loopback::Entry| firefox && entry.host == "cdn";
    let began = js_sys::Date::now();
    loop {
        let log = log().await;
        if !log.iter().any(|entry| entry.done == "open" && !entry.path.starts_with("/__") && !kept(entry)) {
            return;
        }
        assert!(js_sys::Date::now() - began < 10_000.0, "{fault}: {log:?}");
    }
}

#[wasm_bindgen_test]
async fn a_model_is_known_after_kilobytes() {
    reset().await;
    let repo = pin(MODEL).await.unwrap();
    assert_eq!(repo.commit().len(), 40);
    let config =
        TransformerConfig::parse(&ModelConfig::open(&repo).await.unwrap(), &TransformerDefaults::LLAMA).unwrap();
    let catalog = Catalog::open(&repo, &CatalogOptions::default()).await.unwrap();

    let embedding = &catalog.tensors["model.embed_tokens.weight"];
    assert_eq!((embedding.dtype, &embedding.shape[..]), (Dtype::BF16, &[config.vocab_size, config.hidden_size][..]));
    // Nine weights a block, the embedding and the last norm.
    assert_eq!(catalog.tensors.len(), 9 * config.num_hidden_layers + 2);
    assert_eq!(catalog.files.len(), 6);
    for (i, file) in catalog.files.iter().enumerate() {
        let last = catalog.tensors.values().filter(|tensor| tensor.file == i).map(|tensor| tensor.range.end).max();
        assert_eq!(file.size, last, "{}", file.path);
    }

    let log = log().await;
    let weights = repo.traffic().bytes();
    assert!(weights < 1_000_000, "{weights} bytes");
    for entry in log.iter().filter(|entry| entry.host == "hub").skip(1) {
        assert!(entry.path.contains(repo.commit()), "{entry:?}");
    }
    // Nothing but single first ranges of the shards, each from the other origin after one redirect.
    let cdn: Vec<_> = log.iter().filter(|entry| entry.host == "cdn").collect();
    assert_eq!(cdn.len(), 6);
    assert!(cdn.iter().all(|entry| entry.range.as_deref() == Some("bytes=0-100000") && entry.status == Some(206)));
}

#[wasm_bindgen_test]
async fn ranges_of_one_file_agree() {
    reset().await;
    let repo = pin(MODEL).await.unwrap();
    let (whole, (start, end)) =
        join(read(&repo, 1000..3_000_000), join(read(&repo, 1000..999_999), read(&repo, 999_999..3_000_000))).await;
    let whole = whole.unwrap();
    assert_eq!(whole.len(), 2_999_000);
    assert!(whole == [start.unwrap(), end.unwrap()].concat());
    let prefix = repo.read_prefix(SHARD, 3000).await.unwrap();
    assert!(prefix.bytes[1000..] == whole[..2000]);
    assert!(prefix.file_size.unwrap() > 40_000_000);
    // Beyond the end.
    let size = prefix.file_size.unwrap();
    assert_eq!(read(&repo, size..size + 1).await.unwrap_err().code(), "RANGE_NOT_SATISFIABLE");
}

#[wasm_bindgen_test]
async fn a_break_is_resumed_at_the_byte_reached() {
    reset().await;
    let repo = pin(MODEL).await.unwrap();
    let whole = read(&repo, 5000..2_005_000).await.unwrap();
    faults(json!([
        {"host": "cdn", "method": "GET", "dropAfter": 300_000, "times": 1},
        {"host": "hub", "path": SHARD, "nth": 2, "status": 503},
    ]))
    .await;
    assert!(read(&repo, 5000..2_005_000).await.unwrap() == whole);
    let ranges = ranges().await;
    assert_eq!(ranges[0], "bytes=5000-2004999");
    // Whatever of the 300,000 bytes arrived before the break is not asked for again.
    let resumed: u64 = ranges[1].strip_prefix("bytes=").unwrap().strip_suffix("-2004999").unwrap().parse().unwrap();
    assert!((5000..=305_000).contains(&resumed), "{ranges:?}");
    assert_eq!(ranges.len(), 2);
}

#[wasm_bindgen_test]
async fn a_server_that_ignores_range_is_not_misread() {
    reset().await;
    let repo = pin(MODEL).await.unwrap();
    let part = read(&repo, 100_000..200_000).await.unwrap();
    faults(json!([{"host": "cdn", "ignoreRange": true}])).await;
    assert!(read(&repo, 100_000..200_000).await.unwrap() == part);
    faults(json!([{"host": "cdn", "contentRange": "bytes 0-99999/9999999"}])).await;
    assert_eq!(read(&repo, 100_000..200_000).await.unwrap_err().code(), "BAD_RESPONSE");
    reset().await;
}

#[wasm_bindgen_test]
async fn what_is_not_there_has_its_code() {
    reset().await;
    let repo = pin(MODEL).await.unwrap();
    assert_eq!(repo.read("nothing.json", 10).await.unwrap_err().code(), "ENTRY_NOT_FOUND");
    assert_eq!(repo.read("config.json", 10).await.unwrap_err().code(), "TOO_LARGE");
    assert_eq!(pin("layerline/nothing").await.unwrap_err().code(), "REPO_NOT_FOUND");
    assert_eq!(pin("layerline/disabled").await.unwrap_err().code(), "DISABLED_REPO");
    assert_eq!(pin("not a repo").await.unwrap_err().code(), "INVALID_REPO_ID");
    for revision in ["nothing", "0000000000000000000000000000000000000000"] {
        let options = HubOptions { revision: revision.to_owned(), ..options() };
        // A commit is taken at its word until the first file is asked for.
        let result = match HubRepo::pin(MODEL, options, Abort::new()).await {
            Ok(repo) => repo.read("config.json", 100_000).await.map(drop),
            Err(error) => Err(error),
        };
        assert_eq!(result.unwrap_err().code(), "REVISION_NOT_FOUND", "{revision}");
    }
}

#[wasm_bindgen_test]
async fn a_missing_shard_is_named() {
    faults(json!([{
        "path": SHARD, "host": "hub", "status": 404, "headers": {"X-Error-Code": "EntryNotFound"},
    }]))
    .await;
    let repo = pin(MODEL).await.unwrap();
    match Catalog::open(&repo, &CatalogOptions::default()).await.unwrap_err() {
        Error::Checkpoint(CheckpointError::MissingShard { shard, .. }) => assert_eq!(shard, SHARD),
        error => panic!("{error}"),
    }
    faults(json!([{"path": SHARD, "truncate": 100}])).await;
    let error = Catalog::open(&repo, &CatalogOptions::default()).await.unwrap_err();
    assert!(error.code() == "CHECKPOINT_HEADER" && error.to_string().contains(SHARD), "{error}");
    reset().await;
}

#[wasm_bindgen_test]
async fn tokens_open_repos_and_stay_with_the_endpoint() {
    for id in ["layerline/gated", "layerline/private"] {
        reset().await;
        let hidden = if id.ends_with("gated") { "GATED_REPO" } else { "REPO_NOT_FOUND" };
        // A gated repo's description is public, its files are not.
        let anonymous = match pin(id).await {
            Ok(repo) => repo.read("config.json", 100_000).await.map(drop),
            Err(error) => Err(error),
        };
        assert_eq!(anonymous.unwrap_err().code(), hidden, "{id}");

        let with = |token: &str| HubOptions { token: Some(token.to_owned()), ..options() };
        let invalid = HubRepo::pin(id, with("hf_invalid"), Abort::new()).await;
        assert_eq!(invalid.unwrap_err().code(), "UNAUTHORIZED", "{id}");

        reset().await;
        let repo = HubRepo::pin(id, with("hf_granted"), Abort::new()).await.unwrap();
        assert_eq!(read(&repo, 0..1000).await.unwrap().len(), 1000, "{id}");
        let log = log().await;
        assert!(log.iter().any(|entry| entry.host == "cdn"));
        assert!(log.iter().all(|entry| entry.authorization == (entry.host == "hub")), "{log:?}");
    }
}

#[wasm_bindgen_test]
async fn aborting_ends_a_request_that_hangs() {
    faults(json!([{"host": "cdn", "stallAfter": 1000}])).await;
    let controller = AbortController::new().unwrap();
    let abort = Abort::follow(&controller.signal());
    let repo = HubRepo::pin(MODEL, options(), abort).await.unwrap();
    let mut stream = repo.open(SHARD, 0..1_000_000).await.unwrap();
    assert!(stream.next().await.unwrap().is_some());
    let (result, ()) = join(stream.collect(), async { controller.abort() }).await;
    assert_eq!(result.unwrap_err().code(), "ABORTED");
    assert_eq!(repo.read("config.json", 100_000).await.unwrap_err().code(), "ABORTED");
    reset().await;

    let late = HubRepo::pin(MODEL, options(), Abort::follow(&controller.signal())).await;
    assert_eq!(late.unwrap_err().code(), "ABORTED");
    assert!(log().await.is_empty());
}

#[wasm_bindgen_test]
async fn a_dropped_stream_lets_go_of_its_connection() {
    reset().await;
    let repo = pin(MODEL).await.unwrap();
    let mut stream = repo.open(SHARD, 0..40_000_000).await.unwrap();
    assert!(stream.next().await.unwrap().is_some());
    drop(stream);
    // The hub hears of it when its next write fails.
    for _ in 0..1000 {
        if let Some(entry) = log().await.iter().find(|entry| entry.host == "cdn")
            && entry.done == "aborted"
        {
            return;
        }
    }
    panic!("{:?}", log().await);
}

#[wasm_bindgen_test]
async fn an_endpoint_that_does_not_answer_is_a_network_error() {
    reset().await;
    // Nobody listens on port 1, and browsers refuse it.
    let options = HubOptions { endpoint: "http://127.0.0.1:1".to_owned(), ..options() };
    let error = HubRepo::pin(MODEL, options, Abort::new()).await.unwrap_err();
    assert_eq!(error.code(), "NETWORK");
    assert!(error.to_string().contains(MODEL), "{error}");

    faults(json!([{"host": "hub", "path": "/api/", "cors": false}])).await;
    let error = pin(MODEL).await.unwrap_err();
    assert!(error.code() == "NETWORK" && error.to_string().contains("CORS"), "{error}");
    assert!(endpoint().starts_with("http"));
    reset().await;
}

#[wasm_bindgen_test]
async fn silence_counts_as_a_drop() {
    reset().await;
    let repo = hasty().await;
    let whole = read(&repo, 5000..1_005_000).await.unwrap();
    for fault in ["stallAfter", "hang"] {
        let value = if fault == "hang" { json!(true) } else { json!(300_000) };
        faults(json!([{"host": "cdn", "method": "GET", fault: value, "times": 1}])).await;
        assert!(read(&repo, 5000..1_005_000).await.unwrap() == whole, "{fault}");
        assert_eq!(ranges().await.len(), 2, "{fault}");
        until_closed(&fault).await;
    }
    // A slow link is no silence: this takes longer than any limit.
    faults(json!([{"host": "cdn", "method": "GET", "throttle": 400_000}])).await;
    assert!(read(&repo, 5000..1_005_000).await.unwrap() == whole);
    assert_eq!(ranges().await, ["bytes=5000-1004999"]);
    reset().await;
}

#[wasm_bindgen_test]
async fn lies_about_lengths_are_seen_through() {
    reset().await;
    let repo = hasty().await;
    let whole = read(&repo, 5000..1_005_000).await.unwrap();
    for (fault, asked) in [
        (json!({"beyond": 70_000}), 1..=1),
        (json!({"maxRange": 400_000}), 3..=3),
        // A connection that is reset may take with it what the browser hadn't read.
        (json!({"headers": {"Content-Length": 1_000_001}, "dropAfter": 1_000_000}), 1..=2),
        (json!({"headers": {"Content-Length": 400_000}, "times": 1}), 2..=2),
        (json!({"headers": {"Content-Length": null}, "dropAfter": 400_000, "times": 1}), 2..=2),
    ] {
        let mut rule = json!({"host": "cdn", "method": "GET"});
        rule.as_object_mut().unwrap().extend(fault.as_object().unwrap().clone());
        faults(json!([rule])).await;
        assert!(read(&repo, 5000..1_005_000).await.unwrap() == whole, "{fault}");
        let ranges = ranges().await;
        assert!(asked.contains(&ranges.len()), "{fault}: {ranges:?}");
    }
    reset().await;
}

#[wasm_bindgen_test]
async fn a_small_file_that_is_cut_short_comes_whole() {
    reset().await;
    let repo = hasty().await;
    let whole = repo.read("tokenizer.json", 1 << 24).await.unwrap();
    for after in [0, 1000, 100_000] {
        faults(json!([{"path": "/api/resolve-cache/", "dropAfter": after, "times": 1}])).await;
        // The first is in the browser's cache.
        let repo = hasty().await;
        assert!(repo.read("tokenizer.json", 1 << 24).await.unwrap() == whole, "{after}");
    }
    reset().await;
}

#[wasm_bindgen_test]
async fn a_signed_url_that_expires_is_replaced() {
    reset().await;
    let repo = hasty().await;
    let whole = read(&repo, 5000..1_005_000).await.unwrap();
    faults(json!([
        {"host": "cdn", "method": "GET", "nth": 1, "dropAfter": 300_000},
        {"host": "cdn", "method": "GET", "nth": 2, "status": 403},
    ]))
    .await;
    assert!(read(&repo, 5000..1_005_000).await.unwrap() == whole);
    // Each time it is the endpoint that is asked.
    assert_eq!(log().await.iter().filter(|entry| entry.host == "hub").count(), 3);

    faults(json!([{"host": "cdn", "method": "GET", "status": 403}])).await;
    let error = read(&repo, 0..9).await.unwrap_err();
    assert!(error.code() == "FORBIDDEN" && error.to_string().contains("from http://127.0.0.1"), "{error}");
    assert_eq!(ranges().await.len(), 3);
    reset().await;
}

#[wasm_bindgen_test]
async fn a_file_that_changes_is_not_spliced() {
    for (headers, changed) in [(json!({"ETag": "\"other\""}), true), (json!({"ETag": null}), false)] {
        faults(json!([
            {"host": "cdn", "method": "GET", "nth": 1, "dropAfter": 300_000},
            {"host": "cdn", "method": "GET", "nth": 2, "headers": headers},
        ]))
        .await;
        let result = read(&hasty().await, 5000..1_005_000).await;
        assert_eq!(result.err().map(|error| error.code()), changed.then_some("FILE_CHANGED"), "{headers}");
    }
    // Truncated after its header has told of more.
    reset().await;
    let repo = hasty().await;
    repo.read_prefix(SHARD, 9).await.unwrap();
    faults(json!([{"host": "cdn", "method": "GET", "truncate": 1000}])).await;
    for range in [0..9, 900..2000, 2000..3000] {
        assert_eq!(read(&repo, range).await.unwrap_err().code(), "FILE_CHANGED");
    }
    reset().await;
}

#[wasm_bindgen_test]
async fn waits_until_the_date_that_it_is_told() {
    reset().await;
    let repo = hasty().await;
    let now = js_sys::Date::now();
    let date = js_sys::Date::new(&(now + 3000.0).into()).to_utc_string();
    let headers = json!({"Retry-After": String::from(date), "Access-Control-Expose-Headers": "Retry-After"});
    faults(json!([{"host": "hub", "path": SHARD, "status": 429, "headers": headers, "times": 1}])).await;
    assert_eq!(read(&repo, 0..9).await.unwrap().len(), 9);
    // The date has no milliseconds.
    assert!(js_sys::Date::now() - now >= 1900.0);
    reset().await;
}

#[wasm_bindgen_test]
async fn aborting_ends_every_wait_at_once() {
    // A redirect whose body stalls is the browser's to give up: only the answer behind it is ours.
    let stall = json!({"host": "cdn", "stallAfter": 0});
    for fault in [json!({"hang": true}), stall, json!({"status": 503}), json!({"destroy": true})] {
        let mut rule = json!({"path": SHARD, "method": "GET"});
        rule.as_object_mut().unwrap().extend(fault.as_object().unwrap().clone());
        faults(json!([rule])).await;
        let abort = Abort::new();
        let repo = HubRepo::pin(MODEL, options(), abort.clone()).await.unwrap();
        let began = js_sys::Date::now();
        let until_asked = async {
            while !log().await.iter().any(|entry| entry.range.is_some()) {}
            abort.abort();
        };
        let (result, ()) = join(read(&repo, 0..9), until_asked).await;
        assert_eq!(result.unwrap_err().code(), "ABORTED", "{fault}");
        assert!(js_sys::Date::now() - began < 1000.0, "{fault}");
        until_closed(&fault).await;
    }
    reset().await;
}
