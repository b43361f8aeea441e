//! Beam search: what it finds on a checkpoint, on every tier, beside transformers'.
#![cfg(all(feature = "engine", not(target_arch = "wasm32")))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "common/native.rs"]
mod native;

use std::rc::Rc;

use layerline::engine::{Engine, LoadOptions, Source};
use layerline::generation::{GenerateOptions, Prompt};
use layerline::hub::{Abort, DirectoryRepo};
use layerline::models::Task;
use layerline::placement::{Device, DeviceMap, MaxMemory};
use native::{TOLERANCE, golden, ids, load, run};
use serde_json::Value;

async fn open(name: &str, mut options: LoadOptions) -> Engine {
    options.task = match name {
        "seq2seq/whisper" => Task::SpeechSeq2Seq,
        name if name.starts_with("seq2seq") => Task::Seq2SeqLm,
        _ => Task::CausalLm,
    };
    let folder = format!("{}/tests/goldens/{name}", env!("CARGO_MANIFEST_DIR"));
    load(Rc::new(DirectoryRepo::new(folder)), options).await.unwrap()
}

/// Of each model, the cases.
fn by_model(golden: &Value) -> Vec<(String, Vec<Value>)> {
    let cases = golden["cases"].as_array().unwrap();
    let mut names: Vec<&str> = cases.iter().map(|case| case["model"].as_str().unwrap()).collect();
    names.dedup();
    let of = |name: &str| cases.iter().filter(|case| case["model"] == name).cloned().collect();
    names.into_iter().map(|name| (name.to_owned(), of(name))).collect()
}

/// The golden of a case's model.
fn golden_of(case: &Value) -> Value {
    golden(&format!("{}/golden.json", case["model"].as_str().unwrap()))
}

/// What a case reads: ids, or sound.
fn source(case: &Value) -> (Vec<u32>, Vec<f32>) {
    let Some(name) = case.get("input") else { return native::source(case) };
    let of_model = golden_of(case);
    native::source(of_model["inputs"].as_array().unwrap().iter().find(|input| input["name"] == *name).unwrap())
}

fn options_of(golden: &Value, case: &Value) -> GenerateOptions {
    let mut options = case["options"].clone();
    options["max_new_tokens"] = golden["max_new_tokens"].clone();
    options["do_sample"] = false.into();
    if options.get("eos_token_id").is_none() {
        options["eos_token_id"] = Value::Array(Vec::new());
    }
    serde_json::from_value(options).unwrap()
}

/// The same ids in the same order; scores within what the tolerance of their logits makes of them.
async fn finds_the_same(engine: &Engine, golden: &Value, case: &Value) {
    let (what, options) = (format!("{} {}", case["model"], case["options"]), options_of(golden, case));
    let (read, features) = source(case);
    let start = golden_of(case)["decoder_start_token_id"].as_u64().map(|id| [id as u32]);
    let (source, prompt) = match &start {
        None => (Source::default(), Prompt::of(&read)),
        Some(start) => (Source { ids: &read, features: &features }, Prompt::of(start)),
    };
    let found = engine.beam_search(source, prompt, &options, &Abort::new()).await.unwrap();
    let expected: Vec<Vec<u32>> = case["sequences"].as_array().unwrap().iter().map(ids).collect();
    let texts: Vec<&Vec<u32>> = found.iter().map(|(new, _)| new).collect();
    assert_eq!(texts, expected.iter().collect::<Vec<_>>(), "{what}");
    for ((new, score), expected) in found.iter().zip(case["scores"].as_array().unwrap()) {
        // A token's log-probability is off by twice as much as a logit.
        let off = 2.0 * TOLERANCE * case["f16_error"].as_f64().unwrap() * new.len() as f64;
        let limit = off / (new.len() as f64).powf(options.length_penalty.unwrap_or(1.0)) + 1e-5;
        let expected = expected.as_f64().unwrap();
        assert!((f64::from(*score) - expected).abs() <= limit, "{what}: {score} instead of {expected}");
    }
}

