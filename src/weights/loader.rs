//! Brings weights in: a queue of range requests in forward order, a few of them under way at a time.
//!
//! A block is asked for when the forward pass reaches it, or all blocks at once when weights are to stream in in the
//! background; who waits for a block waits for its own requests only.
//!
//! A block that fails is absent again. It comes when it is asked for, when any block is (it may have been the
//! background's), or when the browser finds the network that it had lost.

use std::cell::{Cell, Ref, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use futures_util::future::{Either, LocalBoxFuture, select, try_join_all};

use super::WeightsError;
use super::gather::Gatherer;
use super::held::{Held, Recording};
use super::plan::Fetch;
use super::spec::BlockSpec;
use super::store::{State, Store};
use super::upload::{Chunks, Uploader, cast_kernel};
use crate::hub::{Abort, HubError, Repo};
use crate::tensor::gpu::device::Gpu;
use crate::tensor::gpu::program::Pipelines;
use crate::{Error, Result};

/// Requests under way at a time. A browser opens six connections to an HTTP/1.1 host.
pub const STREAMS: usize = 6;
/// The codes of what a later try may not meet again, a server's 5xx among them.
const PASSING: [&str; 3] = ["NETWORK", "RATE_LIMITED", "BAD_RESPONSE"];

/// Runs a future beside the caller's: the event loop in a browser, a pool in native tests.
pub type Spawn = Rc<dyn Fn(LocalBoxFuture<'static, ()>)>;

/// How far the download is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The file that moved.
    pub file: String,
    /// Bytes of its weights that have come, and all of them.
    pub file_loaded: u64,
    /// All bytes of its weights.
    pub file_total: u64,
    /// Bytes of all weights that have come.
    pub loaded: u64,
    /// All bytes of all weights.
    pub total: u64,
}

/// A file with weights.
#[derive(Clone)]
pub struct WeightFile {
    /// Where it is.
    pub repo: Rc<dyn Repo>,
    /// What it is called there.
    pub path: String,
}

/// Where a block's weights go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// To the GPU.
    Gpu,
    /// To the GPU; the file's bytes stay in CPU memory, from which they come again when they have been evicted.
    Held,
    /// To CPU memory.
    Cpu,
}

/// What the loader works with.
pub struct Parts {
    /// Where the weights go, if not all of them to CPU memory.
    pub gpu: Option<Gpu>,
    /// Where they come from, as the fetches number them.
    pub files: Vec<WeightFile>,
    /// The model's blocks.
    pub blocks: Vec<BlockSpec>,
    /// Their requests, block by block.
    pub fetches: Vec<Vec<Fetch>>,
    /// Empty slots.
    pub store: Store,
    /// Where each block's weights go.
    pub homes: Vec<Home>,
    /// Runs requests in the background.
    pub spawn: Spawn,
    /// Told of every chunk.
    pub progress: Option<Rc<dyn Fn(Progress)>>,
    /// Stops everything.
    pub abort: Abort,
}

struct Block {
    home: Home,
    fetches: Vec<Rc<Fetch>>,
    asked: Cell<bool>,
    left: Cell<usize>,
    // Which attempt this is: a request of an earlier one, still under way, no longer counts.
    attempt: Cell<u32>,
    /// Whether it has been here: when it comes again, that is no progress.
    has_come: Cell<bool>,
    // What this attempt has brought from each file.
    loaded: RefCell<BTreeMap<usize, u64>>,
    failed: RefCell<Option<Rc<Error>>>,
}

/// One stream's ways to where weights go.
struct Way {
    uploader: Option<Uploader>,
    gatherer: Gatherer,
}

impl Way {
    fn staging_bytes(&self) -> u64 {
        self.uploader.as_ref().map_or(0, Uploader::staging_bytes)
    }
}

struct File {
    repo: Rc<dyn Repo>,
    path: String,
    loaded: Cell<u64>,
    total: u64,
}

struct Inner {
    gpu: Option<Gpu>,
    files: Vec<File>,
    specs: Vec<BlockSpec>,
    blocks: Vec<Block>,
    store: RefCell<Store>,
    held: Held,
    casts: Pipelines,
    queue: RefCell<VecDeque<Rc<Fetch>>>,
    streams: Cell<usize>,
    staging: Cell<u64>,
    peak_staging: Cell<u64>,
    loaded: Cell<u64>,
    total: u64,
    wakers: RefCell<Vec<Waker>>,
    retired: Cell<bool>,
    spawn: Spawn,
    progress: Option<Rc<dyn Fn(Progress)>>,
    abort: Abort,
    #[cfg(target_arch = "wasm32")]
    _online: crate::hub::OnOnline,
}

