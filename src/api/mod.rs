//! The wasm-bindgen classes: thin, no logic.

pub mod error;
#[cfg(feature = "text")]
pub mod tokenizer;
