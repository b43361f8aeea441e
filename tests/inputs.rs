//! What a forward pass and a text may begin with beside ids: positions that are told, rows in the embeddings' place, and what was
//! read before; as torch has it, wherever the layers are.
#![cfg(all(feature = "engine", not(target_arch = "wasm32")))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "common/native.rs"]
mod native;

use layerline::engine::{Engine, Inputs, LoadOptions, ModelOutput, More, Source};
use layerline::generation::Prompt;
use layerline::hub::Abort;
use layerline::placement::{Device, DeviceMap};
use native::{TOLERANCE, greedy, ids, in_small_bindings, open, run, run_cases, run_cases_shared_out};
use serde_json::Value;

async fn forward(engine: &Engine, inputs: Inputs<'_>) -> ModelOutput {
    engine.forward(inputs, &Abort::new()).await.unwrap()
}

async fn go_on(engine: &Engine, prompt: Prompt<'_>, count: usize) -> Vec<u32> {
    let (source, options) = (Source::default(), greedy(count));
    engine.generate_from(source, prompt, &options, &mut |_| true, &Abort::new()).await.unwrap()
}

/// The golden's rows in the embeddings' place.
fn embeds(case: &Value, engine: &Engine) -> Vec<f32> {
    let Some(scale) = case["embeds_scale"].as_f64() else { return Vec::new() };
    let numbers = case["input_ids"].as_array().unwrap().len() * engine.shape().embeds;
    (0..numbers).map(|i| (scale * (0.37 * i as f64 + 1.0).sin()) as f32).collect()
}

async fn equal_torch(case: Value, options: LoadOptions) {
    let name = case["name"].as_str().unwrap();
    let engine = open(name, options).await;
    let (ids, embeds) = (ids(&case["input_ids"]), embeds(&case, &engine));
    let position_ids = case.get("position_ids").map(native::ids).unwrap_or_default();
    let prompt = Prompt { ids: &ids, embeds: &embeds, position_ids: &position_ids };
    let inputs = Inputs { ids: &ids, embeds: &embeds, position_ids: &position_ids, ..Inputs::default() };
    let found = forward(&engine, inputs).await.main();
    let limit = TOLERANCE * case["f16_error"]["max_abs"].as_f64().unwrap();
    let expected: Vec<Vec<f64>> = serde_json::from_value(case["rows"].clone()).unwrap();
    let last = &found[found.len() - expected.len() * expected[0].len()..];
    let same = |found: &[f32], expected: &[f64]| {
        for (found, expected) in found.iter().zip(expected) {
            let off = (f64::from(*found) - expected).abs();
            assert!(off <= limit, "{name}: {off} off; {limit} is allowed; {case}");
        }
    };
    same(last, &expected.concat());
    if let Some(expected_ids) = case.get("greedy").map(native::ids) {
        assert_eq!(go_on(&engine, prompt, expected_ids.len()).await, expected_ids, "{case}");
        same(&engine.next_logits(prompt, &Abort::new()).await.unwrap(), &expected[1]);
        // Another text of the same ids isn't the same text.
        let plain = engine.next_logits(Prompt::of(&ids), &Abort::new()).await.unwrap();
        assert!(plain.iter().zip(&expected[1]).any(|(a, b)| (f64::from(*a) - b).abs() > 4.0 * limit), "{name}");
    }
}

fn all_equal_torch(with: impl Fn(&mut LoadOptions)) {
    run_cases("inputs.json", with, equal_torch);
}

#[test]
fn told_positions_and_rows_equal_torch() {
    all_equal_torch(|_| {});
}

#[test]
fn told_positions_and_rows_in_small_bindings_equal_torch() {
    all_equal_torch(in_small_bindings);
}

#[test]
fn told_positions_and_rows_on_the_cpu_alone_equal_torch() {
    all_equal_torch(|options| options.placement.device_map = Some(DeviceMap::all(Device::Cpu)));
}

#[test]
fn told_positions_and_rows_equal_torch_where_layers_come_and_go() {
    run_cases_shared_out("inputs.json", equal_torch);
}

