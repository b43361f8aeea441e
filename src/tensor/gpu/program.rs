//! Recorded dispatches tied to pipelines and buffers: what is replayed for every token.

use std::collections::HashMap;
use std::rc::Rc;

use futures_util::future::try_join_all;

use super::device::{BindGroup, Binding, Buffer, Gpu, GpuError, Pass, Pipeline, Usage};
use super::dispatch::{BufferName, Dispatch, Grid, Running};
use super::kernel::Kernel;

/// Compiled kernels, kept for the model's life.
#[derive(Default)]
pub struct Pipelines {
    compiled: HashMap<Kernel, Pipeline>,
}

impl Pipelines {
    /// Compiles those of `kernels` that are not there yet, all at once.
    ///
    /// # Errors
    /// [`GpuError::Compile`] with the compiler's words.
    pub async fn compile(&mut self, gpu: &Gpu, kernels: impl IntoIterator<Item = &Kernel>) -> Result<(), GpuError> {
        let mut missing: Vec<&Kernel> = Vec::new();
        for kernel in kernels {
            if !self.compiled.contains_key(kernel) && !missing.contains(&kernel) {
                missing.push(kernel);
            }
        }
        let made = try_join_all(missing.into_iter().map(|kernel| async move {
            let pipeline = gpu.compile(kernel.source.name(), &kernel.wgsl()).await?;
            Ok((kernel.clone(), pipeline))
        }));
        self.compiled.extend(made.await?);
        Ok(())
    }

    /// A kernel that has been compiled.
    pub fn get(&self, kernel: &Kernel) -> Result<&Pipeline, GpuError> {
        self.compiled.get(kernel).ok_or_else(|| GpuError::Compile {
            kernel: kernel.source.name().to_owned(),
            message: "it was not compiled before its use".to_owned(),
        })
    }
}

/// Bytes that a dispatch's parameters take at most.
const PARAMS_BYTES: u64 = 48;

/// Bytes of the parameters of so many dispatches, each of which has its own place.
pub fn params_bytes(gpu: &Gpu, dispatches: usize) -> u64 {
    slot_bytes(gpu) * dispatches as u64
}

fn slot_bytes(gpu: &Gpu) -> u64 {
    PARAMS_BYTES.next_multiple_of(u64::from(gpu.capabilities().uniform_alignment.max(16)))
}

struct Linked {
    pipeline: Pipeline,
    bind_group: BindGroup,
    grid: Grid,
}

/// Dispatches that are ready to run. Nothing is created or looked up when they do.
pub struct Program {
    linked: Vec<Linked>,
    // The bind groups point into it.
    _params: Option<Buffer>,
}

impl Program {
    /// Ties `dispatches` to the buffers that `resolve` gives for their names.
    pub fn link(
        gpu: &Gpu,
        pipelines: &Pipelines,
        dispatches: &[Dispatch],
        mut resolve: impl FnMut(BufferName) -> Result<Rc<Buffer>, GpuError>,
    ) -> Result<Program, GpuError> {
        let slot = slot_bytes(gpu);
        let mut words: Vec<u8> = Vec::new();
        for dispatch in dispatches {
            let start = words.len();
            words.extend(dispatch.params.iter().flat_map(|word| word.to_le_bytes()));
            words.resize(start + slot as usize, 0);
        }
        if dispatches.is_empty() {
            return Ok(Program { linked: Vec::new(), _params: None });
        }
        let params = gpu.create_buffer("params", words.len() as u64, Usage::Uniform)?;
        gpu.write(&params, 0, &words)?;
        let linked = dispatches.iter().zip(0u64..).map(|(dispatch, index)| {
            let pipeline = pipelines.get(&dispatch.kernel)?.clone();
            let buffers: Vec<Rc<Buffer>> =
                dispatch.buffers.iter().map(|name| resolve(*name)).collect::<Result<_, _>>()?;
            let mut bindings = vec![Binding::Part { buffer: &params, offset: index * slot, size: PARAMS_BYTES }];
            bindings.extend(buffers.iter().map(|buffer| Binding::Whole(buffer)));
            let bind_group = gpu.bind(&pipeline, &bindings);
            Ok(Linked { pipeline, bind_group, grid: dispatch.grid })
        });
        Ok(Program { linked: linked.collect::<Result<_, GpuError>>()?, _params: Some(params) })
    }

    /// Adds the dispatches to a pass, for what runs.
    pub fn encode(&self, pass: &mut Pass, running: Running) {
        for step in &self.linked {
            pass.dispatch(&step.pipeline, &step.bind_group, step.grid.groups(running));
        }
    }

    /// How many dispatches.
    pub fn len(&self) -> usize {
        self.linked.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.linked.is_empty()
    }
}
