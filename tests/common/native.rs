//! What native tests of whole models share.
// Each test binary uses a part of it.
#![allow(dead_code)]

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;

use futures_executor::LocalPool;
use futures_util::future::LocalBoxFuture;
use futures_util::task::LocalSpawnExt;
use layerline::checkpoint::CatalogOptions;
use layerline::config::{GenerationConfig, ModelConfig};
use layerline::engine::{Engine, Inputs, LoadOptions, More, Placement, WeightDtype, WeightsSource};
use layerline::generation::GenerateOptions;
use layerline::hub::{Abort, ByteStream, DirectoryRepo, HubError, Prefix, Repo};
use layerline::models::{Family, Task};
use layerline::placement::MaxMemory;
use layerline::tensor::gpu::device::GpuOptions;
use layerline::weights::loader::Spawn;
use serde_json::{Map, Value};

/// How far logits may be from torch's float32, in units of how far torch's own float16 was when the goldens were made.
///
/// Both errors are rounding noise of the same size (weights and cache in float16) through a network that amplifies it, so
/// their largest values are two draws of one distribution: torch's own draw moved by a third from one machine to another.
pub const TOLERANCE: f64 = 2.0;

/// Runs `test` with options that run other futures beside it.
pub fn run<F: Future<Output = ()>>(test: impl FnOnce(LoadOptions) -> F) {
    let mut pool = LocalPool::new();
    let spawner = pool.spawner();
    let spawn: Spawn = Rc::new(move |future| spawner.spawn_local(future).unwrap());
    pool.run_until(test(options(spawn)));
}

/// A folder that notes how many bytes it was asked for by range, and tells of each time.
pub struct Watched {
    repo: Rc<DirectoryRepo>,
    /// Bytes so far.
    pub asked: Cell<u64>,
    /// Told of each range.
    pub on_open: RefCell<Box<dyn FnMut()>>,
}

impl Watched {
    /// Nothing has been asked for yet.
    pub fn new(repo: Rc<DirectoryRepo>) -> Watched {
        Watched { repo, asked: Cell::new(0), on_open: RefCell::new(Box::new(|| {})) }
    }
}

impl Repo for Watched {
    fn id(&self) -> &str {
        self.repo.id()
    }

    fn read<'a>(&'a self, path: &'a str, max_bytes: u64) -> LocalBoxFuture<'a, Result<Vec<u8>, HubError>> {
        self.repo.read(path, max_bytes)
    }

    fn read_prefix<'a>(&'a self, path: &'a str, max_bytes: u64) -> LocalBoxFuture<'a, Result<Prefix, HubError>> {
        self.repo.read_prefix(path, max_bytes)
    }

    fn open<'a>(
        &'a self,
        path: &'a str,
        range: Range<u64>,
    ) -> LocalBoxFuture<'a, Result<Box<dyn ByteStream>, HubError>> {
        self.asked.set(self.asked.get() + range.end - range.start);
        (self.on_open.borrow_mut())();
        self.repo.open(path, range)
    }
}

/// How a user who says nothing loads a causal language model.
pub fn options(spawn: Spawn) -> LoadOptions {
    LoadOptions {
        task: Task::CausalLm,
        registered: Vec::new(),
        weights: WeightsSource::Checkpoint(CatalogOptions::default()),
        ignore_mismatched_sizes: false,
        seed: 0,
        dtype: WeightDtype::Half,
        rounding: None,
        prefetch: true,
        placement: Placement::default(),
        gpu: GpuOptions::default(),
        spawn,
        hire: None,
        progress: None,
        abort: Abort::new(),
    }
}

/// Halves of two to a word, in bindings so small that weights are split.
pub fn in_small_bindings(options: &mut LoadOptions) {
    options.gpu.without_f16 = true;
    options.gpu.max_binding = Some(24_000);
    options.dtype = WeightDtype::Float16;
}

/// A repo's model.
pub async fn load(repo: Rc<dyn Repo>, options: LoadOptions) -> layerline::Result<Engine> {
    load_with(repo, Map::new(), options).await
}

