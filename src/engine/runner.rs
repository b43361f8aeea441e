//! A model at work on the devices that there are: all that is made for it there, and that goes with them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_util::lock::Mutex;

use super::Timings;
use super::background::{Background, Before, Sources, Stays};
use super::offload::{Offload, Way};
use super::on_gpu::{OnGpu, no_gpu};
use super::rates::Rates;
use super::recorded::Recorded;
use super::room::{Beside, Room};
use super::session::Session;
use super::wishes::{Wishes, lay_out};
use crate::Result;
use crate::models::Model;
use crate::tensor::gpu::device::{Gpu, GpuError};
use crate::tensor::gpu::kernel::Tuning;
use crate::weights::layout::Layout;
use crate::weights::loader::{Home, Loader, STREAMS};
use crate::weights::store::State;
use crate::weights::upload::staging_bytes;

/// A model on a GPU and the CPU, or on the CPU alone.
pub(super) struct Runner {
    pub model: Rc<dyn Model>,
    pub gpu: Option<Rc<OnGpu>>,
    pub layouts: Rc<Vec<Layout>>,
    pub offload: Offload,
    pub session: Mutex<Session>,
    pub timings: Rc<Timings>,
    pub rates: Rc<Rates>,
    /// What is taken on the GPU beside weights.
    beside: Option<Beside>,
    /// What room is kept for that.
    pub kept: Cell<Room>,
    /// What a call has wanted that is more than there can be beside these weights.
    wanted: Cell<Option<Room>>,
    loader: RefCell<Loader>,
}

/// What a runner is made of.
#[derive(Clone, Copy)]
pub(super) struct Setting<'a> {
    pub wishes: &'a Wishes,
    pub sources: &'a Sources,
    pub background: &'a Background,
}

impl Runner {
    /// Lays the weights out for the devices, records and compiles what runs on the GPU. The weights set out before the
    /// driver compiles.
    pub async fn new(
        gpu: Option<Gpu>,
        model: Rc<dyn Model>,
        timings: Rc<Timings>,
        setting: Setting<'_>,
    ) -> Result<Runner> {
        let layouts = lay_out(&*model, &setting.sources.catalog, gpu.as_ref(), setting.wishes)?;
        let rates = Rc::new(Rates::new(gpu.as_ref().is_none_or(|gpu| gpu.capabilities().is_software())));
        Runner::make(
            Parts { gpu: on(gpu, &*model, &layouts)?, model, layouts: Rc::new(layouts), timings, rates },
            setting,
            None,
        )
        .await
    }

