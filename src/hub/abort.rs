//! Giving up: one token for everything that a load has under way.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// A cancel token. Clones share one state; once aborted it stays so.
#[derive(Clone, Default)]
pub struct Abort(Rc<State>);

#[derive(Default)]
struct State {
    aborted: Cell<bool>,
    wakers: RefCell<Vec<Waker>>,
    #[cfg(target_arch = "wasm32")]
    js: js::Controller,
}

impl Abort {
    /// A token that nothing has aborted.
    pub fn new() -> Self {
        Self::default()
    }

    /// Aborts: pending requests end with [`HubError::Aborted`](super::HubError::Aborted), and so does every later one.
    pub fn abort(&self) {
        self.0.abort();
    }

    /// Whether it has been aborted.
    pub fn is_aborted(&self) -> bool {
        self.0.aborted.get()
    }

    /// Resolves when aborted, at once if it already is.
    pub async fn aborted(&self) {
        // A waker left behind by a dropped future only wakes its task once more for nothing.
        poll_fn(|cx| {
            if self.is_aborted() {
                return Poll::Ready(());
            }
            let mut wakers = self.0.wakers.borrow_mut();
            if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                wakers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

impl State {
    fn abort(&self) {
        if !self.aborted.replace(true) {
            #[cfg(target_arch = "wasm32")]
            self.js.abort();
            let wakers = self.wakers.take();
            wakers.into_iter().for_each(Waker::wake);
        }
    }
}

impl std::fmt::Debug for Abort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Abort").field("aborted", &self.is_aborted()).finish()
    }
}

#[cfg(target_arch = "wasm32")]
mod js {
    use std::cell::RefCell;
    use std::rc::Rc;

    use wasm_bindgen::JsCast;
    use wasm_bindgen::closure::Closure;
    use web_sys::{AbortController, AbortSignal};

    use super::Abort;

    /// JavaScript's half of the token.
    pub(super) struct Controller {
        /// `None` only where the engine has no `AbortController`, which none that has WebGPU lacks.
        own: Option<AbortController>,
        followed: RefCell<Option<Followed>>,
    }

    struct Followed {
        signal: AbortSignal,
        listener: Closure<dyn FnMut()>,
    }

    impl Default for Controller {
        fn default() -> Self {
            Controller { own: AbortController::new().ok(), followed: RefCell::default() }
        }
    }

    impl Controller {
        pub(super) fn abort(&self) {
            if let Some(own) = &self.own {
                own.abort();
            }
        }
    }

    impl Drop for Followed {
        fn drop(&mut self) {
            let listener = self.listener.as_ref().unchecked_ref();
            // Fails only for arguments of the wrong type.
            let _ = self.signal.remove_event_listener_with_callback("abort", listener);
        }
    }

    impl Abort {
        /// A token that aborts when `signal` does, at once if it already has. It lets go of the signal when its last
        /// clone is dropped.
        pub fn follow(signal: &AbortSignal) -> Abort {
            let abort = Abort::new();
            if signal.aborted() {
                abort.abort();
                return abort;
            }
            // Weak: the signal must not keep the token, which owns the listener, alive.
            let state = Rc::downgrade(&abort.0);
            let listener = Closure::<dyn FnMut()>::new(move || {
                if let Some(state) = state.upgrade() {
                    state.abort();
                }
            });
            let callback = listener.as_ref().unchecked_ref();
            if signal.add_event_listener_with_callback("abort", callback).is_ok() {
                *abort.0.js.followed.borrow_mut() = Some(Followed { signal: signal.clone(), listener });
            }
            abort
        }

        /// The signal to pass to JavaScript, aborted together with this token.
        pub fn signal(&self) -> Option<AbortSignal> {
            self.0.js.own.as_ref().map(AbortController::signal)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use futures_util::future::join;

    #[test]
    fn clones_abort_together_and_wake_whoever_waits() {
        let abort = Abort::new();
        let other = abort.clone();
        assert!(abort.aborted().now_or_never().is_none());
        pollster::block_on(join(abort.aborted(), async { other.abort() }));
        assert!(abort.is_aborted() && other.is_aborted());
        assert!(abort.aborted().now_or_never().is_some());
    }
}
