//! Layerline runs Hugging Face models inside a web page, straight from their repos.
//!
//! `ARCHITECTURE.md` draws the two journeys (a weight, a token) through the rooms below.

pub mod error;

#[cfg(target_arch = "wasm32")]
pub mod api;
pub mod checkpoint;
pub mod config;
pub mod hub;
pub mod tensor;
#[cfg(feature = "text")]
pub mod text;

pub use error::{Error, Result};