    /// The same model by other wishes, or on another device where this one's is lost. What stays where it is, in GPU or CPU memory,
    /// does not come again; this runner is left without.
    ///
    /// # Errors
    /// [`PlacementError`](crate::placement::PlacementError), and this runner is as it was; what the device says, and it has made way.
    pub async fn again(&self, other: Option<Gpu>, setting: Setting<'_>) -> Result<Runner> {
        let (model, timings) = (self.model.clone(), self.timings.clone());
        let (gpu, layouts, rates) = match other {
            None => (self.gpu.clone(), self.layouts.clone(), self.rates.clone()),
            Some(gpu) => {
                let layouts = lay_out(&*model, &setting.sources.catalog, Some(&gpu), setting.wishes)?;
                let rates = Rc::new(Rates::new(gpu.capabilities().is_software()));
                (on(Some(gpu), &*model, &layouts)?, Rc::new(layouts), rates)
            }
        };
        let is_same = match (&gpu, &self.gpu) {
            (Some(one), Some(other)) => Rc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        let stays: Stays = match (is_same, layouts == self.layouts) {
            (true, _) => |_| true,
            (false, true) => |home| home == Home::Cpu,
            (false, false) => |_| false,
        };
        Runner::make(Parts { model, gpu, layouts, timings, rates }, setting, Some((self, stays))).await
    }

    async fn make(
        Parts { model, gpu, layouts, timings, rates }: Parts,
        Setting { wishes, sources, background }: Setting<'_>,
        before: Option<(&Runner, Stays)>,
    ) -> Result<Runner> {
        let fetches = sources.plan(&*model, &layouts)?;
        let beside = gpu.as_ref().map(|on| {
            let staging =
                STREAMS as u64 * staging_bytes(fetches.iter().flatten().flat_map(|fetch| &fetch.extents), &layouts);
            Beside::of(&on.gpu, &*model, &on.recorded, staging)
        });
        let kept_bytes = beside.map_or(0, |beside| beside.bytes(wishes.room));
        let offload = Offload::plan(&*model, &layouts, &wishes.placement, gpu.is_some(), kept_bytes)?;
        if let Some((before, _)) = before {
            before.loader().retire();
            *before.session.lock().await = Session::default();
            before.loader().at_rest().await;
        }
        let session = gpu.as_ref().map(|on| Session::new(&on.gpu, &*model, &on.recorded)).transpose()?;
        let session = Mutex::new(session.unwrap_or_default());
        let device = gpu.as_ref().map(|on| &on.gpu);
        let loaded = before.map(|(before, stays)| (before.loader(), stays));
        let before = loaded.as_ref().map(|(loader, stays)| Before { loader, stays: *stays });
        let loader = background.loader(device, &*model, &layouts, &offload, (sources, fetches), before).await?;
        // The last thing that can fail.
        if let Some(on) = &gpu
            && let Err(error) = on.compile().await
        {
            loader.retire();
            return Err(error.into());
        }
        let (kept, wanted) = (Cell::new(wishes.room), Cell::default());
        let loader = RefCell::new(loader);
        Ok(Runner { model, gpu, layouts, offload, session, timings, rates, beside, kept, wanted, loader })
    }

    /// Keeps `room` on the GPU beside the weights.
    ///
    /// # Errors
    /// `OUT_OF_MEMORY` where its share is limited, and there isn't so much beside these weights; see [`Runner::take_wanted`].
    pub fn keep_room(&self, room: Room) -> Result<(), GpuError> {
        let Some(beside) = self.beside else { return Ok(()) };
        let room = room.or(self.kept.get());
        let bytes = beside.bytes(room);
        if bytes <= self.kept_bytes() || self.offload.has_room_for(bytes) {
            self.kept.set(room);
            return Ok(());
        }
        self.wanted.set(Some(room));
        let what = format!("what a text of {} tokens needs beside weights, within max_memory", room.positions);
        Err(GpuError::OutOfMemory { what, bytes })
    }

    /// The room that a call has just wanted, where weights must go for it.
    pub fn take_wanted(&self) -> Option<Room> {
        self.wanted.take()
    }

    /// Bytes of the GPU that are kept for what isn't weights.
    pub fn kept_bytes(&self) -> u64 {
        self.beside.map_or(0, |beside| beside.bytes(self.kept.get()))
    }

    /// What runs on the GPU.
    ///
    /// # Errors
    /// Where there is none: a bug, for nothing is placed there then.
    pub fn on_gpu(&self) -> Result<&OnGpu, GpuError> {
        self.gpu.as_deref().ok_or_else(no_gpu)
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

/// What a runner is made of that outlasts what is wished.
struct Parts {
    model: Rc<dyn Model>,
    gpu: Option<Rc<OnGpu>>,
    layouts: Rc<Vec<Layout>>,
    timings: Rc<Timings>,
    rates: Rc<Rates>,
}

/// What is to run on a GPU, recorded.
fn on(gpu: Option<Gpu>, model: &dyn Model, layouts: &[Layout]) -> Result<Option<Rc<OnGpu>>> {
    let record = |gpu: Gpu| {
        let recorded = Recorded::new(model, &Tuning::of(gpu.capabilities()), layouts)?;
        Ok(Rc::new(OnGpu::new(gpu, recorded)))
    };
    gpu.map(record).transpose()
}
