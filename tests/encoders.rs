//! Encoders and their heads: a checkpoint's files → what torch gives for them, on every tier.
#![cfg(all(feature = "engine", not(target_arch = "wasm32")))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "common/native.rs"]
mod native;

use std::collections::BTreeSet;
use std::rc::Rc;

use layerline::engine::{Array, Engine, Inputs, LoadOptions, ModelOutput, More};
use layerline::hub::{Abort, DirectoryRepo};
use layerline::models::Task;
use layerline::placement::{Device, DeviceMap};
use native::{TOLERANCE, golden, ids, load, run};
use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/encoders");

/// Every one that there is.
fn names() -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(ROOT).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn task(golden: &Value) -> Task {
    let name = golden["task"].as_str().unwrap();
    Task::ALL.into_iter().find(|(known, _)| *known == name).unwrap().1
}

async fn open(name: &str, mut options: LoadOptions) -> Engine {
    options.task = task(&golden(&format!("encoders/{name}/golden.json")));
    load(Rc::new(DirectoryRepo::new(format!("{ROOT}/{name}"))), options).await.unwrap()
}

/// Rows of numbers; one row of a plain list.
fn rows(value: &Value) -> Vec<Vec<f64>> {
    let list = value.as_array().unwrap();
    let numbers = |row: &Value| row.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect();
    if list[0].is_array() { list.iter().map(numbers).collect() } else { vec![numbers(value)] }
}

/// The output by its name in transformers, as rows.
fn found(output: &ModelOutput, name: &str) -> Vec<Vec<f32>> {
    let logits = || output.logits.as_ref().unwrap();
    let by_row = |array: &Array| -> Vec<Vec<f32>> {
        array.data.chunks(*array.dims.last().unwrap()).map(<[f32]>::to_vec).collect()
    };
    let column = |at: usize| vec![by_row(logits()).iter().map(|row| row[at]).collect()];
    match name {
        "logits" => by_row(logits()),
        "last_hidden_state" => by_row(output.last_hidden_state.as_ref().unwrap()),
        "pooler_output" => by_row(output.pooler_output.as_ref().unwrap()),
        "start_logits" => column(0),
        "end_logits" => column(1),
        _ => panic!("{name}"),
    }
}

fn close(found: &[Vec<f32>], expected: &[Vec<f64>], limit: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: rows");
    for (row, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.len(), expected.len(), "{what}: row {row}");
        for (found, expected) in found.iter().zip(expected) {
            let off = (f64::from(*found) - expected).abs();
            assert!(off <= limit, "{what}: {found} instead of {expected} in row {row}; {limit} is allowed");
        }
    }
}

/// Every output within the tolerance of torch's float32.
async fn equals_torch(name: &str, options: LoadOptions) {
    let golden = golden(&format!("encoders/{name}/golden.json"));
    let engine = open(name, options).await;
    for input in golden["inputs"].as_array().unwrap() {
        let (prompt, input_name) = (ids(&input["input_ids"]), input["name"].as_str().unwrap());
        let types = input.get("token_type_ids").map(ids).unwrap_or_default();
        let hidden_states = input.get("hidden_states").is_some();
        let more = More { hidden_states, ..More::default() };
        let inputs = Inputs { ids: &prompt, types: &types, more, ..Inputs::default() };
        let output = engine.forward(inputs, &Abort::new()).await.unwrap();
        let kept = ids(&input["positions"]);
        let outputs = input["outputs"].as_object().unwrap();
        for (key, expected) in outputs {
            let what = format!("{name}, {input_name}: {key}");
            let limit = TOLERANCE * input["f16_error"][key]["max_abs"].as_f64().unwrap();
            let mut found = found(&output, key);
            if key.ends_with("_logits") {
                found = vec![kept.iter().map(|at| found[0][*at as usize]).collect()];
            } else if found.len() > 1 {
                found = kept.iter().map(|at| found[*at as usize].clone()).collect();
            }
            close(&found, &rows(expected), limit, &what);
        }
        assert_eq!(output.pooler_output.is_some(), outputs.contains_key("pooler_output"), "{name}");
        assert_eq!(output.last_hidden_state.is_some(), outputs.contains_key("last_hidden_state"), "{name}");
        if let Some(states) = input.get("hidden_states") {
            let limit = TOLERANCE * input["f16_error"]["last_hidden_state"]["max_abs"].as_f64().unwrap();
            let states = states.as_array().unwrap();
            assert_eq!(output.hidden_states.len(), states.len(), "{name}: hidden states");
            for (layer, (found, expected)) in output.hidden_states.iter().zip(states).enumerate() {
                let found: Vec<Vec<f32>> = found.data.chunks(found.dims[1]).map(<[f32]>::to_vec).collect();
                close(&found, &rows(expected), limit, &format!("{name}: the hidden state {layer}"));
            }
        }
    }
    native::keeps_its_room(&engine, name);
}

