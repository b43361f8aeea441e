//! The whole path natively: a checkpoint's files → weights on lavapipe → the logits and ids that torch gives.
#![cfg(all(feature = "engine", not(target_arch = "wasm32")))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "common/native.rs"]
mod native;

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use layerline::config::{GenerationConfig, ModelConfig};
use layerline::engine::{Engine, LoadOptions, WeightDtype};
use layerline::generation::{GenerateOptions, Prompt};
use layerline::hub::{Abort, DirectoryRepo, MemoryRepo};
use layerline::models::Registered;
use layerline::placement::{Device, DeviceMap};
use layerline::weights::store::State;
use native::{TOLERANCE, golden, greedy, ids, load, run};
use serde_json::{Value, json};

/// Every one that there is.
const TINY: [&str; 55] = [
    "arcee",
    "cohere",
    "cohere2",
    "ernie4_5",
    "exaone4",
    "gemma",
    "gemma2",
    "gemma3",
    "gemma3-images",
    "glm",
    "glm4",
    "gpt2",
    "gpt2-relu",
    "gpt_neo",
    "gpt_neox",
    "gpt_neox-sequential",
    "granite",
    "granitemoehybrid",
    "granitemoehybrid-nope",
    "helium",
    "lfm2",
    "lfm2-bias",
    "llama-bf16-bias",
    "llama-dynamic",
    "llama-f16",
    "llama-f32",
    "llama-gptq4",
    "llama-int4",
    "llama-wide",
    "llama-yarn",
    "mistral",
    "mixtral",
    "olmo2",
    "olmo3",
    "olmoe",
    "opt",
    "opt-behind",
    "phi",
    "phi3",
    "phi3-partial",
    "qwen2",
    "qwen2-awq",
    "qwen2-gptq4-zeros",
    "qwen2-int8",
    "qwen2-windows",
    "qwen3",
    "qwen3-gptq8-zeros",
    "qwen3-int4-zeros",
    "qwen3_moe",
    "qwen3_moe-plain",
    "seed_oss",
    "smollm3",
    "stablelm",
    "stablelm-parallel",
    "starcoder2",
];

