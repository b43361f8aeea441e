//! Layerline runs Hugging Face models inside a web page, straight from their repos.
//!
//! `ARCHITECTURE.md` draws the two journeys (a weight, a token) through the rooms below.

pub mod error;

#[cfg(target_arch = "wasm32")]
pub mod api;
#[cfg(feature = "engine")]
pub mod audio;
pub mod checkpoint;
#[cfg(feature = "engine")]
pub mod clock;
pub mod config;
#[cfg(feature = "engine")]
pub mod engine;
#[cfg(feature = "engine")]
pub mod generation;
pub mod hub;
#[cfg(feature = "engine")]
pub mod models;
#[cfg(feature = "engine")]
pub mod placement;
pub mod tensor;
#[cfg(feature = "text")]
pub mod text;
#[cfg(feature = "engine")]
pub mod weights;

pub use error::{Error, Result};
