//! From a repo to an engine: which weights there are, where each comes from, and how it is to lie on the device.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_util::lock::Mutex;

use super::background::{Background, Hire, Sources};
use super::room::Room;
use super::runner::{Runner, Setting};
use super::wishes::{Placement, WeightDtype, Wishes};
use super::{Engine, Timings};
use crate::Result;
use crate::checkpoint::{Catalog, CatalogOptions};
use crate::config::{GenerationConfig, ModelConfig, Quantization};
use crate::hub::{Abort, Repo};
use crate::models::{Architecture, Model, Registered, Task};
use crate::tensor::Dtype;
use crate::tensor::gpu::device::{Gpu, GpuError, GpuOptions};
use crate::weights::init;
use crate::weights::loader::{Progress, Spawn, WeightFile};
use crate::weights::resolve::{self, Resolved};
use crate::weights::round::Rounding;

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
    /// Architectures besides those that come with the crate.
    pub registered: Vec<Registered>,
    /// Where the weights come from.
    pub weights: WeightsSource,
    /// Initialise tensors of another shape than the config says, rather than fail.
    pub ignore_mismatched_sizes: bool,
    /// Decides the values of weights that are initialised.
    pub seed: u64,
    /// Precision of matrices on the device; vectors are always float32.
    pub dtype: WeightDtype,
    /// Round the matrices of linear layers to integers as they come.
    pub rounding: Option<Rounding>,
    /// Stream all weights in at once, in the background, rather than each layer when an input first reaches it. Experts come
    /// when a token is first routed to them all the same.
    pub prefetch: bool,
    /// Where weights live.
    pub placement: Placement,
    /// What is asked of the device.
    pub gpu: GpuOptions,
    /// Runs the background's work.
    pub spawn: Spawn,
    /// Hires threads that compute what is in CPU memory; without it one does.
    pub hire: Option<Hire>,
    /// Told of every chunk of weights.
    pub progress: Option<Rc<dyn Fn(Progress)>>,
    /// Stops the load.
    pub abort: Abort,
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
        let quantization = Quantization::of(config)?;
        if quantization.is_some() && options.rounding.is_some() {
            let supported = "the checkpoint's own; leave out what would round it again";
            return Err(config.fields().unsupported("quantization_config", supported).into());
        }
        let (model, resolved) = resolve(&*repo, config, quantization, &options).await?;
        let model: Rc<dyn Model> = model.into();
        let Resolved { catalog, new, info } = resolved;
        let (gpu, without_gpu) = request(&options).await?;
        let dtype = match options.dtype {
            WeightDtype::Auto => auto_dtype(config, &catalog)?,
            dtype => dtype,
        };
        let mut files = weight_files(&repo, &catalog);
        files.push(WeightFile { repo: Rc::new(new), path: init::FILE.to_owned() });

        let class = Architecture::of(config, &options.registered)?.class_name(config, options.task)?.to_owned();
        let LoadOptions { spawn, hire, progress, abort, prefetch, gpu: device, placement, rounding, .. } = options;
        // In place of one that is lost any will do.
        let device = GpuOptions { without_software: false, ..device };
        let background = Background { spawn, hire, crew: RefCell::default(), progress, abort, prefetch };
        let (sources, timings) = (Sources { files, catalog }, Rc::new(Timings::default()));
        let wishes = Wishes { dtype, rounding, placement, room: Room::first(&*model) };
        let setting = Setting { wishes: &wishes, sources: &sources, background: &background };
        let runner = Runner::new(gpu, model.clone(), timings.clone(), setting).await?;
        Ok(Engine {
            class,
            model,
            quantization,
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
    let without_software = options.gpu.without_software && !placement.insists_on_gpu();
    match Gpu::request(&GpuOptions { without_software, ..options.gpu.clone() }).await {
        Ok(gpu) => Ok((Some(gpu), None)),
        Err(error @ (GpuError::Unavailable { .. } | GpuError::Software { .. })) if placement.does_without() => {
            Ok((None, Some(error)))
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) fn weight_files(repo: &Rc<dyn Repo>, catalog: &Catalog) -> Vec<WeightFile> {
    catalog.files.iter().map(|file| WeightFile { repo: repo.clone(), path: file.path.clone() }).collect()
}

/// The model that the config describes, and where each of its weights comes from.
async fn resolve(
    repo: &dyn Repo,
    config: &ModelConfig,
    quantization: Option<Quantization>,
    options: &LoadOptions,
) -> Result<(Box<dyn Model>, Resolved)> {
    let architecture = Architecture::of(config, &options.registered)?;
    let mut model = architecture.build(config, options.task, true)?;
    let catalog = match &options.weights {
        WeightsSource::Checkpoint(files) => Catalog::open(repo, files).await?,
        WeightsSource::StateDict(catalog) => catalog.clone(),
        WeightsSource::New => Catalog::default(),
    };
    let catalog = catalog.group(repo.id(), quantization)?;
    if resolve::unties(&model.keys(), &catalog) {
        model = architecture.build(config, options.task, false)?;
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
