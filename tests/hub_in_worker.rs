//! The Hub client in a worker, which has no `window`: where the npm package runs it.
#![cfg(target_arch = "wasm32")]
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "common/loopback.rs"]
mod loopback;

use layerline::hub::Repo;
use loopback::{MODEL, SHARD, faults, pin, reset};
use serde_json::json;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

#[wasm_bindgen_test]
async fn fetches_waits_and_resumes() {
    faults(json!([{"host": "cdn", "method": "GET", "dropAfter": 300_000, "times": 1}])).await;
    let repo = pin(MODEL).await.unwrap();
    let bytes = repo.open(SHARD, 0..1_000_000).await.unwrap().collect().await.unwrap();
    assert_eq!(bytes.len(), 1_000_000);
    // pin, the range, and the range's rest.
    assert_eq!(repo.traffic().requests(), 3);
    reset().await;
}
