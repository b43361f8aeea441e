//! From a repo to an engine: which weights there are, where each comes from, and how it is to lie on the device.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_util::lock::Mutex;

use super::offload::Offload;
use super::runner::Runner;
use super::{Engine, Timings};
use crate::Result;
use crate::checkpoint::{Catalog, CatalogOptions};
use crate::config::{GenerationConfig, ModelConfig};
use crate::hub::{Abort, Repo};
use crate::models::{Family, Model, Task};
use crate::placement::{Device, DeviceMap, MaxMemory};
use crate::tensor::Dtype;
use crate::tensor::gpu::device::{Gpu, GpuError, GpuOptions};
use crate::tensor::gpu::kernel::Storage;
use crate::weights::init;
use crate::weights::layout::Layout;
use crate::weights::loader::{Loader, Parts, Progress, Spawn, WeightFile};
use crate::weights::plan;
use crate::weights::resolve::{self, Resolved};
use crate::weights::store::Store;

/// The precision in which weights are kept on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightDtype {
    /// Half precision: bfloat16 checkpoints stay bfloat16 where the device lacks `shader-f16`, everything else becomes
    /// float16.
    #[default]
    Half,
    /// The config's; where it names none, that of the checkpoint's first tensor of a floating type.
    Auto,
    /// float16
    Float16,
    /// bfloat16
    Bfloat16,
    /// float32
    Float32,
}

/// Where a model's weights are.
#[derive(Debug, Clone)]
pub enum WeightsSource {
    /// In the repo's checkpoint files.
    Checkpoint(CatalogOptions),
    /// In files that are known already: a state dict.
    StateDict(Catalog),
    /// Nowhere: all are initialised, as by `from_config`.
    New,
}

/// What to load and how.
pub struct LoadOptions {
    /// What for.
    pub task: Task,
    /// Where the weights come from.
    pub weights: WeightsSource,
    /// Initialise tensors of another shape than the config says, rather than fail.
    pub ignore_mismatched_sizes: bool,
    /// Decides the values of weights that are initialised.
    pub seed: u64,
    /// Precision of matrices on the device; vectors are always float32.
    pub dtype: WeightDtype,
    /// Stream all weights in at once, in the background, rather than each layer when an input first reaches it.
    pub prefetch: bool,
    /// Where weights live.
    pub placement: Placement,
    /// What is asked of the device.
    pub gpu: GpuOptions,
    /// Runs the background's work.
    pub spawn: Spawn,
    /// Told of every chunk of weights.
    pub progress: Option<Rc<dyn Fn(Progress)>>,
    /// Stops the load.
    pub abort: Abort,
}

/// Where weights live: as a map says, or as it is inferred for the memory that there is.
#[derive(Debug, Clone, Default)]
pub struct Placement {
    /// Modules and their devices; none: inferred.
    pub device_map: Option<DeviceMap>,
    /// Bytes of weights that each device takes; none: all are on the GPU, or in CPU memory where there is no WebGPU.
    pub max_memory: Option<MaxMemory>,
    /// The device that computes what isn't on the GPU: accelerate's `execution_device`. None: whichever is faster, layer
    /// by layer and call by call.
    pub execution_device: Option<Device>,
    /// Fail where there is no WebGPU, rather than go on without.
    pub requires_gpu: bool,
}

impl Placement {
    /// Whether the GPU has a part in it.
    fn wants_gpu(&self) -> bool {
        self.execution_device == Some(Device::Gpu) || self.names_gpu().unwrap_or(true)
    }

    /// Whether it says that there is something on the GPU, where it says anything.
    fn names_gpu(&self) -> Option<bool> {
        match (&self.device_map, self.max_memory) {
            (Some(map), _) => Some(map.iter().any(|(_, device)| device == Device::Gpu)),
            (None, Some(max_memory)) => Some(max_memory.gpu.is_some_and(|bytes| bytes > 0)),
            (None, None) => None,
        }
    }