/// What comes behind tokens that were read before is as in one pass over all of them, and those aren't read again.
#[test]
fn what_was_read_before_is_gone_on_from() {
    let text: Vec<u32> = (0..300).map(|i| 3 + i * 7 % 125).collect();
    for (name, cpu) in [("tiny/llama-f32", false), ("tiny/llama-f32", true), ("tiny/gemma3", false)] {
        run(|mut options| {
            if cpu {
                options.placement.device_map = Some(DeviceMap::all(Device::Cpu));
            }
            let text = &text;
            async move {
                let engine = open(name, options).await;
                let more = More { hidden_states: true, attentions: true };
                let whole = forward(&engine, Inputs { ids: text, more, ..Inputs::default() }).await;
                let same_shares = |output: &ModelOutput, from: usize| {
                    let n = 300 - from;
                    assert_eq!(output.attentions.len(), whole.attentions.len(), "{name}");
                    for (found, all) in output.attentions.iter().zip(&whole.attentions) {
                        assert_eq!(found.dims, [all.dims[0], n, 300], "{name}");
                        for (head, shares) in found.data.chunks(n * 300).enumerate() {
                            let all = &all.data[(head * 300 + from) * 300..][..n * 300];
                            assert!(shares.iter().zip(all).all(|(a, b)| (a - b).abs() < 1e-3), "{name}");
                        }
                    }
                };
                let run = || engine.timings().prefilled.get();
                // From what the pass before has read; then from what nobody has.
                for from in [290, 5] {
                    let read = run();
                    let rest = Inputs { ids: text, past: from, more, ..Inputs::default() };
                    let output = forward(&engine, rest).await;
                    assert_eq!(run(), read, "{name}");
                    let n = 300 - from;
                    let behind = |found: &Option<layerline::engine::Array>, all: &Option<layerline::engine::Array>| {
                        let (found, all) = (found.as_ref().unwrap(), all.as_ref().unwrap());
                        assert_eq!(found.dims, [n, all.dims[1]]);
                        let all = &all.data[from * all.dims[1]..];
                        assert!(found.data.iter().zip(all).all(|(a, b)| (a - b).abs() < 2e-3), "{name}");
                    };
                    behind(&output.logits, &whole.logits);
                    for (found, all) in output.hidden_states.iter().zip(&whole.hidden_states) {
                        behind(&Some(found.clone()), &Some(all.clone()));
                    }
                    same_shares(&output, from);
                }
                let other: Vec<u32> = text.iter().rev().copied().collect();
                let read = run();
                forward(&engine, Inputs { ids: &other, past: 260, ..Inputs::default() }).await;
                assert_eq!(run() - read, 260, "another text is read anew, but for what is given");
                // Nor does what such a past attends to get among what is wanted.
                same_shares(&forward(&engine, Inputs { ids: text, past: 260, more, ..Inputs::default() }).await, 260);
            }
        });
    }
}

#[test]
fn what_no_model_can_read_is_an_error() {
    run(|options| async move {
        let engine = open("tiny/gpt2", options).await;
        let code = async |inputs: Inputs<'_>| engine.forward(inputs, &Abort::new()).await.unwrap_err().code();
        let ids = &[5, 6, 7];
        assert_eq!(code(Inputs { ids, position_ids: &[0, 96], ..Inputs::default() }).await, "INPUT_IDS");
        assert_eq!(code(Inputs { ids, position_ids: &[0; 4], ..Inputs::default() }).await, "INPUT_IDS");
        assert_eq!(code(Inputs { ids, embeds: &[0.0; 71], ..Inputs::default() }).await, "INPUT_IDS");
        assert_eq!(code(Inputs { ids, past: 3, ..Inputs::default() }).await, "INPUT_IDS");
        assert!(engine.forward(Inputs { ids, ..Inputs::default() }, &Abort::new()).await.is_ok());
        // The text goes on to where the model has learned no position.
        let prompt = Prompt { position_ids: &[93, 94], ..Prompt::of(&[5, 6]) };
        let mut new = Vec::new();
        let mut tell = |id| {
            new.push(id);
            true
        };
        let error = engine.generate_from(Source::default(), prompt, &greedy(9), &mut tell, &Abort::new()).await;
        assert_eq!(error.unwrap_err().code(), "CONTEXT_LENGTH");
        assert_eq!(new.len(), 2, "of positions 95 and 96");
    });
    run(|options| async move {
        let engine = open("encoders/bert-base", options).await;
        let inputs = Inputs { ids: &[5, 6, 7], past: 1, ..Inputs::default() };
        assert_eq!(engine.forward(inputs, &Abort::new()).await.unwrap_err().code(), "INPUT_IDS");
    });
}
