//! The loopback hub (`tests/hub`), as a browser test sees it. `LAYERLINE_HUB` at compile time is its address; Firefox has its own
//! at `LAYERLINE_FIREFOX_HUB`, so that its tests may run beside another browser's.
// Each test binary uses a part of it. `env!` would break every check of the tests where no hub is meant to run.
#![allow(dead_code, clippy::option_env_unwrap)]

use js_sys::{Function, Promise, Reflect};
use layerline::hub::{Abort, HubError, HubOptions, HubRepo};
use serde::Deserialize;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

/// The sample model: sharded, BF16.
pub const MODEL: &str = "layerline/SmolLM2-135M-Instruct-dq4";
pub const SHARD: &str = "model-00002-of-00006.safetensors";

pub fn endpoint() -> &'static str {
    let get = |of: &JsValue, key: &str| Reflect::get(of, &key.into()).unwrap_or_default();
    let agent = get(&get(&js_sys::global(), "navigator"), "userAgent").as_string().unwrap_or_default();
    let own = option_env!("LAYERLINE_FIREFOX_HUB").filter(|_| agent.contains("Firefox"));
    own.or(option_env!("LAYERLINE_HUB"))
        .expect("compile with LAYERLINE_HUB=http://127.0.0.1:PORT, where tests/hub/cli.mjs serves")
}

pub fn options() -> HubOptions {
    HubOptions { endpoint: endpoint().to_owned(), ..HubOptions::default() }
}

pub async fn pin(id: &str) -> Result<HubRepo, HubError> {
    HubRepo::pin(id, options(), Abort::new()).await
}

/// A request that the hub has seen.
#[derive(Debug, Deserialize)]
pub struct Entry {
    pub method: String,
    pub host: String,
    pub path: String,
    pub file: Option<String>,
    pub range: Option<String>,
    pub status: Option<u16>,
    #[serde(rename = "bytesSent")]
    pub bytes_sent: u64,
    pub authorization: bool,
    pub done: String,
}

/// What the hub has seen since the last [`reset`], preflights left out.
pub async fn log() -> Vec<Entry> {
    let entries: Vec<Entry> = serde_json::from_str(&talk("__log", "GET", None).await).unwrap();
    entries.into_iter().filter(|entry| entry.method != "OPTIONS").collect()
}

/// Forgets the log and all faults.
pub async fn reset() {
    talk("__log", "DELETE", None).await;
    talk("__faults", "DELETE", None).await;
}

/// From now on the hub misbehaves by these rules.
pub async fn faults(rules: serde_json::Value) {
    reset().await;
    talk("__faults", "PUT", Some(&rules.to_string())).await;
}

async fn talk(path: &str, method: &str, body: Option<&str>) -> String {
    let send = Function::new_with_args(
        "url, method, body",
        "return fetch(url, {method, body, cache: 'no-store'}).then(async (response) => {
            if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
            return response.text();
        })",
    );
    let url = format!("{}/{path}", endpoint());
    let body = body.map_or(JsValue::UNDEFINED, JsValue::from_str);
    let answer = send.call3(&JsValue::NULL, &url.into(), &method.into(), &body).unwrap();
    let answer = JsFuture::from(answer.unchecked_into::<Promise>()).await.expect("the loopback hub doesn't answer");
    answer.as_string().unwrap()
}