    /// The same with less of the GPU, where it was not said which module is where; `None`: it was.
    pub(super) fn with_less(&self, gpu: u64) -> Option<Placement> {
        if self.device_map.is_some() || self.max_memory.is_some_and(|most| most.gpu.is_some_and(|most| most <= gpu)) {
            return None;
        }
        let cpu = self.max_memory.map_or(Some(u64::MAX), |most| most.cpu);
        Some(Placement { max_memory: Some(MaxMemory { gpu: Some(gpu), cpu }), ..self.clone() })
    }

    /// Whether it can do without WebGPU where there is none.
    fn does_without(&self) -> bool {
        !self.requires_gpu && self.execution_device != Some(Device::Gpu) && self.device_map.is_none()
    }
}

/// Where every weight of a model comes from.
#[derive(Clone)]
pub(super) struct Sources {
    /// As the catalog numbers them.
    pub files: Vec<WeightFile>,
    /// By the model's names.
    pub catalog: Catalog,
}

/// How weights are to lie on a device, and which.
#[derive(Clone)]
pub(super) struct Wishes {
    pub dtype: WeightDtype,
    pub placement: Placement,
}

/// How weights come in beside the caller's work.
pub(super) struct Background {
    spawn: Spawn,
    progress: Option<Rc<dyn Fn(Progress)>>,
    abort: Abort,
    prefetch: bool,
}

impl Background {
    /// Plans the way of all weights, and sets out to bring them in.
    pub(super) async fn loader(
        &self,
        gpu: Option<&Gpu>,
        model: &dyn Model,
        layouts: &Rc<Vec<Layout>>,
        offload: &Offload,
        sources: &Sources,
    ) -> Result<Loader> {
        let repo = sources.files.first().map(|file| file.repo.id()).unwrap_or_default();
        let fetches = plan::plan(repo, &sources.catalog, model.weights(), layouts, model.blocks())?;
        let loader = Loader::new(Parts {
            gpu: gpu.cloned(),
            files: sources.files.clone(),
            blocks: model.blocks().to_vec(),
            fetches,
            store: Store::new(model.weights(), layouts.clone()),
            homes: (0..model.blocks().len()).map(|block| offload.home(block)).collect(),
            spawn: self.spawn.clone(),
            progress: self.progress.clone(),
            abort: self.abort.clone(),
        })
        .await?;
        if self.prefetch {
            offload.staying().into_iter().for_each(|block| loader.request(block));
        }
        Ok(loader)
    }
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
        let (model, resolved) = resolve(&*repo, config, &options).await?;
        let model: Rc<dyn Model> = model.into();
        let Resolved { catalog, new, info } = resolved;
        let (gpu, without_gpu) = request(&options).await?;
        let dtype = match options.dtype {
            WeightDtype::Auto => auto_dtype(config, &catalog)?,
            dtype => dtype,
        };
        let mut files = weight_files(&repo, &catalog);
        files.push(WeightFile { repo: Rc::new(new), path: init::FILE.to_owned() });

        let class = Family::of(config)?.class_name(options.task).to_owned();
        let LoadOptions { spawn, progress, abort, prefetch, gpu: device, placement, .. } = options;
        let background = Background { spawn, progress, abort, prefetch };
        let (sources, timings) = (Sources { files, catalog }, Rc::new(Timings::default()));
        let wishes = Wishes { dtype, placement };
        let runner = Runner::new(gpu, model.clone(), &wishes, &sources, &background, timings.clone()).await?;
        Ok(Engine {
            class,
            model,
            info,
            sources: RefCell::new(sources),
            background,
            device,
            without_gpu,
            wishes: RefCell::new(wishes),
            runner: RefCell::new(Rc::new(runner)),
            recovering: Mutex::default(),
            device_losses: Cell::new(0),
            generation,
            timings,
            disposed: Cell::new(false),
        })
    }
}