#[test]
fn there_is_one_of_every_architecture_and_head() {
    let names = names();
    let kinds: BTreeSet<&str> = names.iter().filter_map(|name| name.split('-').next()).collect();
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        ["bert", "distilbert", "gemma3", "modernbert", "mpnet", "roberta", "xlm"]
    );
    for head in ["base", "masked-lm", "sequence-classification", "token-classification", "question-answering"] {
        assert!(names.iter().filter(|name| name.contains(head)).count() >= 4, "{head}");
    }
}

#[test]
fn encoders_equal_torch() {
    for name in names() {
        run(|options| async move { equals_torch(&name, options).await });
    }
}

#[test]
fn encoders_of_packed_halves_in_small_bindings_equal_torch() {
    for name in names() {
        run(|mut options| async move {
            native::in_small_bindings(&mut options);
            equals_torch(&name, options).await;
        });
    }
}

#[test]
fn encoders_on_the_cpu_alone_equal_torch() {
    for name in names() {
        run(|mut options| async move {
            options.placement.device_map = Some(DeviceMap::all(Device::Cpu));
            equals_torch(&name, options).await;
        });
    }
}

#[test]
fn encoders_half_on_the_gpu_equal_torch() {
    for name in names() {
        run(|mut options| async move {
            let whole = open(&name, native::options(options.spawn.clone())).await;
            let blocks = whole.blocks();
            let mut map = DeviceMap::all(Device::Gpu);
            // Every other layer: the hidden state goes there and back.
            let layers = &blocks[1..blocks.len() - 1];
            layers.iter().step_by(2).for_each(|block| map.insert(&block.name, Device::Cpu));
            options.placement.device_map = Some(map);
            equals_torch(&name, options).await;
        });
    }
}

#[test]
fn types_and_lengths_that_the_model_does_not_know_are_refused_and_it_goes_on() {
    run(|options| async move {
        let engine = open("bert-base", options).await;
        let abort = Abort::new();
        let refused = async |ids: &[u32], types: &[u32]| {
            let inputs = Inputs { ids, types, ..Inputs::default() };
            engine.forward(inputs, &abort).await.unwrap_err()
        };
        assert_eq!(refused(&[1, 2], &[0]).await.code(), "INPUT_IDS");
        let error = refused(&[1, 2], &[0, 2]).await;
        assert_eq!(error.to_string(), "token_type_ids[1] is 2, and the model knows 2 types, from 0 on");
        assert_eq!(refused(&[1; 81], &[]).await.code(), "CONTEXT_LENGTH");
        let error = engine.generate(&[1], &Default::default(), &mut |_| true, &abort).await.unwrap_err();
        assert_eq!(error.code(), "NO_HEAD");
        assert_eq!(native::forward(&engine, &[1; 80], &abort).await.unwrap().len(), 80 * 72);
    });
}

/// Tokens that see each other can't be cut into chunks: what a longer text needs is made for it.
#[test]
fn a_text_longer_than_any_before_gets_its_room() {
    run(|mut options| async move {
        options.task = Task::Base;
        let config = serde_json::json!({
            "model_type": "modernbert", "vocab_size": 50, "hidden_size": 48, "intermediate_size": 60,
            "num_hidden_layers": 2, "num_attention_heads": 4, "local_attention": 16,
        });
        let config = layerline::config::ModelConfig::from_json("config", config.to_string().as_bytes()).unwrap();
        options.weights = layerline::engine::WeightsSource::New;
        let repo = Rc::new(layerline::hub::MemoryRepo::new("new"));
        let engine = Engine::load(repo, &config, Default::default(), options).await.unwrap();
        let text: Vec<u32> = (0..700).map(|at| at * 7 % 50).collect();
        let long = native::forward(&engine, &text, &Abort::new()).await.unwrap();
        assert_eq!(long.len(), 700 * 48);
        let again = native::forward(&engine, &text[..9], &Abort::new()).await.unwrap();
        assert!(again.iter().chain(&long).all(|value| value.is_finite()));
        // The last token is seen by the first one, however far away it is.
        let other: Vec<u32> = text[..699].iter().copied().chain([text[699] + 1]).collect();
        let changed = native::forward(&engine, &other, &Abort::new()).await.unwrap();
        assert_ne!(long[..48], changed[..48]);
    });
}
