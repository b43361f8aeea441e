//! A `ReadableStream` of bytes, read into memory that is used again: left to the collector, what is read piles up to
//! hundreds of megabytes.

use js_sys::{Object, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStream, ReadableStreamDefaultReader, ReadableStreamGetReaderOptions, ReadableStreamReaderMode};

use super::Chunk;
use super::lending::{Lender, Lent};

#[wasm_bindgen]
extern "C" {
    /// web-sys has `getReader` as one that never throws.
    #[wasm_bindgen(extends = ReadableStream)]
    type Stream;
    #[wasm_bindgen(method, catch, js_name = getReader)]
    fn try_get_reader(this: &Stream, options: &ReadableStreamGetReaderOptions) -> Result<LentReader, JsValue>;

    /// A `ReadableStreamBYOBReader`, whose `min` web-sys doesn't have.
    pub(super) type LentReader;
    #[wasm_bindgen(method, catch, js_name = read)]
    async fn read_into(this: &LentReader, view: &Uint8Array, options: &Object) -> Result<JsValue, JsValue>;

    /// What a reader's `read()` resolves to.
    type ReadResult;
    #[wasm_bindgen(method, getter)]
    fn done(this: &ReadResult) -> bool;
    #[wasm_bindgen(method, getter)]
    fn value(this: &ReadResult) -> Option<Uint8Array>;
}

/// Who takes a stream's bytes.
pub(super) enum Reader {
    /// Into memory that is lent.
    Lent(LentReader),
    /// Where the stream has no such reader.
    Plain(ReadableStreamDefaultReader),
}

impl Reader {
    /// Locks the stream.
    pub(super) fn of(stream: &ReadableStream) -> Reader {
        let options = ReadableStreamGetReaderOptions::new();
        options.set_mode(ReadableStreamReaderMode::Byob);
        match stream.unchecked_ref::<Stream>().try_get_reader(&options) {
            Ok(reader) => Reader::Lent(reader),
            Err(_) => Reader::Plain(stream.get_reader().unchecked_into()),
        }
    }

    /// The next bytes, as soon as there are some. At the end there are none.
    pub(super) async fn read(&self, lender: &Lender) -> Result<Option<Chunk>, JsValue> {
        let reader = match self {
            Reader::Plain(reader) => {
                let result: ReadResult = JsFuture::from(reader.read()).await?.unchecked_into();
                return Ok(result.value().filter(|_| !result.done()).map(Chunk::from));
            }
            Reader::Lent(reader) => reader,
        };
        let result: ReadResult = reader.read_into(&lender.lend(), &Object::new()).await?.unchecked_into();
        let chunk = result.value().map(|bytes| Chunk::lent(bytes.clone(), Lent::new(bytes.buffer(), lender)));
        Ok(chunk.filter(|_| !result.done()))
    }

    /// The stream's `length` bytes in one piece, or as many as it has. None where it can't be read so.
    pub(super) async fn read_whole(&self, lender: &Lender, length: u32) -> Result<Option<Chunk>, JsValue> {
        let Reader::Lent(reader) = self else { return Ok(None) };
        let mut buffer = lender.lend_at_least(length).buffer();
        let mut filled = 0;
        while filled < length {
            let rest = Uint8Array::new_with_byte_offset_and_length(&buffer, filled, length - filled);
            let options = Object::new();
            // Where `min` isn't known there are more turns.
            Reflect::set(&options, &"min".into(), &(length - filled).into())?;
            let result: ReadResult = reader.read_into(&rest, &options).await?.unchecked_into();
            let Some(bytes) = result.value() else { break };
            buffer = bytes.buffer();
            filled += bytes.length();
            if result.done() {
                break;
            }
        }
        let bytes = Uint8Array::new_with_byte_offset_and_length(&buffer, 0, filled);
        Ok(Some(Chunk::lent(bytes, Lent::new(buffer, lender))))
    }
}