/// The GPU, where the model is to have one; or why it has none, where it could have done with one.
async fn request(options: &LoadOptions) -> Result<(Option<Gpu>, Option<GpuError>)> {
    let placement = &options.placement;
    if !placement.wants_gpu() {
        return Ok((None, None));
    }
    match Gpu::request(&options.gpu).await {
        Ok(gpu) => Ok((Some(gpu), None)),
        Err(error @ GpuError::Unavailable { .. }) if placement.does_without() => Ok((None, Some(error))),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn weight_files(repo: &Rc<dyn Repo>, catalog: &Catalog) -> Vec<WeightFile> {
    catalog.files.iter().map(|file| WeightFile { repo: repo.clone(), path: file.path.clone() }).collect()
}

/// The model that the config describes, and where each of its weights comes from.
async fn resolve(repo: &dyn Repo, config: &ModelConfig, options: &LoadOptions) -> Result<(Box<dyn Model>, Resolved)> {
    let family = Family::of(config)?;
    let mut model = family.build(config, options.task)?;
    let catalog = match &options.weights {
        WeightsSource::Checkpoint(files) => Catalog::open(repo, files).await?,
        WeightsSource::StateDict(catalog) => catalog.clone(),
        WeightsSource::New => Catalog::default(),
    };
    if resolve::unties(&model.keys(), &catalog) {
        let untied = [("tie_word_embeddings".to_owned(), false.into())].into_iter().collect();
        model = family.build(&config.with_overrides(untied, &family.config_keys())?, options.task)?;
    }
    let ignore = options.ignore_mismatched_sizes;
    let resolved = resolve::resolve(repo.id(), &model.keys(), model.weights(), catalog, ignore, options.seed)?;
    Ok((model, resolved))
}

/// The type that `dtype: "auto"` means, as transformers finds it; what no device computes in becomes float32.
fn auto_dtype(config: &ModelConfig, catalog: &Catalog) -> Result<WeightDtype> {
    // torch can't make a whole model of its eight-bit types, so that they don't count.
    let floating = |dtype: Dtype| matches!(dtype, Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64);
    let in_order = || catalog.tensors.values().filter(|t| floating(t.dtype)).min_by_key(|t| (t.file, t.range.start));
    Ok(match config.dtype()?.or_else(|| in_order().map(|tensor| tensor.dtype)) {
        Some(Dtype::F16) => WeightDtype::Float16,
        Some(Dtype::BF16) => WeightDtype::Bfloat16,
        _ => WeightDtype::Float32,
    })
}

/// Chooses each weight's storage: matrices as asked, vectors in float32.
pub(super) fn lay_out(
    model: &dyn Model,
    catalog: &Catalog,
    gpu: Option<&Gpu>,
    asked: WeightDtype,
) -> Result<Vec<Layout>> {
    let capabilities = gpu.map(Gpu::capabilities);
    let f16 = if capabilities.is_some_and(|gpu| gpu.shader_f16) { Storage::F16 } else { Storage::F16Packed };
    let of = |dtype: Option<Dtype>| match (asked, dtype) {
        (WeightDtype::Float32 | WeightDtype::Auto, _) => Storage::F32,
        (WeightDtype::Bfloat16, _) => Storage::Bf16,
        // Widening a bfloat16 is a shift; unpacking a float16 without shader-f16 is much more.
        (WeightDtype::Half, Some(Dtype::BF16)) if f16 == Storage::F16Packed => Storage::Bf16,
        _ => f16,
    };
    let layout = |(_, spec): (_, &crate::weights::spec::WeightSpec)| {
        let dtype = spec.pieces.first().and_then(|piece| catalog.tensors.get(&piece.tensor)).map(|t| t.dtype);
        let storage = if spec.is_vector() { Storage::F32 } else { of(dtype) };
        match capabilities {
            Some(capabilities) => Ok(Layout::new(spec, storage, capabilities)?),
            None => Ok(Layout::on_cpu(spec, storage)),
        }
    };
    model.weights().iter().map(layout).collect()
}
