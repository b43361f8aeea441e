//! `setTimeout` as a future.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    // Through `Window` or `WorkerGlobalScope` it would not work everywhere.
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &js_sys::Function, milliseconds: i32) -> JsValue;

    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(handle: &JsValue);
}

/// Resolves after a while. Dropped before, it leaves nothing behind, as a promise that never settles would.
pub(crate) struct Timer {
    state: Rc<RefCell<State>>,
    handle: JsValue,
    _callback: Closure<dyn FnMut()>,
}

#[derive(Default)]
struct State {
    fired: bool,
    waker: Option<Waker>,
}

impl Timer {
    pub(crate) fn new(duration: Duration) -> Timer {
        let state = Rc::<RefCell<State>>::default();
        let fire = {
            let state = state.clone();
            move || {
                let waker = {
                    let mut state = state.borrow_mut();
                    state.fired = true;
                    state.waker.take()
                };
                waker.into_iter().for_each(Waker::wake);
            }
        };
        let callback = Closure::<dyn FnMut()>::new(fire);
        let milliseconds = i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
        let handle = set_timeout(callback.as_ref().unchecked_ref(), milliseconds);
        Timer { state, handle, _callback: callback }
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        if state.fired {
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        clear_timeout(&self.handle);
    }
}
