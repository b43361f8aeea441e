//! The chunk cache in a worker, where the npm package's engine runs.
#![cfg(target_arch = "wasm32")]
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "common/cache_cases.rs"]
mod cases;
#[path = "common/loopback.rs"]
mod loopback;

use wasm_bindgen_test::wasm_bindgen_test_configure;

wasm_bindgen_test_configure!(run_in_dedicated_worker);
