//! A model at work: its weights' loader, its programs, its cache, and the loops that drive them.

mod forward;
mod generate;
mod recorded;
mod session;

use std::cell::Cell;
use std::rc::Rc;

use futures_util::lock::Mutex;

use crate::checkpoint::{Catalog, CatalogOptions};
use crate::config::{GenerationConfig, ModelConfig};
use crate::hub::{Abort, Repo};
use crate::models::{self, DecoderShape, Model};
use crate::tensor::Dtype;
use crate::tensor::gpu::device::{Gpu, GpuOptions};
use crate::tensor::gpu::kernel::{Storage, Tuning};
use crate::tensor::gpu::program::Pipelines;
use crate::weights::layout::Layout;
use crate::weights::loader::{Loader, Parts, Progress, Spawn};
use crate::weights::plan;
use crate::weights::spec::BlockSpec;
use crate::weights::store::{State, Store};
use crate::{Error, Result};

use recorded::Recorded;
use session::Session;

/// The precision in which weights are kept on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightDtype {
    /// Half precision: bfloat16 checkpoints stay bfloat16 where the device lacks `shader-f16`, everything else becomes
    /// float16.
    #[default]
    Half,
    /// As the checkpoint has them.
    Auto,
    /// float16
    Float16,
    /// bfloat16
    Bfloat16,
    /// float32
    Float32,
}

/// What to load and how.
pub struct LoadOptions {
    /// Precision of matrices on the device; vectors are always float32.
    pub dtype: WeightDtype,
    /// Stream all weights in at once, in the background, rather than each layer when an input first reaches it.
    pub prefetch: bool,
    /// What is asked of the device.
    pub gpu: GpuOptions,
    /// Runs the background's work.
    pub spawn: Spawn,
    /// Told of every chunk of weights.
    pub progress: Option<Rc<dyn Fn(Progress)>>,
    /// Stops the load.
    pub abort: Abort,
}

/// How long recent work took; for measurements.
#[derive(Debug, Default)]
pub struct Timings {
    /// Decode steps encoded.
    pub encoded: Cell<u32>,
    /// Milliseconds spent on encoding them.
    pub encode_ms: Cell<f64>,
    /// Dispatches of the last decode step.
    pub dispatches: Cell<u32>,
}

/// A loaded, or loading, causal language model.
pub struct Engine {
    model: Box<dyn Model>,
    gpu: Gpu,
    loader: Loader,
    layouts: Rc<Vec<Layout>>,
    recorded: Recorded,
    pipelines: Pipelines,
    session: Mutex<Session>,
    generation: GenerationConfig,
    timings: Timings,
    disposed: Cell<bool>,
}

/// A block's place and progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockState {
    /// The module's name.
    pub name: String,
    /// How far its weights have come.
    pub state: State,
    /// Bytes of its weights on the device when all are there.
    pub bytes: u64,
    /// Bytes there now.
    pub resident_bytes: u64,
}

impl Engine {
    /// Reads config and headers and plans the load. Weights come later: in the background, or when first needed.
    ///
    /// # Errors
    /// Whatever is wrong with repo, checkpoint, config or device; weights that fail later fail the call that needs them.
    pub async fn load(
        repo: Rc<dyn Repo>,
        config: &ModelConfig,
        generation: GenerationConfig,
        options: LoadOptions,
    ) -> Result<Engine> {
        let model = models::from_config(config)?;
        let catalog = Catalog::open(&*repo, &CatalogOptions::default()).await?;
        let gpu = Gpu::request(&options.gpu).await?;
        let layouts: Rc<Vec<Layout>> = Rc::new(lay_out(&*model, &catalog, &gpu, options.dtype)?);
        let fetches = plan::plan(repo.id(), &catalog, model.weights(), &layouts, model.blocks())?;

        let recorded = Recorded::new(&*model, &Tuning::of(gpu.capabilities()), &layouts)?;
        let mut pipelines = Pipelines::default();
        pipelines.compile(&gpu, recorded.kernels()).await?;
        let loader = Loader::new(Parts {
            repo,
            gpu: gpu.clone(),
            files: catalog.files.iter().map(|file| file.path.clone()).collect(),
            blocks: model.blocks().to_vec(),
            fetches,
            store: Store::new(model.weights(), layouts.clone()),
            spawn: options.spawn,
            progress: options.progress,
            abort: options.abort,
        })
        .await?;
        if options.prefetch {
            (0..model.blocks().len()).for_each(|block| loader.request(block));
        }
        let session = Mutex::new(Session::new(&gpu, &model.shape(), &recorded)?);
        Ok(Engine {
            model,
            gpu,
            loader,
            layouts,
            recorded,
            pipelines,
            session,
            generation,
            timings: Timings::default(),
            disposed: Cell::new(false),
        })
    }