/// Brings a model's weights in.
#[derive(Clone)]
pub struct Loader(Rc<Inner>);

impl Loader {
    /// Prepares to load; nothing is fetched yet.
    ///
    /// # Errors
    /// Where a cast kernel does not compile.
    pub async fn new(parts: Parts) -> Result<Loader> {
        let mut casts = Pipelines::default();
        if let Some(gpu) = &parts.gpu {
            let cast = parts.fetches.iter().zip(&parts.homes).filter(|(_, home)| **home != Home::Cpu);
            let extents = cast.flat_map(|(fetches, _)| fetches.iter().flat_map(|fetch| &fetch.extents));
            let kernels: Vec<_> = extents.filter_map(|e| cast_kernel(e, parts.store.layout(e.weight)?)).collect();
            casts.compile(gpu, &kernels).await?;
        }
        let file = |WeightFile { repo, path }| File { repo, path, loaded: Cell::new(0), total: 0 };
        let mut files: Vec<File> = parts.files.into_iter().map(file).collect();
        let mut total = 0;
        for fetch in parts.fetches.iter().flatten() {
            let bytes = fetch.range.end - fetch.range.start;
            total += bytes;
            if let Some(file) = files.get_mut(fetch.file) {
                file.total += bytes;
            }
        }
        let homes = parts.homes.into_iter().chain(std::iter::repeat(Home::Gpu));
        let blocks = parts
            .fetches
            .into_iter()
            .zip(homes)
            .map(|(fetches, home)| Block {
                home,
                fetches: fetches.into_iter().map(Rc::new).collect(),
                asked: Cell::default(),
                left: Cell::default(),
                attempt: Cell::default(),
                has_come: Cell::default(),
                loaded: RefCell::default(),
                failed: RefCell::default(),
            })
            .collect();
        let inner = |_me: &Weak<Inner>| Inner {
            gpu: parts.gpu,
            files,
            specs: parts.blocks,
            blocks,
            store: RefCell::new(parts.store),
            held: Held::default(),
            casts,
            queue: RefCell::default(),
            streams: Cell::new(0),
            staging: Cell::new(0),
            peak_staging: Cell::new(0),
            loaded: Cell::new(0),
            total,
            wakers: RefCell::default(),
            retired: Cell::new(false),
            spawn: parts.spawn,
            progress: parts.progress,
            abort: parts.abort,
            #[cfg(target_arch = "wasm32")]
            _online: {
                let me = _me.clone();
                crate::hub::OnOnline::new(move || me.upgrade().into_iter().for_each(|inner| Loader(inner).resume()))
            },
        };
        Ok(Loader(Rc::new_cyclic(inner)))
    }