/// A repo's model, with some of its config's keys replaced.
pub async fn load_with(
    repo: Rc<dyn Repo>,
    overrides: Map<String, Value>,
    options: LoadOptions,
) -> layerline::Result<Engine> {
    let config = ModelConfig::open(&*repo).await?;
    let config = config.with_overrides(overrides, &Family::of(&config)?.config_keys())?;
    let generation = GenerationConfig::open(&*repo, &config).await?;
    Engine::load(repo, &config, generation, options).await
}

/// A checkpoint of the goldens: those in `tiny` write texts, the others give hidden states.
pub async fn open(name: &str, mut options: LoadOptions) -> Engine {
    options.task = if name.starts_with("tiny") { Task::CausalLm } else { Task::Base };
    let folder = format!("{}/tests/goldens/{name}", env!("CARGO_MANIFEST_DIR"));
    load(Rc::new(DirectoryRepo::new(folder)), options).await.unwrap()
}

/// Runs `test` on each case of a golden, with options that `with` has changed.
pub fn run_cases<F: Future<Output = ()>>(
    path: &str,
    with: impl Fn(&mut LoadOptions),
    test: impl Fn(Value, LoadOptions) -> F,
) {
    for case in golden(path)["cases"].as_array().unwrap() {
        run(|mut options| {
            with(&mut options);
            test(case.clone(), options)
        });
    }
}

/// The same where some layers are on the GPU, one in CPU memory, and some on disk.
pub fn run_cases_shared_out<F: Future<Output = ()>>(path: &str, test: impl Fn(Value, LoadOptions) -> F) {
    for case in golden(path)["cases"].as_array().unwrap() {
        run(|mut options| {
            let test = &test;
            async move {
                let name = case["name"].as_str().unwrap();
                let whole = open(name, self::options(options.spawn.clone())).await;
                // What the GPU has beside weights, whatever is asked of it.
                let (ids, more) = (ids(&case["input_ids"]), More { hidden_states: true, attentions: true });
                whole.forward(Inputs { ids: &ids, more, ..Inputs::default() }, &Abort::new()).await.unwrap();
                let (all, kept) = (whole.weight_bytes(), whole.kept_bytes());
                let max_memory = MaxMemory { gpu: Some(all * 70 / 100 + kept), cpu: Some(all * 20 / 100) };
                options.placement.max_memory = Some(max_memory);
                test(case.clone(), options).await;
            }
        });
    }
}

/// A golden of tests/goldens.
pub fn golden(path: &str) -> Value {
    let text = std::fs::read(format!("{}/tests/goldens/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// So many new tokens, each the likeliest.
pub fn greedy(count: usize) -> GenerateOptions {
    GenerateOptions { max_new_tokens: Some(count), do_sample: Some(false), ..Default::default() }
}

/// Token ids of a golden.
pub fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// What a model gives for each token: logits, or hidden states where it has no head.
pub async fn forward(engine: &Engine, ids: &[u32], abort: &Abort) -> layerline::Result<Vec<f32>> {
    Ok(engine.forward(Inputs { ids, ..Inputs::default() }, abort).await?.main())
}

/// The GPU never had more than the weights and what is kept beside them.
pub fn keeps_its_room(engine: &Engine, what: &str) {
    if let Some(gpu) = engine.gpu() {
        let (peak, weights, kept) = (gpu.usages().peak_bytes(), engine.weight_bytes(), engine.kept_bytes());
        assert!(peak <= weights + kept, "{what}: {peak} bytes of {weights} and {kept}");
    }
}

/// Windows of three frames of a spectrogram, `[frames][channels][3]`: what the encoder's first convolution reads.
fn windows(spectrogram: &Value) -> Vec<f32> {
    let channels: Vec<Vec<f32>> = serde_json::from_value(spectrogram.clone()).unwrap();
    layerline::models::windows(&channels.concat(), channels.len()).unwrap()
}

/// What the encoder reads of a golden's input.
pub fn source(input: &Value) -> (Vec<u32>, Vec<f32>) {
    let features = input.get("input_features").map(windows).unwrap_or_default();
    (input.get("input_ids").map(ids).unwrap_or_default(), features)
}
