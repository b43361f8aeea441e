//! A model at work on the devices that there are: all that is made for it there, and that goes with them.

use std::cell::RefCell;
use std::rc::Rc;

use futures_util::lock::Mutex;

use super::Timings;
use super::background::{Background, Sources};
use super::offload::{Offload, Way};
use super::on_gpu::{OnGpu, no_gpu};
use super::rates::Rates;
use super::recorded::Recorded;
use super::session::Session;
use super::wishes::{Wishes, lay_out};
use crate::Result;
use crate::models::Model;
use crate::tensor::gpu::device::{Gpu, GpuError};
use crate::tensor::gpu::kernel::Tuning;
use crate::tensor::gpu::program::Pipelines;
use crate::weights::layout::Layout;
use crate::weights::loader::Loader;
use crate::weights::store::State;

/// A model on a GPU and the CPU, or on the CPU alone.
pub(super) struct Runner {
    pub model: Rc<dyn Model>,
    pub gpu: Option<OnGpu>,
    pub layouts: Rc<Vec<Layout>>,
    pub offload: Offload,
    pub session: Mutex<Session>,
    pub timings: Rc<Timings>,
    pub rates: Rc<Rates>,
    loader: RefCell<Loader>,
}

impl Runner {
    /// Lays the weights out for the devices, records and compiles what runs on the GPU. The weights set out before the
    /// driver compiles.
    pub async fn new(
        gpu: Option<Gpu>,
        model: Rc<dyn Model>,
        wishes: &Wishes,
        sources: &Sources,
        background: &Background,
        timings: Rc<Timings>,
    ) -> Result<Runner> {
        let layouts = Rc::new(lay_out(&*model, &sources.catalog, gpu.as_ref(), wishes.dtype)?);
        let offload = Offload::plan(&*model, &layouts, &wishes.placement, gpu.is_some())?;
        let rates = Rc::new(Rates::new(gpu.as_ref().is_none_or(|gpu| gpu.capabilities().is_software())));
        let record = |gpu: &Gpu| Recorded::new(&*model, &Tuning::of(gpu.capabilities()), &layouts);
        let recorded = gpu.as_ref().map(record).transpose()?;
        let gpu = gpu.zip(recorded);
        let session = gpu.as_ref().map(|(gpu, recorded)| Session::new(gpu, &*model, recorded)).transpose()?;
        let session = Mutex::new(session.unwrap_or_default());
        let device = gpu.as_ref().map(|(gpu, _)| gpu);
        let loader = background.loader(device, &*model, &layouts, &offload, sources).await?;
        // The last thing that can fail.
        let gpu = match gpu {
            None => None,
            Some((gpu, recorded)) => {
                let mut pipelines = Pipelines::default();
                if let Err(error) = pipelines.compile(&gpu, recorded.kernels()).await {
                    loader.retire();
                    return Err(error.into());
                }
                Some(OnGpu { gpu, recorded, pipelines })
            }
        };
        let loader = RefCell::new(loader);
        Ok(Runner { model, gpu, layouts, offload, session, timings, rates, loader })
    }

    /// What runs on the GPU.
    ///
    /// # Errors
    /// Where there is none: a bug, for nothing is placed there then.
    pub fn on_gpu(&self) -> Result<&OnGpu, GpuError> {
        self.gpu.as_ref().ok_or_else(no_gpu)
    }

    /// Fails where the GPU is lost.
    pub fn alive(&self) -> Result<(), GpuError> {
        self.gpu.as_ref().map_or(Ok(()), |on| on.gpu.alive())
    }

    /// The device that computes each block when so many tokens run together.
    pub fn ways(&self, tokens: usize) -> Vec<Way> {
        self.offload.ways(tokens, |bytes, rows| self.rates.favour_streaming(bytes, rows))
    }

    /// Notes that so many tokens took `ms`, where the GPU has computed all the layers, and each over all tokens.
    pub fn note_streaming(&self, ways: &[Way], tokens: usize, ms: f64) {
        if self.offload.has_experts() {
            return;
        }
        let layers: Vec<usize> = (0..ways.len()).filter(|block| self.is_layer(*block)).collect();
        if layers.iter().all(|block| ways.get(*block) == Some(&Way::Gpu)) {
            let streamed: Vec<usize> =
                layers.iter().copied().filter(|block| self.offload.is_offloaded(*block)).collect();
            let [all, streamed] = [&layers, &streamed].map(|blocks| self.offload.bytes_of(blocks));
            self.rates.note_gpu(all, streamed, tokens, ms);
        }
    }

    /// Whether one pass through all blocks is a step of the token loop: all stay on the GPU, and none is chosen by what others
    /// have left.
    pub fn is_one_pass(&self) -> bool {
        self.offload.is_none() && !self.offload.has_experts()
    }

    /// Whether every weight that stays is there.
    pub fn is_ready(&self) -> bool {
        let loader = self.loader();
        self.offload.staying().into_iter().all(|block| loader.state(block) == State::Resident)
    }

    /// The weights' loader.
    pub fn loader(&self) -> Loader {
        self.loader.borrow().clone()
    }

    /// Brings the weights in by another loader from now on.
    pub fn set_loader(&self, loader: Loader) {
        self.loader.replace(loader).retire();
    }

    /// Waits until every weight that stays where it is computed is there.
    pub async fn ready(&self) -> Result<()> {
        let blocks = self.offload.staying();
        loop {
            let loader = self.loader();
            let ready = loader.all_ready(&blocks).await;
            if loader.is(&self.loader()) {
                return ready;
            }
        }
    }
}
