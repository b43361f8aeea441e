//! Reading option objects from JavaScript, with an error that names the option.

#[cfg(feature = "engine")]
use js_sys::Function;
use js_sys::Reflect;
use wasm_bindgen::{JsCast, JsValue};

use super::error::with_code;
use crate::hub::{Abort, HubOptions};

/// An object of options, or none.
pub struct Options<'a> {
    call: &'static str,
    object: &'a JsValue,
}

impl<'a> Options<'a> {
    /// The options of `call`, which errors name.
    pub fn new(call: &'static str, object: &'a JsValue) -> Self {
        Options { call, object }
    }

    /// The option's value; `None` where it is absent, `undefined` or `null`.
    pub fn get(&self, name: &str) -> Result<Option<JsValue>, JsValue> {
        if !self.object.is_object() {
            return Ok(None);
        }
        Ok(Some(Reflect::get(self.object, &name.into())?).filter(|value| !value.is_null_or_undefined()))
    }

    /// An error saying what the option must be.
    pub fn wrong(&self, name: &str, expected: &str) -> JsValue {
        with_code("UNSUPPORTED_OPTION", &format!("{}: the option {name} must be {expected}", self.call))
    }

    /// A string.
    pub fn text(&self, name: &str) -> Result<Option<String>, JsValue> {
        self.get(name)?.map(|value| value.as_string().ok_or_else(|| self.wrong(name, "a string"))).transpose()
    }

    /// A boolean.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, JsValue> {
        self.get(name)?.map(|value| value.as_bool().ok_or_else(|| self.wrong(name, "true or false"))).transpose()
    }

    /// A whole number of 0 or more.
    #[cfg(feature = "engine")]
    pub fn integer(&self, name: &str) -> Result<Option<u64>, JsValue> {
        let wrong = || self.wrong(name, "an integer of 0 or more");
        let whole = |n: &f64| n.fract() == 0.0 && (0.0..=js_sys::Number::MAX_SAFE_INTEGER).contains(n);
        self.get(name)?.map(|value| value.as_f64().filter(whole).map(|n| n as u64).ok_or_else(wrong)).transpose()
    }

    /// A function.
    #[cfg(feature = "engine")]
    pub fn function(&self, name: &str) -> Result<Option<Function>, JsValue> {
        let wrong = || self.wrong(name, "a function");
        self.get(name)?.map(|value| value.dyn_into().map_err(|_| wrong())).transpose()
    }

    /// Which repo to read, and as whom.
    pub fn hub(&self) -> Result<HubOptions, JsValue> {
        let default = HubOptions::default();
        Ok(HubOptions {
            endpoint: self.text("endpoint")?.unwrap_or(default.endpoint),
            revision: self.text("revision")?.unwrap_or(default.revision),
            token: self.text("token")?,
            subfolder: self.text("subfolder")?,
            ..default
        })
    }

    /// A token that follows the option `signal`.
    pub fn abort(&self) -> Result<Abort, JsValue> {
        match self.get("signal")? {
            Some(signal) => {
                let signal = signal.dyn_into().map_err(|_| self.wrong("signal", "an AbortSignal"))?;
                Ok(Abort::follow(&signal))
            }
            None => Ok(Abort::new()),
        }
    }
}