    /// The slots.
    pub fn store(&self) -> Ref<'_, Store> {
        self.0.store.borrow()
    }

    /// Bytes of weights that have come over the network.
    pub fn loaded(&self) -> u64 {
        self.0.loaded.get()
    }

    /// Bytes of all weights in the checkpoint.
    pub fn total(&self) -> u64 {
        self.0.total
    }

    /// The most bytes that have waited in staging buffers at once.
    pub fn peak_staging(&self) -> u64 {
        self.0.peak_staging.get()
    }

    /// Stops every request. Who waits for a block hears of it.
    pub fn abort(&self) {
        self.0.abort.abort();
        self.0.queue.borrow_mut().clear();
        self.0.wake();
    }

    /// Makes way for another loader of the same model: asks for nothing more. Who waits hears that it was aborted.
    pub fn retire(&self) {
        self.0.retired.set(true);
        self.0.queue.borrow_mut().clear();
        self.0.wake();
    }

    /// Waits until nothing is under way any more, once it has made way.
    pub async fn at_rest(&self) {
        poll_fn(|cx| self.0.when(self.0.streams.get() == 0, cx)).await;
    }

    /// Whether it has made way for another one: what waited for it may wait for that.
    pub fn is_retired(&self) -> bool {
        self.0.retired.get() && !self.0.abort.is_aborted()
    }

    /// Gives all memory of the weights back, those that are still coming included.
    pub fn clear(&self) {
        self.retire();
        let mut store = self.0.store.borrow_mut();
        for (block, spec) in self.0.blocks.iter().zip(&self.0.specs) {
            block.asked.set(false);
            spec.weights.iter().for_each(|weight| store.evict(*weight));
        }
        store.drop_spares();
        self.0.held.clear();
    }

    /// Takes over what another loader of the same weights has in memory, of blocks that go to the same home, where that `stays`; and
    /// what it knows of how far all have come. Nothing has been asked of this one yet.
    pub fn take_over(&self, other: &Loader, stays: impl Fn(Home) -> bool) {
        let blocks = self.0.blocks.iter().zip(&other.0.blocks).zip(&self.0.specs);
        for (index, ((block, before), spec)) in blocks.enumerate() {
            if before.has_come.get() {
                block.has_come.set(true);
                let loaded = before.loaded.borrow().clone();
                loaded.iter().for_each(|(file, bytes)| self.0.count(*file, *bytes));
                block.loaded.replace(loaded);
            }
            if block.home != before.home {
                continue;
            }
            block.fetches.iter().for_each(|fetch| self.0.held.take_over(&other.0.held, fetch.file, &fetch.range));
            if stays(block.home) && other.state(index) == State::Resident {
                let (mut store, mut from) = (self.0.store.borrow_mut(), other.0.store.borrow_mut());
                spec.weights.iter().for_each(|weight| store.take_over(&mut from, *weight));
                block.asked.set(true);
                before.asked.set(false);
            }
        }
    }

    /// Whether both bring the same weights in.
    pub fn is(&self, other: &Loader) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// How far a block has come.
    pub fn state(&self, block: usize) -> State {
        let Some(block) = self.0.blocks.get(block) else { return State::Absent };
        match (block.asked.get(), block.left.get()) {
            (true, 0) => State::Resident,
            (true, _) => State::Coming,
            (false, _) => State::Absent,
        }
    }

    /// Asks for a block, if nobody has yet. One that failed is asked for again.
    pub fn request(&self, index: usize) {
        let Some(block) = self.0.blocks.get(index) else { return };
        if block.asked.replace(true) {
            return;
        }
        block.failed.replace(None);
        block.attempt.set(block.attempt.get().wrapping_add(1));
        block.left.set(block.fetches.len());
        self.0.queue.borrow_mut().extend(block.fetches.iter().cloned());
        while self.0.streams.get() < STREAMS.min(self.0.queue.borrow().len()) {
            self.0.streams.set(self.0.streams.get() + 1);
            let inner = self.0.clone();
            (self.0.spawn)(Box::pin(async move { inner.work().await }));
        }
    }

    /// Asks for blocks that somebody is about to wait for: what they need goes before all else.
    pub fn request_first(&self, blocks: &[usize]) {
        blocks.iter().for_each(|block| self.request(*block));
        self.0.queue.borrow_mut().make_contiguous().sort_by_key(|fetch| !blocks.contains(&fetch.block));
    }

    /// Asks again for every block that failed for a reason that may have passed.
    pub fn resume(&self) {
        for (index, block) in self.0.blocks.iter().enumerate() {
            let failed = block.failed.borrow().as_ref().is_some_and(|error| PASSING.contains(&error.code()));
            if failed && !self.0.abort.is_aborted() && !self.0.retired.get() {
                self.request(index);
            }
        }
    }

    /// Waits until a block's own weights are where they are to be. What failed before in the background sets out again too.
    ///
    /// # Errors
    /// What stopped the load; asking again tries again.
    pub async fn ready(&self, index: usize) -> Result<()> {
        self.request(index);
        self.resume();
        // Whoever waits goes first.
        self.0.queue.borrow_mut().make_contiguous().sort_by_key(|fetch| fetch.block != index);
        self.there(index).await
    }

    /// Waits until all of these blocks' weights are where they are to be.
    ///
    /// # Errors
    /// The first that stopped the load of a block; asking again tries again.
    pub async fn all_ready(&self, blocks: &[usize]) -> Result<()> {
        blocks.iter().for_each(|block| self.request(*block));
        // No block goes before another here: that would turn the forward order round.
        try_join_all(blocks.iter().map(|block| self.there(*block))).await.map(drop)
    }

    /// Where a block's weights go.
    pub fn home(&self, block: usize) -> Home {
        self.0.blocks.get(block).map_or(Home::Gpu, |block| block.home)
    }

    /// Copies a block's weights, which are in CPU memory, to the GPU, until [`take_back`](Self::take_back).
    ///
    /// # Errors
    /// What the device says.
    pub async fn lend(&self, index: usize) -> Result<()> {
        let (Some(gpu), Some(spec)) = (&self.0.gpu, self.0.specs.get(index)) else { return Ok(()) };
        let lend = || {
            let mut store = self.0.store.borrow_mut();
            spec.weights.iter().try_for_each(|weight| store.lend(gpu, *weight))
        };
        gpu.checked(&spec.name, lend).await
    }

    /// Gives back what the GPU has of a block in CPU memory.
    pub fn take_back(&self, index: usize) {
        if let Some(spec) = self.0.specs.get(index) {
            let mut store = self.0.store.borrow_mut();
            spec.weights.iter().for_each(|weight| store.take_back(*weight));
        }
    }

    /// Gives back the memory of a block that is there; it comes again when it is asked for.
    pub fn evict(&self, index: usize) {
        if self.state(index) == State::Resident
            && let (Some(block), Some(spec)) = (self.0.blocks.get(index), self.0.specs.get(index))
        {
            block.asked.set(false);
            let mut store = self.0.store.borrow_mut();
            spec.weights.iter().for_each(|weight| store.pass(*weight));
        }
    }

    /// Gives back the buffers that wait for blocks to come.
    pub fn drop_spares(&self) {
        self.0.store.borrow_mut().drop_spares();
    }

    /// Bytes of weights that are kept in CPU memory.
    pub fn held_bytes(&self) -> u64 {
        self.0.held.bytes() + self.0.store.borrow().matrix_bytes()
    }

    async fn there(&self, index: usize) -> Result<()> {
        let Some(block) = self.0.blocks.get(index) else { return Ok(()) };
        poll_fn(|cx| {
            if let Some(error) = &*block.failed.borrow() {
                return Poll::Ready(Err(again(&self.0.specs, index, error)));
            }
            if self.0.abort.is_aborted() || self.0.retired.get() {
                let repo = self.0.files.first().map(|file| file.repo.id().to_owned()).unwrap_or_default();
                return Poll::Ready(Err(HubError::Aborted { repo }.into()));
            }
            self.0.when(block.left.get() == 0, cx).map(Ok)
        })
        .await
    }
}

