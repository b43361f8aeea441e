//! What a GPU runs of a model.

use std::cell::OnceCell;

use super::recorded::Recorded;
use crate::tensor::gpu::device::{Gpu, GpuError};
use crate::tensor::gpu::program::Pipelines;

/// A GPU, and what is recorded and compiled for it.
pub(super) struct OnGpu {
    pub gpu: Gpu,
    pub recorded: Recorded,
    pipelines: OnceCell<Pipelines>,
}

impl OnGpu {
    /// What is to run on this GPU; it is still to be compiled.
    pub fn new(gpu: Gpu, recorded: Recorded) -> OnGpu {
        OnGpu { gpu, recorded, pipelines: OnceCell::new() }
    }

    /// Compiles all that is recorded, if nobody has yet.
    pub async fn compile(&self) -> Result<(), GpuError> {
        if self.pipelines.get().is_none() {
            let mut pipelines = Pipelines::default();
            pipelines.compile(&self.gpu, self.recorded.kernels()).await?;
            // Whoever was as early has compiled the same.
            let _ = self.pipelines.set(pipelines);
        }
        Ok(())
    }

    /// The compiled kernels.
    pub fn pipelines(&self) -> Result<&Pipelines, GpuError> {
        let missing = || GpuError::Refused { what: "a program", message: "nothing was compiled yet".to_owned() };
        self.pipelines.get().ok_or_else(missing)
    }
}

/// Something was asked of a GPU, and there is none: a bug, for nothing is placed there then.
pub(super) fn no_gpu() -> GpuError {
    GpuError::Refused { what: "a call", message: "the model has no GPU".to_owned() }
}
