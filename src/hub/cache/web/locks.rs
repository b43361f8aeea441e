//! What is in use, told to other tabs and workers by Web Locks. Where there are none nobody hears of it, which costs at
//! most that something is fetched again.

use std::any::Any;

use js_sys::{Array, Function, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};

use super::{global, with};

#[wasm_bindgen]
extern "C" {
    type LockManager;
    #[wasm_bindgen(method, catch)]
    fn request(
        this: &LockManager,
        name: &str,
        options: &js_sys::Object,
        callback: &JsValue,
    ) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, catch)]
    async fn query(this: &LockManager) -> Result<JsValue, JsValue>;
}

fn manager() -> Option<LockManager> {
    Some(global(&["navigator", "locks"])?.unchecked_into())
}

struct Hold(Function);

impl Drop for Hold {
    fn drop(&mut self) {
        // A promise's own `resolve` doesn't throw.
        let _ = self.0.call0(&JsValue::UNDEFINED);
    }
}

/// Holds `name` until what this gives is dropped, or the page or worker ends.
pub(super) fn hold(name: &str) -> Box<dyn Any> {
    let Some(locks) = manager() else { return Box::new(()) };
    let mut release = None;
    let released = Promise::new(&mut |resolve, _| release = Some(Hold(resolve)));
    let granted = Closure::once_into_js(move |_: JsValue| JsValue::from(released));
    if let Ok(ended) = locks.request(name, &with("mode", "shared"), &granted) {
        // It rejects where the page has no right to locks, and nobody must hear of an unhandled rejection.
        spawn_local(async move {
            let _ = JsFuture::from(ended).await;
        });
    }
    Box::new(release)
}

/// Whether anybody in this origin holds `name`.
pub(super) async fn is_held(name: &str) -> bool {
    let Some(locks) = manager() else { return false };
    let Ok(state) = locks.query().await else { return false };
    let held = Reflect::get(&state, &"held".into()).ok().filter(JsValue::is_object);
    held.is_some_and(|held| {
        let named = |lock: JsValue| Reflect::get(&lock, &"name".into()).ok().and_then(|name| name.as_string());
        held.unchecked_into::<Array>().iter().any(|lock| named(lock).as_deref() == Some(name))
    })
}
