//! Element types, and the small set of ops that models are written in: one contract, one execution a device.

mod dtype;

pub use dtype::Dtype;
