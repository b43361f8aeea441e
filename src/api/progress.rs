//! The loader's progress as transformers.js' events.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use js_sys::{Function, Object, Reflect};
use wasm_bindgen::JsValue;

use crate::weights::loader::Progress;

/// Bytes between two events of a file: chunks are many and small.
const STEP: u64 = 256 << 10;

/// Turns progress into events for a callback.
pub struct Reporter {
    name: String,
    callback: Function,
    told: RefCell<HashMap<String, u64>>,
}

impl Reporter {
    /// Reports the load of the repo `name`.
    pub fn new(name: String, callback: Function) -> Reporter {
        Reporter { name, callback, told: RefCell::default() }
    }

    /// What the loader is given.
    pub fn into_progress(self) -> Rc<dyn Fn(Progress)> {
        Rc::new(move |progress| self.report(&progress))
    }

    fn report(&self, progress: &Progress) {
        let Progress { file, file_loaded, file_total, loaded, total } = progress;
        let first = !self.told.borrow().contains_key(file);
        if first {
            self.send("initiate", Some(file), None);
            self.send("download", Some(file), None);
        }
        let done = file_loaded >= file_total;
        let before = self.told.borrow().get(file).copied().unwrap_or(0);
        // It falls where a block failed, and where weights come again.
        if !first && !done && file_loaded.abs_diff(before) < STEP {
            return;
        }
        self.told.borrow_mut().insert(file.clone(), *file_loaded);
        self.send("progress", Some(file), Some((*file_loaded, *file_total)));
        self.send("progress_total", None, Some((*loaded, *total)));
        if done {
            self.send("done", Some(file), None);
        }
        if loaded >= total {
            self.send("ready", None, None);
        }
    }

    fn send(&self, status: &str, file: Option<&str>, bytes: Option<(u64, u64)>) {
        let event = Object::new();
        let set = |name: &str, value: JsValue| {
            // Setting a new property of a fresh, extensible object can't fail.
            let _ = Reflect::set(&event, &name.into(), &value);
        };
        set("status", status.into());
        set("name", self.name.as_str().into());
        if let Some(file) = file {
            set("file", file.into());
        }
        if let Some((loaded, total)) = bytes {
            set("loaded", (loaded as f64).into());
            set("total", (total as f64).into());
            set("progress", (100.0 * loaded as f64 / (total as f64).max(1.0)).into());
        }
        // A callback that throws doesn't stop the load.
        let _ = self.callback.call1(&JsValue::UNDEFINED, &event);
    }
}
