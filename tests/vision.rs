//! Models that read images, and CLIP's towers: a checkpoint's files → what torch gives for them, on every tier.
#![cfg(all(feature = "engine", not(target_arch = "wasm32")))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "common/native.rs"]
mod native;

use std::rc::Rc;

use layerline::checkpoint::CatalogOptions;
use layerline::engine::{Array, Engine, Inputs, LoadOptions, ModelOutput, More};
use layerline::hub::{Abort, DirectoryRepo};
use layerline::models::Task;
use layerline::placement::{Device, DeviceMap};
use layerline::weights::small::{SmallTensor, read_small};
use native::{TOLERANCE, golden, ids, load, run};
use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/vision");

/// Every checkpoint with every task that it is for.
fn cases() -> Vec<(String, Task)> {
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(ROOT).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        for key in golden(&format!("vision/{name}/golden.json"))["tasks"].as_object().unwrap().keys() {
            cases.push((name.clone(), Task::ALL.into_iter().find(|(known, _)| known == key).unwrap().1));
        }
    }
    cases.sort_by(|a, b| a.0.cmp(&b.0));
    cases
}

async fn open(name: &str, task: Task, mut options: LoadOptions) -> Engine {
    options.task = task;
    load(Rc::new(DirectoryRepo::new(format!("{ROOT}/{name}"))), options).await.unwrap()
}

/// The pixels as the goldens' script makes them.
fn pixels(input: &Value) -> (Vec<f32>, Vec<usize>) {
    let dims: Vec<usize> = ids(&input["dims"]).into_iter().map(|dim| dim as usize).collect();
    let number = |key: &str| input[key].as_u64().unwrap();
    let value = |at: usize| ((at as u64 * number("step") + number("start")) % 256) as f64 / 127.5 - 1.0;
    ((0..dims.iter().product()).map(|at| value(at) as f32).collect(), dims)
}

async fn output_of(engine: &Engine, input: &Value) -> ModelOutput {
    let more = More { hidden_states: input.get("hidden_states").is_some(), ..More::default() };
    if let Some(text) = input.get("input_ids") {
        let inputs = Inputs { ids: &ids(text), more, ..Inputs::default() };
        return engine.forward(inputs, &Abort::new()).await.unwrap();
    }
    let (pixels, dims) = pixels(input);
    engine.forward_image(&pixels, &dims, more, &Abort::new()).await.unwrap()
}

fn array<'a>(output: &'a ModelOutput, name: &str) -> Option<&'a Array> {
    match name {
        "logits" => output.logits.as_ref(),
        "text_embeds" => output.text_embeds.as_ref(),
        "image_embeds" => output.image_embeds.as_ref(),
        "last_hidden_state" => output.last_hidden_state.as_ref(),
        "pooler_output" => output.pooler_output.as_ref(),
        _ => panic!("{name}"),
    }
}

fn rows_of(array: &Array) -> Vec<Vec<f32>> {
    array.data.chunks(*array.dims.last().unwrap()).map(<[f32]>::to_vec).collect()
}

