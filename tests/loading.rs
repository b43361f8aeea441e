//! What `from_pretrained` makes of tiny checkpoints in every state that a repo is found in, as transformers does.
#![cfg(all(feature = "engine", not(target_arch = "wasm32")))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "common/native.rs"]
mod native;

use std::rc::Rc;

use layerline::checkpoint::{Catalog, CatalogOptions};
use layerline::config::ModelConfig;
use layerline::engine::{Engine, LoadOptions, WeightDtype, WeightsSource};
use layerline::generation::Prompt;
use layerline::hub::{Abort, DirectoryRepo, MemoryRepo, Repo};
use layerline::models::Task;
use native::{TOLERANCE, golden, ids, load, load_with, run};
use serde_json::{Map, Value, json};

/// The case's options as the package hands them to the engine.
fn apply(case: &Value, options: &mut LoadOptions) -> (String, Map<String, Value>) {
    let mut overrides = Map::new();
    let mut folder = format!("{}/tests/goldens/loading/{}", env!("CARGO_MANIFEST_DIR"), case["repo"].as_str().unwrap());
    options.dtype = WeightDtype::Float32;
    options.task = if case["class"] == "AutoModel" { Task::Base } else { Task::CausalLm };
    for (name, value) in case["options"].as_object().unwrap() {
        let WeightsSource::Checkpoint(files) = &mut options.weights else { unreachable!() };
        match name.as_str() {
            "dtype" => options.dtype = WeightDtype::Auto,
            "variant" => files.variant = value.as_str().map(str::to_owned),
            "use_safetensors" => files.use_safetensors = value.as_bool(),
            "ignore_mismatched_sizes" => options.ignore_mismatched_sizes = value.as_bool().unwrap(),
            "subfolder" => folder = format!("{folder}/{}", value.as_str().unwrap()),
            _ => drop(overrides.insert(name.clone(), value.clone())),
        }
    }
    (folder, overrides)
}

/// The loading info as Python's, sets sorted.
fn info_of(engine: &Engine) -> Value {
    let info = engine.loading_info();
    json!({
        "missing_keys": info.missing_keys, "unexpected_keys": info.unexpected_keys,
        "mismatched_keys": info.mismatched_keys, "error_msgs": [],
    })
}

#[test]
fn every_checkpoint_loads_as_in_transformers() {
    let golden = golden("loading.json");
    let prompt = ids(&golden["input_ids"]);
    for case in golden["cases"].as_array().unwrap() {
        let about = format!("{}, {}, {}", case["repo"], case["class"], case["options"]);
        run(|mut options| {
            let prompt = prompt.clone();
            async move {
                let (folder, overrides) = apply(case, &mut options);
                let loaded = load_with(Rc::new(DirectoryRepo::new(folder)), overrides, options).await;
                let engine = match (loaded, case.get("error")) {
                    (Ok(engine), None) => engine,
                    (Err(error), Some(_)) => {
                        let expected = ["CHECKPOINT_NOT_FOUND", "MISMATCHED_WEIGHT", "ENTRY_NOT_FOUND"];
                        return assert!(expected.contains(&error.code()), "{about}: {error}");
                    }
                    (Ok(_), Some(error)) => panic!("{about}: not {error}"),
                    (Err(error), None) => panic!("{about}: {error}"),
                };
                assert_eq!(info_of(&engine), case["loading_info"], "{about}");
                assert_eq!(engine.class(), case["class_name"], "{about}");
                let output = native::forward(&engine, &prompt, &Abort::new()).await.unwrap();
                let Some(rows) = case.get("output") else {
                    return assert!(output.iter().all(|value| value.is_finite()), "{about}");
                };
                let expected: Vec<f64> = rows
                    .as_array()
                    .unwrap()
                    .iter()
                    .flat_map(|row| row.as_array().unwrap())
                    .map(|v| v.as_f64().unwrap())
                    .collect();
                assert_eq!(output.len(), expected.len(), "{about}");
                let limit = TOLERANCE * case["f16_error"]["max_abs"].as_f64().unwrap();
                for (found, expected) in output.iter().zip(expected) {
                    let off = (f64::from(*found) - expected).abs();
                    assert!(off <= limit, "{about}: {off} off; {limit} is allowed");
                }
            }
        });
    }
}

