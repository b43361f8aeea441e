//! The wasm-bindgen classes: thin, no logic.

#[cfg(feature = "engine")]
mod array;
#[cfg(feature = "engine")]
pub mod audio;
pub mod cache;
#[cfg(feature = "engine")]
pub mod crew;
pub mod error;
#[cfg(feature = "engine")]
pub mod files;
#[cfg(feature = "engine")]
pub mod fused;
#[cfg(feature = "engine")]
mod load;
#[cfg(feature = "engine")]
pub mod model;
mod options;
#[cfg(feature = "engine")]
mod progress;
mod source;
#[cfg(feature = "engine")]
pub mod tensors;
#[cfg(feature = "text")]
pub mod tokenizer;
