//! Numbers with a shape, for JavaScript.

use js_sys::{Array, Float32Array, Object, Reflect};
use wasm_bindgen::JsValue;

/// `{ dims, data }`, the elements in row-major order.
pub fn array(dims: &[usize], data: &[f32]) -> Result<Object, JsValue> {
    let dims: Array = dims.iter().map(|dim| JsValue::from(*dim as f64)).collect();
    let array = Object::new();
    Reflect::set(&array, &"dims".into(), &dims)?;
    Reflect::set(&array, &"data".into(), &Float32Array::from(data))?;
    Ok(array)
}
