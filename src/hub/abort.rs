//! Giving up: one token for everything that a load has under way.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A cancel token. Clones share one state; once aborted it stays so.
#[derive(Clone, Default)]
pub struct Abort(Rc<State>);

#[derive(Default)]
struct State {
    aborted: Cell<bool>,
    next_key: Cell<u64>,
    /// Of whoever waits now.
    wakers: RefCell<BTreeMap<u64, Waker>>,
    #[cfg(target_arch = "wasm32")]
    followed: RefCell<Option<js::Followed>>,
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

    /// Resolves when aborted, at once if it already is. Nothing is left of it when it is dropped.
    pub fn aborted(&self) -> impl Future<Output = ()> + Unpin + use<> {
        let key = self.0.next_key.get();
        self.0.next_key.set(key.wrapping_add(1));
        Aborted { state: self.0.clone(), key }
    }
}

struct Aborted {
    state: Rc<State>,
    key: u64,
}

impl Future for Aborted {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.state.aborted.get() {
            return Poll::Ready(());
        }
        self.state.wakers.borrow_mut().insert(self.key, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Aborted {
    fn drop(&mut self) {
        self.state.wakers.borrow_mut().remove(&self.key);
    }
}

impl State {
    fn abort(&self) {
        if !self.aborted.replace(true) {
            let wakers = self.wakers.take();
            wakers.into_values().for_each(Waker::wake);
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
    use std::rc::Rc;

    use wasm_bindgen::JsCast;
    use wasm_bindgen::closure::Closure;
    use web_sys::AbortSignal;

    use super::Abort;

    /// A signal that aborts the token.
    pub(super) struct Followed {
        signal: AbortSignal,
        listener: Closure<dyn FnMut()>,
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
                *abort.0.followed.borrow_mut() = Some(Followed { signal: signal.clone(), listener });
            }
            abort
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

    #[test]
    fn whoever_waits_no_longer_leaves_nothing_behind() {
        let abort = Abort::new();
        for _ in 0..3 {
            assert!(abort.aborted().now_or_never().is_none());
        }
        assert!(abort.0.wakers.borrow().is_empty());
    }
}
