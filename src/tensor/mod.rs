//! Element types, and the small set of ops that models are written in: one contract, one execution a device.

#[cfg(feature = "engine")]
pub mod cpu;
mod dtype;
#[cfg(feature = "engine")]
pub mod gpu;
mod grouped;
#[cfg(feature = "engine")]
pub mod ops;
#[cfg(feature = "engine")]
pub mod relative;

pub use dtype::Dtype;
pub use grouped::{Grouped, Integers};
