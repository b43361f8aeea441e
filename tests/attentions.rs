//! By which shares tokens attend to each other: as torch has it, wherever the layers are.
#![cfg(all(feature = "engine", not(target_arch = "wasm32")))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "common/native.rs"]
mod native;

use layerline::engine::{Array, Engine, Inputs, LoadOptions, More};
use layerline::hub::Abort;
use layerline::placement::{Device, DeviceMap};
use native::{TOLERANCE, ids, open, run, run_cases, run_cases_shared_out};
use serde_json::Value;

async fn attentions(engine: &Engine, ids: &[u32]) -> Vec<Array> {
    let more = More { attentions: true, ..More::default() };
    let output = engine.forward(Inputs { ids, more, ..Inputs::default() }, &Abort::new()).await.unwrap();
    assert!(output.hidden_states.is_empty());
    output.attentions
}

async fn equal_torch(case: Value, options: LoadOptions) {
    let name = case["name"].as_str().unwrap();
    let engine = open(name, options).await;
    let found = attentions(&engine, &ids(&case["input_ids"])).await;
    let expected: Vec<Vec<Vec<Vec<f64>>>> = serde_json::from_value(case["attentions"].clone()).unwrap();
    assert_eq!(found.len(), expected.len(), "{name}");
    let limit = TOLERANCE * case["f16_error"]["max_abs"].as_f64().unwrap();
    for (layer, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(found.dims, [expected.len(), expected[0].len(), expected[0][0].len()], "{name}");
        for (found, expected) in found.data.iter().zip(expected.iter().flatten().flatten()) {
            let off = (f64::from(*found) - expected).abs();
            assert!(off <= limit, "{name}, layer {layer}: {found} instead of {expected}; {limit} is allowed");
        }
    }
    native::keeps_its_room(&engine, name);
    // Nothing is kept for those who don't ask.
    let inputs = Inputs { ids: &[5, 6, 7], ..Inputs::default() };
    assert!(engine.forward(inputs, &Abort::new()).await.unwrap().attentions.is_empty());
}

fn all_equal_torch(with: impl Fn(&mut LoadOptions)) {
    run_cases("attentions.json", with, equal_torch);
}

#[test]
fn attentions_equal_torch() {
    all_equal_torch(|_| {});
}

#[test]
fn attentions_on_the_cpu_alone_equal_torch() {
    all_equal_torch(|options| options.placement.device_map = Some(DeviceMap::all(Device::Cpu)));
}

#[test]
fn attentions_where_layers_come_and_go_equal_torch() {
    run_cases_shared_out("attentions.json", equal_torch);
}

/// A text that is read in several runs: the shares are those of one, each token's sum to one, and none is of what comes later.
#[test]
fn attentions_of_a_long_text_are_those_of_its_parts() {
    let text: Vec<u32> = (0..300).map(|i| 3 + i * 7 % 125).collect();
    for cpu in [false, true] {
        run(|mut options| {
            if cpu {
                options.placement.device_map = Some(DeviceMap::all(Device::Cpu));
            }
            let text = &text;
            async move {
                let engine = open("tiny/llama-f32", options).await;
                let (long, short) = (attentions(&engine, text).await, attentions(&engine, &text[..20]).await);
                for (long, short) in long.iter().zip(&short) {
                    assert_eq!(long.dims, [short.dims[0], 300, 300]);
                    for (row, shares) in long.data.chunks(300).enumerate() {
                        let (head, token) = (row / 300, row % 300);
                        assert!((shares.iter().sum::<f32>() - 1.0).abs() < 1e-4);
                        assert!(shares[token + 1..].iter().all(|share| *share == 0.0));
                        if token < 20 {
                            let own = &short.data[(head * 20 + token) * 20..][..20];
                            assert!(own.iter().zip(shares).all(|(a, b)| (a - b).abs() < 1e-5));
                        }
                    }
                }
            }
        });
    }
}
