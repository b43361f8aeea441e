//! Weights that are integers: those that are rounded as they come, against what quanto makes of the same checkpoints, and those of
//! checkpoints that are quantised (`tests/engine.rs` has their tokens).
#![cfg(all(feature = "engine", not(target_arch = "wasm32")))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "common/native.rs"]
mod native;

use std::cell::RefCell;
use std::rc::Rc;

use layerline::checkpoint::{Catalog, CatalogOptions};
use layerline::engine::{BlockState, Engine, LoadOptions};
use layerline::hub::{Abort, DirectoryRepo, MemoryRepo, Repo};
use layerline::placement::{Device, DeviceMap, MaxMemory};
use layerline::tensor::Integers;
use layerline::tensor::cpu::Crew;
use layerline::weights::keys::LoadingInfo;
use layerline::weights::round::Rounding;
use native::{TOLERANCE, golden, ids, load, run};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::Value;

fn integers(name: &str) -> Integers {
    if name == "int4" { Integers::Int4 } else { Integers::Int8 }
}

fn rounding(integers: Integers) -> Option<Rounding> {
    Some(Rounding { integers, modules_to_not_convert: Vec::new() })
}

fn folder(name: &str) -> String {
    format!("{}/tests/goldens/tiny/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn repo(name: &str) -> Rc<dyn Repo> {
    Rc::new(DirectoryRepo::new(folder(name)))
}

async fn open(name: &str, options: LoadOptions) -> Engine {
    load(repo(name), options).await.unwrap()
}

/// The last token's logits are quanto's, within the tolerance.
async fn equals_quanto(case: &Value, options: LoadOptions) {
    let (name, input) = (case["model"].as_str().unwrap(), &case["input"]);
    let dense = golden(&format!("tiny/{name}/golden.json"));
    let given = dense["inputs"].as_array().unwrap().iter().find(|given| given["name"] == *input).unwrap();
    let limit = TOLERANCE * given["f16_error"]["max_abs"].as_f64().unwrap();
    assert!(case["rounding"].as_f64().unwrap() > 2.0 * limit, "{name}: rounding would not show");
    let engine = open(name, options).await;
    let logits = native::forward(&engine, &ids(&given["input_ids"]), &Abort::new()).await.unwrap();
    let vocab = engine.shape().vocab_size;
    let expected = case["logits"].as_array().unwrap();
    assert_eq!(expected.len(), vocab);
    for (found, expected) in logits[logits.len() - vocab..].iter().zip(expected) {
        let off = (f64::from(*found) - expected.as_f64().unwrap()).abs();
        assert!(off <= limit, "{name} {} {input}: a logit is {off} off; {limit} is allowed", case["weights"]);
    }
}

/// Does it with each case of the goldens, the weights rounded as quanto rounds them.
fn each(with: impl Fn(&mut LoadOptions)) {
    for case in golden("rounded.json")["tiny"].as_array().unwrap() {
        run(|mut options| {
            options.rounding = rounding(integers(case["weights"].as_str().unwrap()));
            with(&mut options);
            async move { equals_quanto(case, options).await }
        });
    }
}

#[test]
fn on_the_gpu_they_equal_quantos() {
    each(|_| {});
}

#[test]
fn split_over_bindings_they_equal_quantos() {
    each(native::in_small_bindings);
}

#[test]
fn on_the_cpu_they_equal_quantos() {
    each(|options| options.placement.device_map = Some(DeviceMap::all(Device::Cpu)));
}

#[test]
fn over_threads_they_equal_quantos() {
    each(|options| {
        options.placement.device_map = Some(DeviceMap::all(Device::Cpu));
        options.hire = Some(Rc::new(|| Box::pin(async { Some(Rc::new(Crew::of_threads(2, 0).unwrap())) })));
    });
}

#[test]
fn held_for_the_gpu_they_equal_quantos() {
    each(|options| {
        options.placement.device_map = Some(DeviceMap::all(Device::Cpu));
        options.placement.execution_device = Some(Device::Gpu);
    });
}

#[test]
fn on_disk_they_equal_quantos() {
    each(|options| options.placement.device_map = Some(DeviceMap::all(Device::Disk)));
}

/// What a tiny checkpoint takes that is loaded so, once all of it is there.
struct Taken {
    blocks: Vec<BlockState>,
    all: u64,
}

impl Taken {
    fn of(name: &str, with: impl Fn(&mut LoadOptions)) -> Taken {
        let taken = RefCell::new(None);
        run(|mut options| {
            with(&mut options);
            async {
                let engine = open(name, options).await;
                engine.ready().await.unwrap();
                let all = engine.weight_bytes() + engine.kept_bytes();
                taken.replace(Some(Taken { blocks: engine.blocks(), all }));
            }
        });
        taken.into_inner().unwrap()
    }

    fn block(&self, name: &str) -> &BlockState {
        self.blocks.iter().find(|block| block.name == name).unwrap()
    }
}

#[test]
fn they_take_the_bytes_of_integers_wherever_they_are() {
    for device in [Device::Gpu, Device::Cpu] {
        let map = DeviceMap::all(device);
        let of = |wanted: Option<Rounding>| {
            Taken::of("llama-bf16-bias", |options| {
                options.rounding = wanted.clone();
                options.placement.device_map = Some(map.clone());
            })
        };
        let dense = of(None).block("model.layers.0").bytes;
        for (integers, most) in [(Integers::Int8, 0.65), (Integers::Int4, 0.45)] {
            let taken = of(rounding(integers));
            let layer = taken.block("model.layers.0");
            assert!(layer.bytes as f64 <= dense as f64 * most, "{} of {dense}", layer.bytes);
            assert_eq!(layer.resident_bytes, layer.bytes);
        }
    }
}

/// A share of the GPU that floats don't fit in has room for all of the integers.
#[test]
fn a_share_of_the_gpu_is_of_what_they_take() {
    let share = Taken::of("llama-yarn", |options| options.rounding = rounding(Integers::Int4)).all;
    let within = |wanted: Option<Rounding>| {
        Taken::of("llama-yarn", |options| {
            options.rounding = wanted.clone();
            options.placement.max_memory = Some(MaxMemory { gpu: Some(share), cpu: Some(u64::MAX) });
        })
    };
    assert!(within(rounding(Integers::Int4)).blocks.iter().all(|block| block.device == Device::Gpu));
    assert!(within(None).blocks.iter().any(|block| block.device == Device::Cpu));
}

#[test]
fn modules_that_are_named_stay_floats() {
    let of = |named: &[&str]| {
        let modules_to_not_convert: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
        Taken::of("llama-bf16-bias", |options| {
            let modules_to_not_convert = modules_to_not_convert.clone();
            options.rounding = Some(Rounding { integers: Integers::Int8, modules_to_not_convert });
        })
    };
    let (some, all) = (of(&["self_attn.o_proj", "layers.1"]), of(&[]));
    let bytes = |taken: &Taken, layer: usize| taken.block(&format!("model.layers.{layer}")).bytes;
    // One projection of 64 by 64 takes two bytes an element in the place of one and a scale.
    assert_eq!(bytes(&some, 0) - bytes(&all, 0), 64 * (2 * 64 - (64 + 16)));
    assert!(bytes(&some, 1) > bytes(&some, 0));
}

#[test]
fn what_is_quantised_already_is_not_rounded_again() {
    run(|mut options| async move {
        options.rounding = rounding(Integers::Int8);
        let error = load(repo("llama-int4"), options).await.err().unwrap();
        assert_eq!(error.code(), "UNSUPPORTED_CONFIG");
        assert!(error.to_string().contains("leave out what would round it again"), "{error}");
    });
}

/// A layer's tensors are one weight, which the model has.
#[test]
fn checkpoints_that_are_quantised_lack_nothing_and_have_nothing_too_many() {
    for name in ["llama-int4", "qwen2-int8", "qwen3-int4-zeros", "llama-gptq4", "qwen2-gptq4-zeros", "qwen2-awq"] {
        run(|options| async move {
            let engine = open(name, options).await;
            assert_eq!(engine.loading_info(), &LoadingInfo::default(), "{name}");
        });
    }
}

#[test]
fn they_can_be_given_to_a_model_that_is_there() {
    run(|options| async move {
        let repo = repo("llama-int4");
        let engine = load(repo.clone(), options).await.unwrap();
        let before = native::forward(&engine, &[5, 6, 7], &Abort::new()).await.unwrap();
        let catalog = Catalog::open(&*repo, &CatalogOptions::default()).await.unwrap();
        let found = engine.load_weights(repo.clone(), catalog, true).await.unwrap_err();
        // The head is tied, and so not in it; all else is.
        assert_eq!(found.code(), "INCOMPATIBLE_KEYS");
        assert!(found.to_string().ends_with("missing key(s): lm_head.weight"), "{found}");
        let catalog = Catalog::open(&*repo, &CatalogOptions::default()).await.unwrap();
        engine.load_weights(repo, catalog, false).await.unwrap();
        assert_eq!(native::forward(&engine, &[5, 6, 7], &Abort::new()).await.unwrap(), before);
    });
}

/// A checkpoint of which one projection is not as those that it is computed with.
#[test]
fn projections_that_are_computed_together_must_be_quantised_alike() {
    let folder = folder("llama-int4");
    let file = std::fs::read(format!("{folder}/model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let zeros = vec![0; 32 * 96 * 2];
    let k_proj = "model.layers.0.self_attn.k_proj";
    let mut views = tensors.tensors();
    views.retain(|(name, _)| !name.starts_with(k_proj));
    views.push((format!("{k_proj}.weight"), TensorView::new(safetensors::Dtype::BF16, vec![32, 96], &zeros).unwrap()));
    let mut repo = MemoryRepo::new("a/b");
    repo.insert("model.safetensors", safetensors::serialize(views, None).unwrap());
    repo.insert("config.json", std::fs::read(format!("{folder}/config.json")).unwrap());
    run(|options| async move {
        let error = load(Rc::new(repo), options).await.err().unwrap();
        assert_eq!(error.code(), "UNSUPPORTED_QUANTIZATION");
        assert!(error.to_string().contains(&format!("{k_proj}.weight is not quantised as")), "{error}");
    });
}
