//! A model at work: its weights' loader, its programs, its cache, and the loops that drive them.

mod background;
mod beams;
mod between;
mod crossing;
mod encode;
mod forward;
mod generate;
mod load;
mod offload;
mod on_gpu;
mod output;
mod prefix;
mod rates;
mod recorded;
mod recover;
mod replace;
mod room;
mod routing;
mod runner;
mod session;
mod wishes;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use futures_util::lock::Mutex;

use crate::Result;
use crate::config::{GenerationConfig, Quantization};
use crate::generation::GenerationError;
use crate::models::{Model, ModelShape, Task};
use crate::placement::{Device, DeviceMap};
use crate::tensor::gpu::device::{Gpu, GpuError, GpuOptions};
use crate::tensor::ops::WeightId;
use crate::weights::keys::LoadingInfo;
use crate::weights::layout::Layout;
use crate::weights::loader::Loader;
use crate::weights::spec::BlockSpec;
use crate::weights::store::State;

use background::{Background, Sources};
use runner::Runner;
use wishes::Wishes;

pub use background::Hire;
pub use encode::Source;
pub use load::{LoadOptions, WeightsSource};
pub use output::{Array, Inputs, ModelOutput, More};
pub use rates::Rates;
pub use replace::IncompatibleKeys;
pub use wishes::{Placement, WeightDtype};

/// How long recent work took; for measurements.
#[derive(Debug, Default)]
pub struct Timings {
    /// Tokens of prompts that were run: not those whose keys and values were in the caches already.
    pub prefilled: Cell<u32>,
    /// Decode steps encoded.
    pub encoded: Cell<u32>,
    /// Milliseconds spent on encoding them.
    pub encode_ms: Cell<f64>,
    /// Dispatches of the last decode step.
    pub dispatches: Cell<u32>,
}

/// A loaded, or loading, causal language model.
///
/// It outlives its device: where that is lost, the model goes on on another.
pub struct Engine {
    model: Rc<dyn Model>,
    class: String,
    /// How checkpoints' linear layers are integers, if they are.
    quantization: Option<Quantization>,
    info: LoadingInfo,
    sources: RefCell<Sources>,
    background: Background,
    /// What is asked of a device, and how weights are to lie there.
    device: GpuOptions,
    /// Why there is none, where there could be one.
    without_gpu: Option<GpuError>,
    wishes: RefCell<Wishes>,
    runner: RefCell<Rc<Runner>>,
    recovering: Mutex<()>,
    device_losses: Cell<u32>,
    generation: GenerationConfig,
    timings: Rc<Timings>,
    disposed: Cell<bool>,
}

/// A block's place and progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockState {
    /// The module's name.
    pub name: String,
    /// Where it lives.
    pub device: Device,
    /// How far its weights have come.
    pub state: State,
    /// Bytes of its weights when all are there.
    pub bytes: u64,
    /// Bytes there now.
    pub resident_bytes: u64,
}

impl Engine {
    /// Waits until every weight that stays where it is computed is there, those of experts included.
    pub async fn ready(&self) -> Result<()> {
        self.on_some_device(async |runner| runner.ready().await).await
    }

    /// What transformers calls the model's class.
    pub fn class(&self) -> &str {
        &self.class
    }

    /// Which tensors the checkpoint lacked, had too many, or had in another shape.
    pub fn loading_info(&self) -> &LoadingInfo {
        &self.info
    }

    /// What it was loaded for.
    pub fn task(&self) -> Task {
        self.model.task()
    }

    /// What the model is like.
    pub fn shape(&self) -> ModelShape {
        self.model.shape()
    }

    /// The GPU that the model is on, if any.
    pub fn gpu(&self) -> Option<Gpu> {
        self.runner().gpu.as_ref().map(|on| on.gpu.clone())
    }

    /// Why the model is on the CPU alone, where that was not asked for: there is no WebGPU.
    pub fn without_gpu(&self) -> Option<&GpuError> {
        self.without_gpu.as_ref()
    }

    /// Modules and their devices.
    pub fn device_map(&self) -> DeviceMap {
        self.runner().offload.map.clone()
    }

    /// How many devices have been lost.
    pub fn device_losses(&self) -> u32 {
        self.device_losses.get()
    }

    /// How many threads compute what is in CPU memory.
    pub fn threads(&self) -> usize {
        self.background.crew.borrow().as_ref().map_or(1, |crew| crew.threads())
    }

    /// The weights' loader.
    pub fn loader(&self) -> Loader {
        self.runner().loader()
    }

    fn runner(&self) -> Rc<Runner> {
        self.runner.borrow().clone()
    }

    /// Measurements of the token loop.
    pub fn timings(&self) -> &Timings {
        &self.timings
    }

    /// What is known of the devices' speed, which decides where layers in CPU memory are computed.
    pub fn rates(&self) -> Rc<Rates> {
        self.runner().rates.clone()
    }

    /// How most of the weights' elements are stored, which names the kernels at work.
    pub fn storage_name(&self) -> &'static str {
        let runner = self.runner();
        let mut elements: BTreeMap<&str, usize> = BTreeMap::new();
        for layout in runner.layouts.iter() {
            let name = if runner.gpu.is_some() { layout.storage.name() } else { layout.cpu_storage().name() };
            let [rows, cols] = layout.matrix();
            *elements.entry(name).or_default() += rows * cols;
        }
        elements.into_iter().max_by_key(|(_, elements)| *elements).map_or("none", |(name, _)| name)
    }

    /// Bytes of the GPU that are kept for what isn't weights: caches, activations, what is on its way. They grow with the texts, and are
    /// a part of its share, where that is limited.
    pub fn kept_bytes(&self) -> u64 {
        self.runner().kept_bytes()
    }

    /// Bytes of all weights when all are there.
    pub fn weight_bytes(&self) -> u64 {
        self.runner().layouts.iter().map(Layout::total_bytes).sum()
    }

    /// Bytes of weights that live on a device and are there.
    fn resident_bytes_on(&self, device: Device) -> u64 {
        self.blocks().iter().filter(|block| block.device == device).map(|block| block.resident_bytes).sum()
    }

    /// Every block's place and progress, in forward order.
    pub fn blocks(&self) -> Vec<BlockState> {
        let runner = self.runner();
        let loader = runner.loader();
        let store = loader.store();
        let bytes = |spec: &BlockSpec, of: &dyn Fn(usize) -> u64| spec.weights.iter().map(|id| of(id.0)).sum();
        let one = |(index, spec): (usize, &BlockSpec)| BlockState {
            name: spec.name.clone(),
            device: runner.offload.devices.get(index).copied().unwrap_or(Device::Gpu),
            state: loader.state(index),
            bytes: bytes(spec, &|id| runner.layouts.get(id).map_or(0, Layout::total_bytes)),
            resident_bytes: bytes(spec, &|id| store.resident_bytes(WeightId(id))),
        };
        self.model.blocks().iter().enumerate().map(one).collect()
    }

    /// Stops loading and fails every later call. The device's memory is given back when the engine is dropped.
    pub fn dispose(&self) {
        self.disposed.set(true);
        self.loader().abort();
    }

    fn alive(&self) -> Result<()> {
        if self.disposed.get() {
            return Err(GenerationError::Disposed.into());
        }
        Ok(())
    }

    fn has_head(&self) -> Result<()> {
        match self.model.task().writes() {
            true => Ok(()),
            false => Err(GenerationError::NoHead { class: self.class.clone() }.into()),
        }
    }
}
