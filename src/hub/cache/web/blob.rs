//! A `Blob`, of which a `File` is one.

use std::ops::Range;

use js_sys::{Array, ArrayBuffer, Uint8Array};
use wasm_bindgen::prelude::*;

use super::super::storage::{Blob, Storing};
use super::failure;
use crate::hub::Chunk;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = Blob)]
    pub(super) type JsBlob;
    #[wasm_bindgen(constructor, js_class = "Blob", catch)]
    pub(super) fn of(parts: &Array) -> Result<JsBlob, JsValue>;
    #[wasm_bindgen(method, getter)]
    fn size(this: &JsBlob) -> f64;
    #[wasm_bindgen(method, catch)]
    fn slice(this: &JsBlob, start: f64, end: f64) -> Result<JsBlob, JsValue>;
    #[wasm_bindgen(method, catch, js_name = arrayBuffer)]
    async fn array_buffer(this: &JsBlob) -> Result<JsValue, JsValue>;
}

impl Blob for JsBlob {
    fn size(&self) -> u64 {
        JsBlob::size(self) as u64
    }

    fn read(&self, range: Range<u64>) -> Storing<'_, Chunk> {
        Box::pin(async move {
            let failed = |error: JsValue| failure(&error);
            let slice = self.slice(range.start as f64, range.end as f64).map_err(failed)?;
            let buffer: ArrayBuffer = slice.array_buffer().await.map_err(failed)?.unchecked_into();
            Ok(Chunk::from(Uint8Array::new(&buffer)))
        })
    }
}
