//! The wasm-bindgen classes: thin, no logic.

pub mod error;
#[cfg(feature = "engine")]
mod load;
#[cfg(feature = "engine")]
pub mod model;
mod options;
mod source;
#[cfg(feature = "engine")]
mod progress;
#[cfg(feature = "text")]
pub mod tokenizer;