/// All cases, each model loaded once, with options that `with` has changed.
fn all_find_the_same(with: impl Fn(&mut LoadOptions)) {
    let golden = golden("beams.json");
    for (name, cases) in by_model(&golden) {
        run(|mut options| {
            with(&mut options);
            let golden = &golden;
            async move {
                let engine = open(&name, options).await;
                for case in &cases {
                    finds_the_same(&engine, golden, case).await;
                }
                native::keeps_its_room(&engine, &name);
            }
        });
    }
}

#[test]
fn the_gpu_finds_what_transformers_finds() {
    all_find_the_same(|_| {});
}

#[test]
fn the_cpu_finds_what_transformers_finds() {
    all_find_the_same(|options| options.placement.device_map = Some(DeviceMap::all(Device::Cpu)));
}

/// Models whose layers differ in what they keep: plain ones, some with experts, some that attend to what was read, at distances too.
const ONE_A_KIND: [&str; 5] = ["tiny/llama-f32", "tiny/qwen3_moe", "tiny/lfm2", "seq2seq/bart", "seq2seq/t5"];

/// Some layers on the GPU, some in CPU memory, some on disk.
#[test]
fn tiers_find_what_transformers_finds() {
    let golden = golden("beams.json");
    for (name, cases) in by_model(&golden).into_iter().filter(|(name, _)| ONE_A_KIND.contains(&name.as_str())) {
        run(async |mut options| {
            let whole = open(&name, native::options(options.spawn.clone())).await;
            let most = cases.iter().max_by_key(|case| case["options"]["num_beams"].as_u64()).unwrap();
            finds_the_same(&whole, &golden, most).await;
            let (all, kept) = (whole.weight_bytes(), whole.kept_bytes());
            let max_memory = MaxMemory { gpu: Some(all * 60 / 100 + kept), cpu: Some(all * 30 / 100) };
            options.placement.max_memory = Some(max_memory);
            let engine = open(&name, options).await;
            for case in &cases {
                finds_the_same(&engine, &golden, case).await;
            }
            native::keeps_its_room(&engine, &name);
        });
    }
}

/// A text that is searched leaves nothing behind that another reads.
#[test]
fn texts_come_one_after_the_other() {
    run(async |options| {
        let golden = golden("beams.json");
        let (name, cases) = by_model(&golden).swap_remove(0);
        let engine = open(&name, options).await;
        let prompt = ids(&cases[0]["input_ids"]);
        let greedy = native::greedy(12);
        let before = engine.generate(&prompt, &greedy, &mut |_| true, &Abort::new()).await.unwrap();
        finds_the_same(&engine, &golden, &cases[0]).await;
        let behind = engine.generate(&prompt, &greedy, &mut |_| true, &Abort::new()).await.unwrap();
        assert_eq!(before, behind);
        let one = GenerateOptions { num_beams: Some(1), ..greedy };
        let found = engine.beam_search(Source::default(), Prompt::of(&prompt), &one, &Abort::new()).await.unwrap();
        assert_eq!(found.iter().map(|(new, _)| new.clone()).collect::<Vec<_>>(), [before]);
    });
}

#[test]
fn a_search_ends_when_it_is_given_up() {
    run(async |options| {
        let golden = golden("beams.json");
        let (name, cases) = by_model(&golden).swap_remove(0);
        let engine = open(&name, options).await;
        let (prompt, options) = (ids(&cases[0]["input_ids"]), options_of(&golden, &cases[0]));
        let abort = Abort::new();
        abort.abort();
        let error = engine.beam_search(Source::default(), Prompt::of(&prompt), &options, &abort).await.unwrap_err();
        assert_eq!(error.code(), "ABORTED");
        finds_the_same(&engine, &golden, &cases[0]).await;
    });
}