/// Rows of numbers; one row of a plain list.
fn rows(value: &Value) -> Vec<Vec<f64>> {
    let list = value.as_array().unwrap();
    let numbers = |row: &Value| row.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect();
    if list[0].is_array() { list.iter().map(numbers).collect() } else { vec![numbers(value)] }
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
async fn equals_torch(name: &str, task: Task, options: LoadOptions) {
    let key = Task::ALL.into_iter().find(|(_, known)| *known == task).unwrap().0;
    let golden = golden(&format!("vision/{name}/golden.json"));
    let engine = open(name, task, options).await;
    let inputs = golden["tasks"][key].as_array().unwrap();
    assert!(inputs.len() >= 4, "{name}");
    for input in inputs {
        let output = output_of(&engine, input).await;
        let kept: Vec<usize> = ids(&input["positions"]).into_iter().map(|at| at as usize).collect();
        let outputs = input["outputs"].as_object().unwrap();
        for key in ["logits", "text_embeds", "image_embeds", "last_hidden_state", "pooler_output"] {
            let what = format!("{name}, {}: {key}", input["name"]);
            let found = array(&output, key);
            assert_eq!(found.is_some(), outputs.contains_key(key), "{what}");
            let Some(found) = found else { continue };
            let per_token = key == "last_hidden_state";
            assert_eq!(found.dims.len(), if per_token { 2 } else { 1 }, "{what}");
            let all = rows_of(found);
            let found = if per_token { kept.iter().map(|at| all[*at].clone()).collect() } else { all };
            let limit = TOLERANCE * input["f16_error"][key]["max_abs"].as_f64().unwrap();
            close(&found, &rows(&outputs[key]), limit, &what);
        }
        if let Some(states) = input.get("hidden_states") {
            let states = states.as_array().unwrap();
            assert_eq!(output.hidden_states.len(), states.len(), "{name}: hidden states");
            for (layer, (found, expected)) in output.hidden_states.iter().zip(states).enumerate() {
                let all = rows_of(found);
                let found: Vec<_> = kept.iter().map(|at| all[*at].clone()).collect();
                let error = &input["f16_error"]["hidden_states"][layer]["max_abs"];
                let limit = TOLERANCE * error.as_f64().unwrap();
                close(&found, &rows(expected), limit, &format!("{name}: the hidden state {layer}"));
            }
        }
    }
    native::keeps_its_room(&engine, name);
}

#[test]
fn there_is_one_of_every_architecture_and_task() {
    use Task::{Base, ImageClassification, TextProjection, VisionProjection};
    let cases = cases();
    let of =
        |kind: &str| cases.iter().filter(|(name, _)| name.starts_with(kind)).map(|case| case.1).collect::<Vec<_>>();
    let (vit, clip) = (of("vit"), of("clip"));
    assert!(vit.contains(&Base) && vit.contains(&ImageClassification), "{vit:?}");
    assert!(clip.contains(&TextProjection) && clip.contains(&VisionProjection), "{clip:?}");
}

#[test]
fn images_and_their_texts_equal_torch() {
    for (name, task) in cases() {
        run(|options| async move { equals_torch(&name, task, options).await });
    }
}

#[test]
fn of_packed_halves_in_small_bindings_they_equal_torch() {
    for (name, task) in cases() {
        run(|mut options| async move {
            native::in_small_bindings(&mut options);
            equals_torch(&name, task, options).await;
        });
    }
}

#[test]
fn on_the_cpu_alone_they_equal_torch() {
    for (name, task) in cases() {
        run(|mut options| async move {
            options.placement.device_map = Some(DeviceMap::all(Device::Cpu));
            equals_torch(&name, task, options).await;
        });
    }
}

#[test]
fn half_on_the_gpu_they_equal_torch() {
    for (name, task) in cases() {
        // Every other block, the patches' too: the hidden state goes there and back.
        for first in [0, 1] {
            let name = name.clone();
            run(|mut options| async move {
                let whole = open(&name, task, native::options(options.spawn.clone())).await;
                let mut map = DeviceMap::all(Device::Gpu);
                let blocks = whole.blocks();
                blocks.iter().skip(first).step_by(2).for_each(|block| map.insert(&block.name, Device::Cpu));
                options.placement.device_map = Some(map);
                equals_torch(&name, task, options).await;
            });
        }
    }
}

#[test]
fn only_the_tower_that_is_asked_for_is_planned() {
    run(|options| async move {
        let spawn = options.spawn.clone();
        let vision = open("clip", Task::VisionProjection, options).await;
        let text = open("clip", Task::TextProjection, native::options(spawn)).await;
        assert_eq!(text.class(), "CLIPTextModelWithProjection");
        assert_eq!(vision.class(), "CLIPVisionModelWithProjection");
        assert!(text.blocks().iter().all(|block| block.name.starts_with("text_")), "{:?}", text.blocks()[0].name);
        assert!(text.loading_info().missing_keys.is_empty());
        assert!(text.loading_info().unexpected_keys.contains("visual_projection.weight"));
        assert!(vision.loading_info().missing_keys.is_empty());
        assert!(vision.loading_info().unexpected_keys.contains("logit_scale"));
    });
}

#[test]
fn what_is_no_image_of_the_models_is_refused_and_it_goes_on() {
    run(|options| async move {
        let spawn = options.spawn.clone();
        let vit = open("vit-image-classification", Task::ImageClassification, options).await;
        let abort = Abort::new();
        let error = vit.forward_image(&[0.0; 3 * 30 * 36], &[3, 30, 36], More::default(), &abort).await.unwrap_err();
        assert_eq!(error.code(), "PIXEL_VALUES");
        // Ids are nothing to it.
        let error = vit.forward(Inputs { ids: &[0; 26], ..Inputs::default() }, &abort).await.unwrap_err();
        assert_eq!(error.code(), "INPUT_IDS");
        let image = vec![0.0; 3 * 30 * 30];
        assert_eq!(vit.forward_image(&image, &[3, 30, 30], More::default(), &abort).await.unwrap().main().len(), 3);

        let text = open("clip-text", Task::TextProjection, native::options(spawn)).await;
        let error = text.forward_image(&image, &[3, 30, 30], More::default(), &abort).await.unwrap_err();
        assert_eq!(error.to_string(), "CLIPTextModelWithProjection reads input_ids and no pixel_values");
    });
}

#[test]
fn a_repo_of_both_towers_needs_both_configs() {
    run(|mut options| async move {
        options.task = Task::VisionProjection;
        options.weights = layerline::engine::WeightsSource::New;
        let json = serde_json::json!({"model_type": "clip", "text_config": {}});
        let config = layerline::config::ModelConfig::from_json("config", json.to_string().as_bytes()).unwrap();
        let repo = Rc::new(layerline::hub::MemoryRepo::new("new"));
        let error = Engine::load(repo, &config, Default::default(), options).await.err().unwrap();
        assert_eq!(error.to_string(), "config: `vision_config` is missing, expected an object");
    });
}

#[test]
fn a_tensor_is_read_without_a_model() {
    run(|_| async move {
        let repo = DirectoryRepo::new(format!("{ROOT}/clip"));
        let read = async |name: &str| read_small(&repo, &CatalogOptions::default(), name).await.unwrap();
        let scale = golden("vision/clip/golden.json")["logit_scale"].as_f64().unwrap();
        assert_eq!(read("logit_scale").await, Some(SmallTensor { shape: vec![], data: vec![scale as f32] }));
        let norm = read("vision_model.pre_layrnorm.weight").await.unwrap();
        assert_eq!((norm.shape, norm.data.len()), (vec![72], 72));
        assert_eq!(read("logit_bias").await, None);
    });
}