/// The error of a load that several may wait for, as one of them hears it.
fn again(specs: &[BlockSpec], block: usize, error: &Rc<Error>) -> Error {
    let block = specs.get(block).map(|spec| spec.name.clone()).unwrap_or_default();
    WeightsError::Failed { block, message: error.to_string(), code: error.code() }.into()
}

impl Inner {
    fn wake(&self) {
        for waker in self.wakers.take() {
            waker.wake();
        }
    }

    /// One stream: takes requests from the queue until it is empty.
    async fn work(&self) {
        let mut way = Way { uploader: self.gpu.clone().map(Uploader::new), gatherer: Gatherer::default() };
        loop {
            let next = self.queue.borrow_mut().pop_front();
            let Some(fetch) = next else { break };
            let Some(block) = self.blocks.get(fetch.block) else { continue };
            let before = way.staging_bytes();
            let attempt = block.attempt.get();
            let result = {
                let fetching = self.fetch(&fetch, block, attempt, &mut way);
                match select(pin!(fetching), pin!(self.retirement())).await {
                    Either::Left((result, _)) => result,
                    // What it holds must be free when another loader sets out.
                    Either::Right(_) => break,
                }
            };
            self.staging.set(self.staging.get() + way.staging_bytes() - before);
            self.peak_staging.set(self.peak_staging.get().max(self.staging.get()));
            if block.attempt.get() != attempt || !block.asked.get() {
                continue;
            }
            match result {
                Ok(()) => {
                    block.left.set(block.left.get().saturating_sub(1));
                    block.has_come.set(block.has_come.get() || block.left.get() == 0);
                }
                Err(error) => self.fail(fetch.block, error),
            }
            self.wake();
        }
        self.staging.set(self.staging.get().saturating_sub(way.staging_bytes()));
        self.streams.set(self.streams.get().saturating_sub(1));
        self.wake();
    }

    /// Comes when this loader makes way for another one.
    async fn retirement(&self) {
        poll_fn(|cx| self.when(self.retired.get(), cx)).await;
    }