fn folder(name: &str) -> String {
    format!("{}/tests/goldens/tiny/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Logits within the tolerance of torch's float32, and the same greedy ids.
async fn equals_torch(name: &str, options: LoadOptions) {
    let engine = load(Rc::new(DirectoryRepo::new(folder(name))), options).await.unwrap();
    engine_equals_torch(name, &engine).await;
}

async fn engine_equals_torch(name: &str, engine: &Engine) {
    let golden = golden(&format!("tiny/{name}/golden.json"));
    let vocab = engine.shape().vocab_size;
    for input in golden["inputs"].as_array().unwrap() {
        let prompt = ids(&input["input_ids"]);
        let logits = native::forward(engine, &prompt, &Abort::new()).await.unwrap();
        assert_eq!(logits.len(), prompt.len() * vocab);
        let limit = TOLERANCE * input["f16_error"]["max_abs"].as_f64().unwrap();
        let rows = input["positions"].as_array().unwrap().iter().zip(input["logits"].as_array().unwrap());
        for (position, expected) in rows {
            let at = position.as_u64().unwrap() as usize * vocab;
            for (found, expected) in logits[at..at + vocab].iter().zip(expected.as_array().unwrap()) {
                let off = (f64::from(*found) - expected.as_f64().unwrap()).abs();
                assert!(off <= limit, "{name}: a logit is {off} off; {limit} is allowed");
            }
        }
        let expected = ids(&input["greedy"]);
        let seen = RefCell::new(Vec::new());
        let mut on_token = |id| {
            seen.borrow_mut().push(id);
            true
        };
        let new = engine.generate(&prompt, &greedy(expected.len()), &mut on_token, &Abort::new()).await.unwrap();
        assert_eq!(new, expected, "{name}");
        assert_eq!(*seen.borrow(), expected, "{name}: streamed");
    }
}

#[test]
fn tiny_checkpoints_equal_torch() {
    for name in TINY {
        run(|options| equals_torch(name, options));
    }
}

/// Qwen3 and OLMo 2 as a caller describes them who has Llama alone, and GPT-NeoX with other words, all under a `model_type` that
/// nobody has heard of.
#[test]
fn architectures_that_a_caller_describes_equal_torch() {
    for (name, described) in [
        ("qwen3", json!({"like": "llama", "names": {"qk_norm": ["self_attn.q_norm", "self_attn.k_norm"]}})),
        (
            "olmo2",
            json!({
                "like": "llama",
                "config_keys": {"hidden_size": "width", "num_hidden_layers": "depth"},
                "description": {"qk_norm_over_all": true, "mlp_bias": false},
                "names": {
                    "input_norm": null,
                    "output_norm": "post_attention_layernorm",
                    "mlp_norm": null,
                    "down_norm": "post_feedforward_layernorm",
                    "qk_norm": ["self_attn.q_norm", "self_attn.k_norm"],
                },
            }),
        ),
        (
            "gpt_neox-sequential",
            json!({
                "like": "gpt_neox",
                "config_keys": {"use_parallel_residual": "beside"},
                "description": {"parallel": false, "scale": 0.204_124_15, "embedding_scale": "initial", "logit_scale": 1},
                "names": {"qkv": "attention.query_key_value", "gate_up": ["mlp.dense_h_to_4h"], "head": "embed_out"},
            }),
        ),
    ] {
        run(|mut options| async move {
            let mut registered: Registered = serde_json::from_value(described).unwrap();
            registered.model_type = "mine".to_owned();
            let mut config = golden(&format!("tiny/{name}/config.json"));
            let object = config.as_object_mut().unwrap();
            object.insert("model_type".to_owned(), "mine".into());
            object.insert("initial".to_owned(), 1.into());
            for (key, own) in &registered.config_keys {
                let value = object.remove(key).unwrap();
                object.insert(own.clone(), value);
            }
            options.registered = vec![Registered::default(), registered];
            let config = ModelConfig::from_json("config.json", config.to_string().as_bytes()).unwrap();
            let repo = Rc::new(DirectoryRepo::new(folder(name)));
            let generation = GenerationConfig::open(&*repo, &config).await.unwrap();
            let engine = Engine::load(repo, &config, generation, options).await.unwrap();
            engine_equals_torch(name, &engine).await;
        });
    }
}

/// A conversation: each text begins as the one before it went on. What has been read is not read again, and what is written is
/// what a model writes that reads all of it, also where the caches have grown in between.
async fn converse(name: &str, options: impl Fn() -> LoadOptions, goes_on: bool) {
    let open = || async { load(Rc::new(DirectoryRepo::new(folder(name))), options()).await.unwrap() };
    let (engine, count) = (open().await, 12);
    let mut text: Vec<u32> = (0..20).map(|i| 3 + i * 7 % 89).collect();
    let mut read = 0;
    for turn in 0..3 {
        let before = engine.timings().prefilled.get() as usize;
        let new = engine.generate(&text, &greedy(count), &mut |_| true, &Abort::new()).await.unwrap();
        let other = open().await.generate(&text, &greedy(count), &mut |_| true, &Abort::new()).await.unwrap();
        assert_eq!(new, other, "{name}, turn {turn}");
        let expected = if goes_on { text.len() - read } else { text.len() };
        assert_eq!(engine.timings().prefilled.get() as usize - before, expected, "{name}, turn {turn}");
        // The last token was written and not read.
        read = text.len() + new.len() - 1;
        text.extend(new);
        text.extend((0..130).map(|i| 3 + (i + turn) * 11 % 89));
    }
    // The same text again: its last token alone runs. Another text: what both begin with.
    for (other, same) in [(text.clone(), read), (text.clone(), text.len() - 1), ([&text[..9], &[5, 6]].concat(), 9)] {
        let before = engine.timings().prefilled.get() as usize;
        let logits = engine.next_logits(Prompt::of(&other), &Abort::new()).await.unwrap();
        let alone = open().await.next_logits(Prompt::of(&other), &Abort::new()).await.unwrap();
        let off = logits.iter().zip(&alone).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 0.02, "{name}: {off}");
        let expected = other.len() - if goes_on { same } else { 0 };
        assert_eq!(engine.timings().prefilled.get() as usize - before, expected, "{name}");
    }
    // A pass for the output of all tokens can be gone on from too.
    native::forward(&engine, &text[..5], &Abort::new()).await.unwrap();
    let before = engine.timings().prefilled.get() as usize;
    engine.next_logits(Prompt::of(&text[..7]), &Abort::new()).await.unwrap();
    assert_eq!(engine.timings().prefilled.get() as usize - before, 2, "{name}");
}

#[test]
fn a_text_goes_on_from_what_has_been_read() {
    // Of the last one the angles of a long text are others in all places.
    for (name, goes_on) in [("llama-f32", true), ("gemma2", true), ("qwen3_moe", true), ("llama-dynamic", false)] {
        run(|options| async move {
            converse(name, || native::options(options.spawn.clone()), goes_on).await;
        });
    }
}

/// Who gives up and goes on later finds what has been read and written by then.
#[test]
fn a_text_that_was_given_up_goes_on_too() {
    for device in [None, Some(Device::Cpu)] {
        run(|mut options| async move {
            options.placement.device_map = device.map(DeviceMap::all);
            let engine = load(Rc::new(DirectoryRepo::new(folder("qwen3"))), options).await.unwrap();
            let prompt: Vec<u32> = (0..40).map(|i| 3 + i * 7 % 89).collect();
            let whole = engine.generate(&prompt, &greedy(12), &mut |_| true, &Abort::new()).await.unwrap();
            // Another text, so that nothing is left of it.
            engine.generate(&[5], &greedy(1), &mut |_| true, &Abort::new()).await.unwrap();
            let (abort, seen) = (Abort::new(), RefCell::new(Vec::new()));
            let mut on_token = |id| {
                seen.borrow_mut().push(id);
                if seen.borrow().len() == 5 {
                    abort.abort();
                }
                true
            };
            let error = engine.generate(&prompt, &greedy(12), &mut on_token, &abort).await.unwrap_err();
            assert_eq!(error.code(), "ABORTED");
            let text = [prompt.as_slice(), &seen.borrow()].concat();
            let before = engine.timings().prefilled.get();
            let rest = engine.generate(&text, &greedy(7), &mut |_| true, &Abort::new()).await.unwrap();
            assert_eq!([seen.borrow().as_slice(), &rest].concat(), whole);
            assert_eq!(engine.timings().prefilled.get() - before, 1);
        });
    }
}

#[test]
fn a_text_goes_on_from_what_has_been_read_on_the_cpu() {
    run(|options| async move {
        let on_cpu = || {
            let mut own = native::options(options.spawn.clone());
            own.placement.device_map = Some(DeviceMap::all(Device::Cpu));
            own
        };
        converse("llama-f16", on_cpu, true).await;
    });
}

#[test]
fn packed_halves_equal_torch() {
    for name in TINY {
        run(|mut options| {
            options.gpu.without_f16 = true;
            options.dtype = WeightDtype::Float16;
            equals_torch(name, options)
        });
    }
}

#[test]
fn weights_split_over_bindings_equal_torch() {
    for name in TINY {
        run(|mut options| {
            options.gpu.max_binding = Some(16_384);
            equals_torch(name, options)
        });
    }
}

#[test]
fn weights_as_the_checkpoint_has_them_equal_torch() {
    for name in TINY {
        run(|mut options| {
            options.dtype = WeightDtype::Auto;
            equals_torch(name, options)
        });
    }
}

#[test]
fn the_cpu_alone_equals_torch() {
    for name in TINY {
        for (device, dtype) in
            [(Device::Cpu, WeightDtype::Half), (Device::Cpu, WeightDtype::Auto), (Device::Disk, WeightDtype::Half)]
        {
            run(|mut options| {
                options.dtype = dtype;
                options.placement.device_map = Some(DeviceMap::all(device));
                equals_torch(name, options)
            });
        }
    }
}

#[test]
fn the_cpu_alone_has_all_weights_in_its_memory_and_no_gpu() {
    run(|mut options| async move {
        options.placement.device_map = Some(DeviceMap::all(Device::Cpu));
        let engine = load(Rc::new(DirectoryRepo::new(folder("llama-bf16-bias"))), options).await.unwrap();
        assert!(engine.gpu().is_none());
        engine.ready().await.unwrap();
        let resident: u64 = engine.blocks().iter().map(|block| block.resident_bytes).sum();
        assert_eq!(resident, engine.weight_bytes());
        // Rows are padded.
        let held = engine.loader().held_bytes();
        assert!((resident..resident * 11 / 10).contains(&held), "{held} for {resident}");
    });
}

#[test]
fn without_prefetch_a_block_comes_when_an_input_reaches_it() {
    run(|options| async move {
        let repo = Rc::new(DirectoryRepo::new(folder("llama-f32")));
        let engine = load(repo, LoadOptions { prefetch: false, ..options }).await.unwrap();
        assert!(engine.blocks().iter().all(|block| block.state == State::Absent && block.resident_bytes == 0));
        assert_eq!(engine.loader().loaded(), 0);
        engine.generate(&[1, 2, 3], &greedy(1), &mut |_| true, &Abort::new()).await.unwrap();
        assert!(engine.blocks().iter().all(|block| block.state == State::Resident));
        assert_eq!(engine.loader().loaded(), engine.loader().total());
    });
}

#[test]
fn a_disposed_engine_gives_its_memory_back_and_says_so() {
    run(|options| async move {
        let engine = load(Rc::new(DirectoryRepo::new(folder("llama-f32"))), options).await.unwrap();
        engine.ready().await.unwrap();
        let usages = engine.gpu().unwrap().usages().clone();
        assert!(usages.bytes() > engine.weight_bytes());
        engine.dispose();
        let error = native::forward(&engine, &[1], &Abort::new()).await.unwrap_err();
        assert_eq!(error.code(), "DISPOSED");
        drop(engine);
        assert_eq!((usages.bytes(), usages.buffers()), (0, 0));
    });
}

#[test]
fn ids_that_the_model_does_not_know_are_refused_and_it_goes_on() {
    run(|options| async move {
        let engine = load(Rc::new(DirectoryRepo::new(folder("llama-f32"))), options).await.unwrap();
        for bad in [vec![], vec![131], vec![1, u32::MAX]] {
            let error = engine.generate(&bad, &greedy(1), &mut |_| true, &Abort::new()).await.unwrap_err();
            assert_eq!(error.code(), "INPUT_IDS", "{error}");
            let error = native::forward(&engine, &bad, &Abort::new()).await.unwrap_err();
            assert_eq!(error.code(), "INPUT_IDS", "{error}");
        }
        assert_eq!(native::forward(&engine, &[1, 2], &Abort::new()).await.unwrap().len(), 2 * 131);
    });
}

#[test]
fn generation_stops_when_told_and_when_aborted() {
    run(|options| async move {
        let engine = load(Rc::new(DirectoryRepo::new(folder("llama-f32"))), options).await.unwrap();
        let mut left = 3;
        let mut three = |_| {
            left -= 1;
            left > 0
        };
        let new = engine.generate(&[1, 2], &greedy(50), &mut three, &Abort::new()).await.unwrap();
        assert_eq!(new.len(), 3);
        let abort = Abort::new();
        let mut aborting = |_| {
            abort.abort();
            true
        };
        let error = engine.generate(&[1, 2], &greedy(50), &mut aborting, &abort).await.unwrap_err();
        assert_eq!(error.code(), "ABORTED");
        let again = engine.generate(&[1, 2], &greedy(3), &mut |_| true, &Abort::new()).await.unwrap();
        assert_eq!(again, new);
    });
}

#[test]
fn a_decoded_token_is_few_dispatches_and_makes_nothing_new_on_the_device() {
    run(|options| async move {
        let engine = load(Rc::new(DirectoryRepo::new(folder("llama-f32"))), options).await.unwrap();
        let layers = engine.blocks().len() - 2;
        let mut counts = Vec::new();
        let usages = engine.gpu().unwrap().usages().clone();
        let mut count = |_| {
            counts.push(usages.buffers());
            true
        };
        engine.generate(&[1, 2, 3], &greedy(40), &mut count, &Abort::new()).await.unwrap();
        assert!(counts.iter().all(|buffers| *buffers == counts[0]), "{counts:?}");
        let dispatches = engine.timings().dispatches.get() as usize;
        assert!(dispatches <= 6 * layers + 5, "{dispatches} dispatches for {layers} layers");
    });
}

/// On a software device, which doesn't share one token's attention out and normalises queries and keys apart from it.
#[test]
fn what_a_family_does_not_need_costs_it_no_dispatch() {
    for (name, a_layer, beside) in [
        ("llama-bf16-bias", 5, 5),
        ("mistral", 5, 5),
        ("phi3-partial", 5, 5),
        ("qwen3", 6, 5),
        ("smollm3", 5, 5),
        ("olmo2", 8, 5),
        ("gemma2", 7, 6),
        ("gemma3", 8, 5),
        ("gpt2", 7, 6),
        ("gpt_neox", 7, 5),
    ] {
        run(|options| async move {
            let engine = load(Rc::new(DirectoryRepo::new(folder(name))), options).await.unwrap();
            engine.generate(&[1, 2, 3], &greedy(2), &mut |_| true, &Abort::new()).await.unwrap();
            let dispatches = engine.timings().dispatches.get() as usize;
            assert_eq!(dispatches, a_layer * (engine.blocks().len() - 2) + beside, "{name}");
        });
    }
}

/// GPT-2 has learned 96 positions here: what goes on beyond them is an error, what ends before is not.
#[test]
fn no_text_goes_beyond_the_positions_that_were_learned() {
    for device in [Device::Gpu, Device::Cpu] {
        run(|mut options| async move {
            options.placement.device_map = Some(DeviceMap::all(device));
            let engine = load(Rc::new(DirectoryRepo::new(folder("gpt2"))), options).await.unwrap();
            let ids: Vec<u32> = (1..=96).collect();
            assert_eq!(native::forward(&engine, &ids, &Abort::new()).await.unwrap().len(), 96 * 131);
            let too_many: Vec<u32> = (1..=97).collect();
            let error = native::forward(&engine, &too_many, &Abort::new()).await.unwrap_err();
            assert_eq!(error.code(), "CONTEXT_LENGTH");
            assert!(error.to_string().starts_with("97 tokens are more than the 96 positions"), "{error}");
            // The last new token has no position yet, so that one more than fit can come.
            let new = engine.generate(&ids[..90], &greedy(7), &mut |_| true, &Abort::new()).await.unwrap();
            assert_eq!(new.len(), 7);
            for do_sample in [false, true] {
                let options = GenerateOptions { do_sample: Some(do_sample), ..greedy(50) };
                let seen = RefCell::new(0);
                let mut count = |_| {
                    *seen.borrow_mut() += 1;
                    true
                };
                let error = engine.generate(&ids[..90], &options, &mut count, &Abort::new()).await.unwrap_err();
                assert_eq!(error.code(), "CONTEXT_LENGTH", "{error}");
                assert_eq!(*seen.borrow(), 7);
                // A text that ends by itself before may be allowed any length.
                let mut left = 7;
                let mut few = |_| {
                    left -= 1;
                    left > 0
                };
                let new = engine.generate(&ids[..90], &options, &mut few, &Abort::new()).await.unwrap();
                assert_eq!(new.len(), 7);
            }
        });
    }
}

#[test]
fn tensors_of_another_shape_are_named() {
    let read = |path: &str| std::fs::read(Path::new(&folder("llama-yarn")).join(path)).unwrap();
    let mut config: Value = serde_json::from_slice(&read("config.json")).unwrap();
    config["intermediate_size"] = 1024.into();
    let mut repo = MemoryRepo::new("test/broken");
    repo.insert("config.json", config.to_string());
    repo.insert("model.safetensors", read("model.safetensors"));
    run(|options| async move {
        let Err(error) = load(Rc::new(repo), options).await else { panic!("it was not noticed") };
        assert_eq!(error.code(), "MISMATCHED_WEIGHT", "{error}");
        for part in ["test/broken", "model.layers.1.mlp.down_proj.weight [64, 96], not [64, 1024]", "ignore_mismatched"]
        {
            assert!(error.to_string().contains(part), "{error}");
        }
    });
}
