//! What a GPU runs of a model.

use super::recorded::Recorded;
use crate::tensor::gpu::device::{Gpu, GpuError};
use crate::tensor::gpu::program::Pipelines;

/// A GPU, and what is recorded and compiled for it.
pub(super) struct OnGpu {
    pub gpu: Gpu,
    pub recorded: Recorded,
    pub pipelines: Pipelines,
}

/// Something was asked of a GPU, and there is none: a bug, for nothing is placed there then.
pub(super) fn no_gpu() -> GpuError {
    GpuError::Refused { what: "a call", message: "the model has no GPU".to_owned() }
}
