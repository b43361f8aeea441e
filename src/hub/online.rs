//! When the browser finds a network again.

use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    // Pages and workers hear of it; Node has the function, and nothing to tell.
    #[wasm_bindgen(catch, js_name = addEventListener)]
    fn add_event_listener(kind: &str, listener: &js_sys::Function) -> Result<(), JsValue>;

    #[wasm_bindgen(catch, js_name = removeEventListener)]
    fn remove_event_listener(kind: &str, listener: &js_sys::Function) -> Result<(), JsValue>;
}

const ONLINE: &str = "online";

/// Calls back each time that the browser is online again, until it is dropped.
pub(crate) struct OnOnline(Closure<dyn FnMut()>);

impl OnOnline {
    pub(crate) fn new(callback: impl FnMut() + 'static) -> OnOnline {
        let listener = Closure::<dyn FnMut()>::new(callback);
        // Where there is no such function there is no such event either.
        let _ = add_event_listener(ONLINE, listener.as_ref().unchecked_ref());
        OnOnline(listener)
    }
}

impl Drop for OnOnline {
    fn drop(&mut self) {
        let _ = remove_event_listener(ONLINE, self.0.as_ref().unchecked_ref());
    }
}
