//! Models that write a text of what an encoder has read: a checkpoint's files → what torch gives for them, on every tier.
#![cfg(all(feature = "engine", not(target_arch = "wasm32")))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "common/native.rs"]
mod native;

use std::rc::Rc;

use layerline::engine::{Array, Engine, Inputs, LoadOptions, More, Source};
use layerline::generation::{GenerateOptions, Prompt};
use layerline::hub::{Abort, DirectoryRepo};
use layerline::models::Task;
use layerline::placement::{Device, DeviceMap, MaxMemory};
use native::{TOLERANCE, golden, greedy, ids, load, run, source};
use serde_json::{Value, json};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/seq2seq");

/// Every one that there is.
fn names() -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(ROOT).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

async fn open(name: &str, mut options: LoadOptions) -> Engine {
    options.task = if name.starts_with("whisper") { Task::SpeechSeq2Seq } else { Task::Seq2SeqLm };
    load(Rc::new(DirectoryRepo::new(format!("{ROOT}/{name}"))), options).await.unwrap()
}

/// A model's bytes: weights, and what is kept of a GPU beside them for a pass over the longest of these inputs.
async fn bytes(name: &str, options: LoadOptions, golden: &Value, more: More) -> (u64, u64) {
    let engine = open(name, options).await;
    let longest = golden["inputs"].as_array().unwrap().iter().max_by_key(|input| input.to_string().len()).unwrap();
    let (read, features) = source(longest);
    let decoder_ids = ids(&longest["decoder_input_ids"]);
    let inputs = Inputs { ids: &read, features: &features, decoder_ids: &decoder_ids, more, ..Inputs::default() };
    engine.forward(inputs, &Abort::new()).await.unwrap();
    (engine.weight_bytes(), engine.kept_bytes())
}

/// Rows within the tolerance of torch's float32.
fn close(found: &[f32], width: usize, input: &Value, key: &str, what: &str) {
    let limit = TOLERANCE * input["f16_error"][key]["max_abs"].as_f64().unwrap();
    let rows = input["outputs"][key].as_array().unwrap();
    let kept = ids(&input["positions"][key]);
    assert_eq!(kept.len(), rows.len(), "{what}: {key}");
    for (position, expected) in kept.iter().zip(rows) {
        let row = &found[*position as usize * width..][..width];
        for (found, expected) in row.iter().zip(expected.as_array().unwrap()) {
            let off = (f64::from(*found) - expected.as_f64().unwrap()).abs();
            assert!(off <= limit, "{what}: {key}: {found} instead of {expected} at {position}; {limit} is allowed");
        }
    }
}

/// Logits and the encoder's last hidden state within the tolerance of torch's, and the same greedy ids.
async fn equals_torch(name: &str, options: LoadOptions) {
    let golden = golden(&format!("seq2seq/{name}/golden.json"));
    let engine = open(name, options).await;
    for input in golden["inputs"].as_array().unwrap() {
        let what = format!("{name}, {}", input["name"]);
        let (read, features) = source(input);
        let decoder_ids = ids(&input["decoder_input_ids"]);
        let inputs = Inputs { ids: &read, features: &features, decoder_ids: &decoder_ids, ..Inputs::default() };
        let output = engine.forward(inputs, &Abort::new()).await.unwrap();
        let logits = output.logits.unwrap();
        assert_eq!(logits.dims[0], decoder_ids.len(), "{what}");
        close(&logits.data, logits.dims[1], input, "logits", &what);
        let state = output.encoder_last_hidden_state.unwrap();
        close(&state.data, state.dims[1], input, "encoder_last_hidden_state", &what);

        let expected = ids(&input["greedy"]);
        let start = [golden["decoder_start_token_id"].as_u64().unwrap() as u32];
        let source = Source { ids: &read, features: &features };
        let options = greedy(expected.len());
        let new =
            engine.generate_from(source, Prompt::of(&start), &options, &mut |_| true, &Abort::new()).await.unwrap();
        assert_eq!(new, expected, "{what}");
    }
    native::keeps_its_room(&engine, name);
}