    /// Waits until every weight is on the device.
    pub async fn ready(&self) -> Result<()> {
        self.loader.all_ready().await
    }

    /// What the model is like.
    pub fn shape(&self) -> DecoderShape {
        self.model.shape()
    }

    /// The device.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// The weights' loader.
    pub fn loader(&self) -> &Loader {
        &self.loader
    }

    /// Measurements of the token loop.
    pub fn timings(&self) -> &Timings {
        &self.timings
    }

    /// The storage of the largest weight, which names the kernels at work.
    pub fn storage(&self) -> Storage {
        self.layouts.iter().max_by_key(|layout| layout.total_bytes()).map_or(Storage::F32, |layout| layout.storage)
    }

    /// Bytes of all weights when all are on the device.
    pub fn weight_bytes(&self) -> u64 {
        self.layouts.iter().map(Layout::total_bytes).sum()
    }

    /// Every block's place and progress, in forward order.
    pub fn blocks(&self) -> Vec<BlockState> {
        let store = self.loader.store();
        let bytes = |spec: &BlockSpec, of: &dyn Fn(usize) -> u64| spec.weights.iter().map(|id| of(id.0)).sum();
        let one = |(index, spec): (usize, &BlockSpec)| BlockState {
            name: spec.name.clone(),
            state: self.loader.state(index),
            bytes: bytes(spec, &|id| self.layouts.get(id).map_or(0, Layout::total_bytes)),
            resident_bytes: bytes(spec, &|id| store.resident_bytes(crate::tensor::ops::WeightId(id))),
        };
        self.model.blocks().iter().enumerate().map(one).collect()
    }

    /// Stops loading and fails every later call. The device's memory is given back when the engine is dropped.
    pub fn dispose(&self) {
        self.disposed.set(true);
        self.loader.abort();
    }

    fn alive(&self) -> Result<()> {
        if self.disposed.get() {
            return Err(crate::generation::GenerationError::Disposed.into());
        }
        self.gpu.alive().map_err(Error::from)
    }
}

/// Chooses each weight's storage: matrices as asked, vectors in float32.
fn lay_out(model: &dyn Model, catalog: &Catalog, gpu: &Gpu, asked: WeightDtype) -> Result<Vec<Layout>> {
    let f16 = if gpu.capabilities().shader_f16 { Storage::F16 } else { Storage::F16Packed };
    let of = |dtype: Option<Dtype>| match (asked, dtype) {
        (WeightDtype::Float32, _) | (WeightDtype::Auto, Some(Dtype::F32)) => Storage::F32,
        (WeightDtype::Bfloat16, _) | (WeightDtype::Auto, Some(Dtype::BF16)) => Storage::Bf16,
        // Widening a bfloat16 is a shift; unpacking a float16 without shader-f16 is much more.
        (WeightDtype::Half, Some(Dtype::BF16)) if f16 == Storage::F16Packed => Storage::Bf16,
        _ => f16,
    };
    let layout = |(_, spec): (_, &crate::weights::spec::WeightSpec)| {
        let dtype = spec.pieces.first().and_then(|piece| catalog.tensors.get(&piece.tensor)).map(|t| t.dtype);
        let storage = if spec.is_vector() { Storage::F32 } else { of(dtype) };
        Ok(Layout::new(spec, storage, gpu.capabilities())?)
    };
    model.weights().iter().map(layout).collect()
}