#[test]
fn new_weights_depend_on_the_seed_alone() {
    let text = json!({
        "model_type": "llama", "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "initializer_range": 0.2,
    });
    let logits = |seed| {
        let mut found = Vec::new();
        run(|options| {
            let (text, found) = (text.to_string(), &mut found);
            async move {
                let config = ModelConfig::from_json("config", text.as_bytes()).unwrap();
                let options = LoadOptions { weights: WeightsSource::New, seed, ..options };
                let repo: Rc<dyn Repo> = Rc::new(MemoryRepo::new("(no repo)"));
                let engine = Engine::load(repo, &config, Default::default(), options).await.unwrap();
                assert!(engine.loading_info().unexpected_keys.is_empty());
                *found = native::forward(&engine, &[1, 2, 3], &Abort::new()).await.unwrap();
            }
        });
        found
    };
    let one = logits(1);
    assert!(one.iter().any(|value| value.abs() > 0.01));
    assert_eq!(one, logits(1));
    assert_ne!(one, logits(2));
}

#[test]
fn a_model_without_a_head_says_so() {
    run(|mut options| async move {
        options.task = Task::Base;
        let folder = format!("{}/tests/goldens/loading/causal", env!("CARGO_MANIFEST_DIR"));
        let engine = load(Rc::new(DirectoryRepo::new(folder)), options).await.unwrap();
        let error = engine.next_logits(Prompt::of(&[1]), &Abort::new()).await.unwrap_err();
        assert!(error.code() == "NO_HEAD" && error.to_string().contains("LlamaModel"), "{error}");
        let error = engine.generate(&[1], &Default::default(), &mut |_| true, &Abort::new()).await.unwrap_err();
        assert_eq!(error.code(), "NO_HEAD");
    });
}

#[test]
fn weights_are_replaced_in_a_model_that_is_there() {
    run(|options| async move {
        let path = |name: &str| format!("{}/tests/goldens/loading/{name}", env!("CARGO_MANIFEST_DIR"));
        let prompt = [5, 31, 2, 17, 11];
        let repo = |name: &str| Rc::new(DirectoryRepo::new(path(name)));
        let catalog = async |name: &str| Catalog::open(&*repo(name), &CatalogOptions::default()).await.unwrap();
        let logits = async |engine: &Engine| native::forward(engine, &prompt, &Abort::new()).await.unwrap();

        let spawn = options.spawn.clone();
        let other = logits(&load(repo("more-keys"), native::options(spawn)).await.unwrap()).await;
        let engine = load(repo("causal"), options).await.unwrap();
        let before = logits(&engine).await;
        assert_ne!(before, other);

        let error = engine.load_weights(repo("more-keys"), catalog("more-keys").await, true).await.unwrap_err();
        assert_eq!(error.code(), "INCOMPATIBLE_KEYS");
        assert!(error.to_string().contains("unexpected key(s): classifier.bias"), "{error}");
        let mut misshapen = catalog("more-keys").await;
        misshapen.tensors.get_mut("lm_head.weight").unwrap().shape = vec![16, 40];
        let error = engine.load_weights(repo("more-keys"), misshapen, false).await.unwrap_err();
        assert_eq!(error.code(), "MISMATCHED_WEIGHT", "{error}");
        assert_eq!(logits(&engine).await, before);

        let left = engine.load_weights(repo("more-keys"), catalog("more-keys").await, false).await.unwrap();
        assert!(left.missing_keys.is_empty() && left.unexpected_keys.len() == 3, "{left:?}");
        assert_eq!(logits(&engine).await, other);

        // What the checkpoint lacks stays as it was.
        let left = engine.load_weights(repo("tied-neither"), catalog("tied-neither").await, false).await.unwrap();
        assert_eq!(left.missing_keys.len(), 2);
        engine.ready().await.unwrap();
    });
}