#[test]
fn texts_of_texts_and_of_sound_equal_torch() {
    assert!(names().len() >= 5, "{:?}", names());
    for name in names() {
        run(|options| async move { equals_torch(&name, options).await });
    }
}

#[test]
fn packed_halves_in_small_bindings_equal_torch() {
    for name in names() {
        run(|mut options| async move {
            native::in_small_bindings(&mut options);
            equals_torch(&name, options).await;
        });
    }
}

#[test]
fn the_cpu_alone_equals_torch() {
    for name in names() {
        run(|mut options| async move {
            options.placement.device_map = Some(DeviceMap::all(Device::Cpu));
            equals_torch(&name, options).await;
        });
    }
}

/// So many percent of the weights on the GPU and in CPU memory, which are computed by a device where that is said.
fn a_share_equals_torch(gpu: u64, cpu: u64, by: Option<Device>) {
    for name in names() {
        run(|mut options| async move {
            let golden = golden(&format!("seq2seq/{name}/golden.json"));
            let (all, kept) = bytes(&name, native::options(options.spawn.clone()), &golden, More::default()).await;
            let max_memory = MaxMemory { gpu: Some(all * gpu / 100 + kept), cpu: Some(all * cpu / 100) };
            options.placement.max_memory = Some(max_memory);
            options.placement.execution_device = by;
            equals_torch(&name, options).await;
        });
    }
}

#[test]
fn most_on_the_gpu_equals_torch() {
    a_share_equals_torch(70, 100, None);
}

#[test]
fn a_part_on_disk_equals_torch() {
    a_share_equals_torch(60, 20, None);
}

#[test]
fn what_the_gpu_computes_from_cpu_memory_equals_torch() {
    a_share_equals_torch(60, 100, Some(Device::Gpu));
}

#[test]
fn what_the_cpu_computes_beside_the_gpu_equals_torch() {
    a_share_equals_torch(60, 100, Some(Device::Cpu));
}

/// Of both stacks the embeddings, what each layer gives, and by which shares tokens attend to each other and to the source,
/// wherever the layers are.
#[test]
fn what_comes_between_layers_equals_torchs() {
    for case in golden("seq2seq_states.json")["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let input = &golden(&format!("seq2seq/{name}/golden.json"))["inputs"][0];
        for share in [None, Some((0, 100)), Some((70, 20))] {
            run(|mut options| async move {
                if let Some((gpu, cpu)) = share {
                    let golden = golden(&format!("seq2seq/{name}/golden.json"));
                    let more = More { hidden_states: true, attentions: true };
                    let (all, kept) = bytes(name, native::options(options.spawn.clone()), &golden, more).await;
                    let max_memory = MaxMemory { gpu: Some(all * gpu / 100 + kept), cpu: Some(all * cpu / 100) };
                    options.placement.max_memory = Some(max_memory).filter(|_| gpu > 0);
                    options.placement.device_map = (gpu == 0).then(|| DeviceMap::all(Device::Cpu));
                }
                let engine = open(name, options).await;
                let (read, features) = source(input);
                let decoder_ids = ids(&input["decoder_input_ids"]);
                let more = More { hidden_states: true, attentions: true };
                let inputs =
                    Inputs { ids: &read, features: &features, decoder_ids: &decoder_ids, more, ..Inputs::default() };
                let output = engine.forward(inputs, &Abort::new()).await.unwrap();
                for (key, layers) in [
                    ("encoder_hidden_states", &output.encoder_hidden_states),
                    ("decoder_hidden_states", &output.hidden_states),
                    ("encoder_attentions", &output.encoder_attentions),
                    ("decoder_attentions", &output.attentions),
                    ("cross_attentions", &output.cross_attentions),
                ] {
                    let expected = case[key].as_array().unwrap();
                    assert_eq!(layers.len(), expected.len(), "{name}, {key}");
                    for (layer, (found, rows)) in layers.iter().zip(expected).enumerate() {
                        // A position's row: a hidden state, or what its heads attend to.
                        let (data, width) = by_position(found);
                        let rows: Vec<_> = rows.as_array().unwrap().iter().map(flat).collect();
                        let one = json!({
                            "f16_error": case["f16_error"], "positions": case["positions"], "outputs": {key: rows},
                        });
                        close(&data, width, &one, key, &format!("{name}, {layer}, {share:?}"));
                    }
                }
                // Nothing is kept for those who don't ask.
                let more = More::default();
                let output = engine.forward(Inputs { more, ..inputs }, &Abort::new()).await.unwrap();
                assert!([output.encoder_attentions, output.attentions, output.cross_attentions].concat().is_empty());
            });
        }
    }
}

