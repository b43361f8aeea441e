//! The ops on the CPU: computed when they are called, four floats at a time, over weights in half precision.
//!
//! It is what runs where there is no WebGPU, and what computes a layer that has no room on the GPU.

mod attention;
mod bench;
mod crew;
#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod crew_tests;
mod decode;
mod executor;
#[cfg(target_arch = "wasm32")]
mod fused;
mod grouped;
mod lanes;
mod loops;
mod matrix;
mod memory;
mod product;
mod relative;
mod short_convolution;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(not(target_arch = "wasm32"))]
mod threads;

pub use bench::Bench;
pub use crew::{Crew, Hand, ORDER_WORDS, Order};
pub use decode::decode;
pub use executor::{Executor, Running};
#[cfg(target_arch = "wasm32")]
pub use fused::{Fused, is_fused, use_fused};
pub use grouped::round;
pub use matrix::{Incoming, Matrix, Storage};
pub use memory::Memory;

/// Why the CPU could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CpuError {
    /// An allocation failed.
    #[error("there is no room for {bytes} bytes in CPU memory ({what})")]
    OutOfMemory {
        /// What it was for.
        what: String,
        /// Its size.
        bytes: u64,
    },
    /// Another thread doesn't answer.
    #[error("a thread that computes beside this one doesn't answer; load the model again, or set env.num_threads to 1")]
    Silent,
    /// An op was called for something that isn't there, or of another size: a bug in Layerline.
    #[error("the CPU can't compute {what}")]
    Refused {
        /// What was asked.
        what: String,
    },
}

impl CpuError {
    /// The stable code that JavaScript sees.
    pub fn code(&self) -> &'static str {
        match self {
            CpuError::OutOfMemory { .. } => "CPU_OUT_OF_MEMORY",
            CpuError::Refused { .. } | CpuError::Silent => "CPU_REFUSED",
        }
    }

    pub(crate) fn refused(what: impl Into<String>) -> CpuError {
        CpuError::Refused { what: what.into() }
    }
}

/// Makes `values` `len` long, or says that there is no room: a failing allocation would end the wasm instance.
pub(crate) fn resize<T: Copy + Default>(values: &mut Vec<T>, len: usize, what: &str) -> Result<(), CpuError> {
    let more = len.saturating_sub(values.len());
    let bytes = (len as u64).saturating_mul(size_of::<T>() as u64);
    let failed = |_| CpuError::OutOfMemory { what: what.to_owned(), bytes };
    values.try_reserve_exact(more).map_err(failed)?;
    values.resize(len, T::default());
    Ok(())
}