    /// Ready where something is so; else whoever asks is woken when it may be.
    fn when(&self, is_so: bool, cx: &Context<'_>) -> Poll<()> {
        if is_so {
            return Poll::Ready(());
        }
        let mut wakers = self.wakers.borrow_mut();
        if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Takes the block back to absent, so that it can be asked for again.
    fn fail(&self, index: usize, error: Error) {
        self.queue.borrow_mut().retain(|fetch| fetch.block != index);
        let Some(block) = self.blocks.get(index) else { return };
        block.asked.set(false);
        block.failed.replace(Some(Rc::new(error)));
        // What has come of it will come again, and counts then, if it hasn't been here yet.
        let loaded = if block.has_come.get() { BTreeMap::new() } else { block.loaded.take() };
        for (file, bytes) in loaded {
            self.loaded.set(self.loaded.get().saturating_sub(bytes));
            if let Some(file) = self.files.get(file) {
                file.loaded.set(file.loaded.get().saturating_sub(bytes));
            }
        }
        if let Some(spec) = self.specs.get(index) {
            for weight in &spec.weights {
                self.store.borrow_mut().evict(*weight);
            }
        }
    }

    async fn fetch(&self, fetch: &Fetch, block: &Block, attempt: u32, way: &mut Way) -> Result<()> {
        let current = || block.asked.get() && block.attempt.get() == attempt;
        let Some(file) = self.files.get(fetch.file) else { return Ok(()) };
        let gpu = self.gpu.as_ref().filter(|_| block.home != Home::Cpu);
        match gpu {
            Some(gpu) => {
                let allocate = || {
                    let mut store = self.store.borrow_mut();
                    fetch.extents.iter().try_for_each(|extent| store.allocate(gpu, extent.weight))
                };
                gpu.checked(&file.path, allocate).await?;
            }
            None => {
                let mut store = self.store.borrow_mut();
                fetch.extents.iter().try_for_each(|extent| store.allocate_matrix(extent.weight))?;
            }
        }
        let heard = |bytes: u64| {
            if current() {
                self.heard(fetch, block, file, bytes);
            }
        };
        let mut stream = self.stream(fetch, block, file).await?;
        let mut chunks = Chunks::new(&mut stream, &file.path);
        for extent in &fetch.extents {
            match way.uploader.as_mut().filter(|_| gpu.is_some()) {
                Some(uploader) => {
                    let (layout, buffers) = {
                        let store = self.store.borrow();
                        (store.layout(extent.weight).cloned(), store.buffers(extent.weight).to_vec())
                    };
                    // A block that failed in another stream has given its buffers back.
                    let layout = layout.filter(|layout| layout.parts.len() == buffers.len());
                    let Some(layout) = layout else { return Ok(()) };
                    uploader.upload(&mut chunks, extent, &layout, &buffers, &self.casts, &heard).await?;
                }
                None => way.gatherer.gather(&mut chunks, extent, &self.store, &heard).await?,
            }
            if !current() {
                return Ok(());
            }
            self.store.borrow_mut().arrived(extent.weight, extent.elements());
        }
        if let Some(chunks) = stream.passed {
            self.held.keep(fetch.file, &fetch.range, chunks);
        }
        if let Some(gpu) = gpu {
            // Don't let what waits in the device's queue pile up faster than it is worked off.
            gpu.idle().await?;
        }
        Ok(())
    }

    /// A range's bytes: from CPU memory, or from where the file is.
    async fn stream(&self, fetch: &Fetch, block: &Block, file: &File) -> Result<Recording> {
        if let Some(stream) = self.held.open(fetch.file, &fetch.range) {
            return Ok(Recording { stream, passed: None });
        }
        let is_held = block.home == Home::Held;
        let stream = file.repo.open(&file.path, fetch.range.clone()).await?;
        Ok(Recording { stream, passed: is_held.then(Vec::new) })
    }

    /// Counts bytes of a file as come.
    fn count(&self, file: usize, bytes: u64) {
        self.loaded.set(self.loaded.get() + bytes);
        if let Some(file) = self.files.get(file) {
            file.loaded.set(file.loaded.get() + bytes);
        }
    }

    fn heard(&self, fetch: &Fetch, block: &Block, file: &File, bytes: u64) {
        if block.has_come.get() {
            return;
        }
        *block.loaded.borrow_mut().entry(fetch.file).or_default() += bytes;
        self.count(fetch.file, bytes);
        if let Some(progress) = &self.progress {
            progress(Progress {
                file: file.path.clone(),
                file_loaded: file.loaded.get(),
                file_total: file.total,
                loaded: self.loaded.get(),
                total: self.total,
            });
        }
    }
}
