//! The crate's errors as JavaScript's.

use js_sys::{Error as JsError, Reflect};
use wasm_bindgen::JsValue;

use crate::Error;

/// The code of an operation that an `AbortSignal` ended.
const ABORTED: &str = "ABORTED";

/// A JS `Error` with the message, the stable `code`, and the name `LayerlineError`, or `AbortError` where a signal ended
/// the operation, as in the platform's own functions.
pub fn to_js(error: &Error) -> JsValue {
    with_code(error.code(), &error.to_string())
}

/// What a room's failure throws.
pub fn thrown(error: impl Into<Error>) -> JsValue {
    to_js(&error.into())
}

/// The same for a failure that has no Rust error behind it, such as an argument of the wrong type.
pub fn with_code(code: &str, message: &str) -> JsValue {
    let error = JsError::new(message);
    error.set_name(if code == ABORTED { "AbortError" } else { "LayerlineError" });
    // Setting a new property of a fresh, extensible object can't fail.
    let _ = Reflect::set(&error, &"code".into(), &code.into());
    error.into()
}
