//! What a GPU runs of a model.

use super::recorded::Recorded;
use crate::tensor::gpu::device::Gpu;
use crate::tensor::gpu::program::Pipelines;

/// A GPU, and what is recorded and compiled for it.
pub(super) struct OnGpu {
    pub gpu: Gpu,
    pub recorded: Recorded,
    pub pipelines: Pipelines,
}