/// What is there for each position, and how much: of `[heads, tokens, keys]` each head's keys.
fn by_position(found: &Array) -> (Vec<f32>, usize) {
    let &[heads, tokens, keys] = found.dims.as_slice() else { return (found.data.clone(), found.dims[1]) };
    let row = |token: usize, head: usize| &found.data[(head * tokens + token) * keys..][..keys];
    let rows = (0..tokens).flat_map(|token| (0..heads).flat_map(move |head| row(token, head)));
    (rows.copied().collect(), heads * keys)
}

fn flat(value: &Value) -> Value {
    match value.as_array() {
        Some(rows) if rows[0].is_array() => rows.iter().flat_map(|row| row.as_array().unwrap()).cloned().collect(),
        _ => value.clone(),
    }
}

#[test]
fn what_is_suppressed_is_not_said() {
    run(|options| async move {
        let engine = open("whisper", options).await;
        let golden = golden("seq2seq/whisper/golden.json");
        let input = &golden["inputs"][0];
        let (_, features) = source(input);
        let source = Source { ids: &[], features: &features };
        let start = [golden["decoder_start_token_id"].as_u64().unwrap() as u32];
        let said = ids(&input["greedy"]);
        let none = || GenerateOptions { suppress_tokens: Some(Vec::new()), ..greedy(said.len()) };
        let never = GenerateOptions { suppress_tokens: Some(vec![said[0], said[1]]), ..none() };
        let at_first = GenerateOptions { begin_suppress_tokens: Some(vec![said[0]]), ..none() };
        // Times are the ids above 100, and a text begins with the first of them.
        let timed = GenerateOptions {
            return_timestamps: Some(true),
            no_timestamps_token_id: Some(100),
            max_initial_timestamp_index: Some(0),
            ..none()
        };
        let mut texts = Vec::new();
        for options in [none(), never, at_first, timed] {
            texts.push(
                engine.generate_from(source, Prompt::of(&start), &options, &mut |_| true, &Abort::new()).await.unwrap(),
            );
        }
        assert_eq!(texts[0], said);
        assert!(texts[1].iter().all(|id| !said[..2].contains(id)), "{:?}", texts[1]);
        assert_ne!(texts[2][0], said[0]);
        assert_eq!(texts[3][0], 101);
        let times: Vec<u32> = texts[3].iter().copied().filter(|id| *id > 100).collect();
        assert!(times.is_sorted(), "{times:?}");
        let error = GenerateOptions { return_timestamps: Some(true), ..none() };
        let error =
            engine.generate_from(source, Prompt::of(&start), &error, &mut |_| true, &Abort::new()).await.unwrap_err();
        assert_eq!(error.code(), "UNSUPPORTED_OPTION", "{error}");
    });
}

#[test]
fn what_an_encoder_cant_read_is_refused_and_it_goes_on() {
    run(|options| async move {
        let engine = open("whisper", options).await;
        let golden = golden("seq2seq/whisper/golden.json");
        let input = &golden["inputs"][0];
        let (_, features) = source(input);
        let start = [golden["decoder_start_token_id"].as_u64().unwrap() as u32];
        for features in [&features[1..], &features[..features.len() / 2], &[]] {
            let source = Source { ids: &[], features };
            let error = engine
                .generate_from(source, Prompt::of(&start), &greedy(1), &mut |_| true, &Abort::new())
                .await
                .unwrap_err();
            assert_eq!(error.code(), "INPUT_IDS", "{error}");
        }
        let source = Source { ids: &[], features: &features };
        let new =
            engine.generate_from(source, Prompt::of(&start), &greedy(1), &mut |_| true, &Abort::new()).await.unwrap();
        assert_eq!(new, ids(&input["greedy"])[..1]);
    });
}
