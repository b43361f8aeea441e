//! The wasm-bindgen classes: thin, no logic.

pub mod cache;
pub mod error;
#[cfg(feature = "engine")]
pub mod model;
mod options;
#[cfg(feature = "engine")]
mod progress;
#[cfg(feature = "text")]
pub mod tokenizer;
