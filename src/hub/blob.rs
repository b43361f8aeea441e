//! A `Blob`, of which a `File` is one.

use std::ops::Range;

use js_sys::{Array, ArrayBuffer, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::ReadableStream;

use super::Chunk;
use super::lending::Lender;
use super::reader::Reader;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = Blob)]
    #[derive(Clone)]
    pub(super) type JsBlob;
    #[wasm_bindgen(constructor, js_class = "Blob", catch)]
    pub(super) fn of(parts: &Array) -> Result<JsBlob, JsValue>;
    #[wasm_bindgen(method, getter)]
    pub(super) fn size(this: &JsBlob) -> f64;
    #[wasm_bindgen(method, catch)]
    fn slice(this: &JsBlob, start: f64, end: f64) -> Result<JsBlob, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn stream(this: &JsBlob) -> Result<ReadableStream, JsValue>;
    #[wasm_bindgen(method, catch, js_name = arrayBuffer)]
    async fn array_buffer(this: &JsBlob) -> Result<JsValue, JsValue>;
}

impl JsBlob {
    /// The bytes of `range`, cut to what there is, in memory that `lender` lends where the browser can do that.
    pub(super) async fn read(&self, range: Range<u64>, lender: &Lender) -> Result<Chunk, JsValue> {
        let slice = self.slice(range.start as f64, range.end as f64)?;
        if let Ok(length) = u32::try_from(range.end.saturating_sub(range.start))
            && let Some(chunk) = Reader::of(&slice.stream()?).read_whole(lender, length).await?
        {
            return Ok(chunk);
        }
        let buffer: ArrayBuffer = slice.array_buffer().await?.unchecked_into();
        Ok(Chunk::from(Uint8Array::new(&buffer)))
    }
}
