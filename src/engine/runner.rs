//! A model on one device: all that is made for it there, and that goes with it.

use std::cell::RefCell;
use std::rc::Rc;

use futures_util::lock::Mutex;

use super::Timings;
use super::load::{Background, Sources, Wishes, lay_out};
use super::offload::Offload;
use super::recorded::Recorded;
use super::session::Session;
use crate::Result;
use crate::models::Model;
use crate::tensor::gpu::device::Gpu;
use crate::tensor::gpu::kernel::Tuning;
use crate::tensor::gpu::program::Pipelines;
use crate::weights::layout::Layout;
use crate::weights::loader::Loader;

/// A model on one device.
pub(super) struct Runner {
    pub model: Rc<dyn Model>,
    pub gpu: Gpu,
    pub layouts: Rc<Vec<Layout>>,
    pub offload: Offload,
    pub recorded: Recorded,
    pub pipelines: Pipelines,
    pub session: Mutex<Session>,
    pub timings: Rc<Timings>,
    loader: RefCell<Loader>,
}

impl Runner {
    /// Lays the weights out for the device, records and compiles what runs there. The weights set out before the driver
    /// compiles.
    pub async fn new(
        gpu: Gpu,
        model: Rc<dyn Model>,
        wishes: &Wishes,
        sources: &Sources,
        background: &Background,
        timings: Rc<Timings>,
    ) -> Result<Runner> {
        let layouts = Rc::new(lay_out(&*model, &sources.catalog, &gpu, wishes.dtype)?);
        let offload = Offload::plan(&*model, &layouts, &wishes.placement)?;
        let recorded = Recorded::new(&*model, &Tuning::of(gpu.capabilities()), &layouts)?;
        let session = Mutex::new(Session::new(&gpu, &model.shape(), &recorded)?);
        let loader = background.loader(&gpu, &*model, &layouts, &offload, sources).await?;
        // The last thing that can fail.
        let mut pipelines = Pipelines::default();
        if let Err(error) = pipelines.compile(&gpu, recorded.kernels()).await {
            loader.retire();
            return Err(error.into());
        }
        let loader = RefCell::new(loader);
        Ok(Runner { model, gpu, layouts, offload, recorded, pipelines, session, timings, loader })
    }

    /// The weights' loader.
    pub fn loader(&self) -> Loader {
        self.loader.borrow().clone()
    }

    /// Brings the weights in by another loader from now on.
    pub fn set_loader(&self, loader: Loader) {
        self.loader.replace(loader).retire();
    }

    /// Waits until every weight that stays on the device is there.
    pub async fn ready(&self) -> Result<()> {
        let blocks = self.offload.resident();
        loop {
            let loader = self.loader();
            let ready = loader.all_ready(&blocks).await;
            if loader.is(&self.loader()) {
                return ready;
            }
        }
    }
}
