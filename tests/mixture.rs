//! Mixtures of experts: the tokens that torch gives wherever the experts live, and no bytes of those that nobody needs.
#![cfg(all(feature = "engine", not(target_arch = "wasm32")))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "common/native.rs"]
mod native;

use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;

use layerline::engine::{BlockState, Engine, Inputs, LoadOptions, More, Placement};
use layerline::generation::Prompt;
use layerline::hub::{Abort, DirectoryRepo};
use layerline::placement::{Device, DeviceMap, MaxMemory};
use layerline::weights::store::State;
use native::{TOLERANCE, Watched, golden, greedy, ids, load, run};

/// By names, the module of a layer's experts, and to how many of them a token is routed.
const TINY: [(&str, &str, usize); 4] = [
    ("mixtral", "block_sparse_moe.experts", 2),
    ("olmoe", "mlp.experts", 3),
    ("qwen3_moe", "mlp.experts", 2),
    ("qwen3_moe-plain", "mlp.experts", 1),
];

fn repo(name: &str) -> Rc<DirectoryRepo> {
    Rc::new(DirectoryRepo::new(format!("{}/tests/goldens/tiny/{name}", env!("CARGO_MANIFEST_DIR"))))
}

/// The golden's tokens, for both of its prompts.
async fn tokens_are_torchs(engine: &Engine, name: &str, what: &str) {
    for input in golden(&format!("tiny/{name}/golden.json"))["inputs"].as_array().unwrap() {
        let (prompt, expected) = (ids(&input["input_ids"]), ids(&input["greedy"]));
        let new = engine.generate(&prompt, &greedy(expected.len()), &mut |_| true, &Abort::new()).await.unwrap();
        assert_eq!(new, expected, "{name}: {what}");
    }
}

fn is_expert(block: &BlockState) -> bool {
    block.name.contains(".experts.")
}

/// The layer that an expert is in.
fn layer_of(block: &BlockState) -> &str {
    block.name.split("layers.").nth(1).unwrap().split('.').next().unwrap()
}

fn experts(engine: &Engine) -> Vec<BlockState> {
    engine.blocks().into_iter().filter(is_expert).collect()
}

/// Of the experts of each layer that has some, how many have been asked for.
fn come(engine: &Engine) -> Vec<usize> {
    let experts = experts(engine);
    let layers: BTreeSet<&str> = experts.iter().map(layer_of).collect();
    let of = |layer| experts.iter().filter(move |one| layer_of(one) == layer && one.state != State::Absent).count();
    layers.into_iter().map(of).collect()
}

/// A map that has layers' experts elsewhere than all the rest.
fn with_experts_on(device: Device, rest: Device, module: &str, layers: Range<usize>) -> DeviceMap {
    let mut map = DeviceMap::all(rest);
    layers.for_each(|layer| map.insert(&format!("model.layers.{layer}.{module}"), device));
    map
}

#[test]
fn an_expert_comes_when_a_token_is_first_routed_to_it() {
    for (name, _, per_token) in TINY {
        for device in [Device::Gpu, Device::Cpu] {
            for prefetch in [true, false] {
                run(|options| async move {
                    let placement = Placement { device_map: Some(DeviceMap::all(device)), ..Placement::default() };
                    let repo = Rc::new(Watched::new(repo(name)));
                    let engine = load(repo.clone(), LoadOptions { prefetch, placement, ..options }).await.unwrap();
                    let what = format!("{name} on {device:?}, prefetch {prefetch}");
                    assert!(come(&engine).iter().all(|come| *come == 0), "{what}");
                    engine.next_logits(Prompt::of(&[7]), &Abort::new()).await.unwrap();
                    assert!(come(&engine).iter().all(|come| *come == per_token), "{what}: {:?}", come(&engine));
                    // Nothing was asked for of those that have not come, and of all others all.
                    let (here, absent): (Vec<_>, Vec<_>) =
                        engine.blocks().into_iter().partition(|block| block.state == State::Resident);
                    assert!(absent.iter().all(|block| is_expert(block) && block.resident_bytes == 0), "{what}");
                    let bytes: u64 = here.iter().map(|block| block.resident_bytes).sum();
                    assert_eq!(bytes, here.iter().map(|block| block.bytes).sum::<u64>(), "{what}");
                    let (asked, total) = (repo.asked.get(), engine.loader().total());
                    assert_eq!(asked, total - bytes_of_an_expert(name) * absent.len() as u64, "{what}: of {total}");
                    assert_eq!(engine.loader().loaded(), asked, "{what}");

                    // The same token again brings nothing.
                    engine.next_logits(Prompt::of(&[7]), &Abort::new()).await.unwrap();
                    assert_eq!(repo.asked.get(), asked, "{what}");
                    // Who asks for all gets all, and once.
                    engine.ready().await.unwrap();
                    assert_eq!((repo.asked.get(), engine.loader().loaded()), (total, total), "{what}");
                    tokens_are_torchs(&engine, name, &what).await;
                });
            }
        }
    }
}

/// Bytes of an expert in its files, which have halves.
fn bytes_of_an_expert(name: &str) -> u64 {
    let text = std::fs::read(format!("{}/tests/goldens/tiny/{name}/config.json", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let width = config.get("moe_intermediate_size").unwrap_or(&config["intermediate_size"]).as_u64().unwrap();
    3 * config["hidden_size"].as_u64().unwrap() * width * 2
}

#[test]
fn experts_run_wherever_they_live() {
    for (name, module, _) in TINY {
        use Device::{Cpu, Disk, Gpu};
        for (experts, rest) in [(Cpu, Gpu), (Gpu, Cpu), (Disk, Gpu), (Disk, Cpu), (Gpu, Disk)] {
            run(|options| async move {
                // Not those of layer 1, which follow their layer; of qwen3_moe-plain it has none.
                let mut map = with_experts_on(experts, rest, module, 0..1);
                if name == "qwen3_moe" {
                    map = with_experts_on(experts, rest, module, 1..2);
                }
                let placement = Placement { device_map: Some(map), ..Placement::default() };
                let engine = load(repo(name), LoadOptions { placement, ..options }).await.unwrap();
                tokens_are_torchs(&engine, name, &format!("experts on {experts:?}, the rest on {rest:?}")).await;
                let here = |block: &BlockState| block.resident_bytes > 0;
                let gone = engine.blocks().into_iter().filter(|block| block.device == Disk).filter(here).count();
                assert_eq!(gone, 0, "{name}: what comes and goes has gone");
            });
        }
    }
}

#[test]
fn experts_of_one_layer_may_live_apart() {
    run(|options| async move {
        let mut map = DeviceMap::all(Device::Gpu);
        for (expert, device) in [(0, Device::Cpu), (1, Device::Disk), (3, Device::Cpu)] {
            (0..2).for_each(|layer| {
                map.insert(&format!("model.layers.{layer}.block_sparse_moe.experts.{expert}"), device)
            });
        }
        let placement = Placement { device_map: Some(map.clone()), ..Placement::default() };
        let engine = load(repo("mixtral"), LoadOptions { placement, ..options }).await.unwrap();
        tokens_are_torchs(&engine, "mixtral", "experts of one layer apart").await;
        assert_eq!(engine.device_map(), map);
        let devices: Vec<Device> = experts(&engine).iter().take(5).map(|one| one.device).collect();
        assert_eq!(devices, [Device::Cpu, Device::Disk, Device::Gpu, Device::Cpu, Device::Gpu]);
    });
    run(|options| async move {
        let mut map = DeviceMap::all(Device::Gpu);
        map.insert("model.layers.0.block_sparse_moe.experts.2.w1", Device::Cpu);
        let placement = Placement { device_map: Some(map), ..Placement::default() };
        let error = load(repo("mixtral"), LoadOptions { placement, ..options }).await.err().unwrap();
        assert!(error.to_string().contains("splits model.layers.0.block_sparse_moe.experts.2,"), "{error}");
    });
}

#[test]
fn a_share_of_the_gpu_has_whole_layers_and_gives_the_same_tokens_within_it() {
    for name in ["mixtral", "qwen3_moe"] {
        run(|options| async move {
            let whole = load(repo(name), native::options(options.spawn.clone())).await.unwrap();
            tokens_are_torchs(&whole, name, "all on the GPU").await;
            whole.ready().await.unwrap();
            let all = whole.weight_bytes();
            let kept = whole.kept_bytes();
            let peak = whole.gpu().unwrap().usages().peak_bytes();
            assert!(peak <= all + kept, "{name}: {peak} of {all} and {kept}");
            for (gpu, cpu) in [(100, None), (75, Some(30)), (70, Some(100)), (70, None)] {
                for execution_device in [None, Some(Device::Gpu)] {
                    let share = |percent: u64| all * percent / 100;
                    let max_memory = Some(MaxMemory { gpu: Some(share(gpu) + kept), cpu: cpu.map(share) });
                    let placement = Placement { max_memory, execution_device, ..Default::default() };
                    let options = LoadOptions { placement, ..native::options(options.spawn.clone()) };
                    let engine = load(repo(name), options).await.unwrap();
                    let what = format!("{gpu} % on the GPU, {cpu:?} % in CPU memory, computed by {execution_device:?}");
                    tokens_are_torchs(&engine, name, &what).await;
                    let peak = engine.gpu().unwrap().usages().peak_bytes();
                    assert!(peak <= share(gpu) + kept, "{name}: {what}: {peak} of {} and {kept}", share(gpu));
                    // accelerate doesn't split a layer.
                    let blocks = engine.blocks();
                    for expert in blocks.iter().filter(|block| is_expert(block)) {
                        let own = format!("model.layers.{}", layer_of(expert));
                        let of_layer = blocks.iter().find(|block| block.name == own).unwrap();
                        assert_eq!(expert.device, of_layer.device, "{name}: {what}: {}", expert.name);
                    }
                    let on_gpu: u64 =
                        blocks.iter().filter(|block| block.device == Device::Gpu).map(|block| block.bytes).sum();
                    assert_eq!(on_gpu < all, gpu < 100, "{name}: {what}");
                }
            }
        });
    }
}

#[test]
fn hidden_states_equal_torchs() {
    for (name, module, _) in TINY {
        for device_map in [
            DeviceMap::all(Device::Gpu),
            DeviceMap::all(Device::Cpu),
            with_experts_on(Device::Cpu, Device::Gpu, module, 0..1),
        ] {
            if name == "qwen3_moe" && device_map.iter().count() > 1 {
                continue;
            }
            run(|options| async move {
                let placement = Placement { device_map: Some(device_map), ..Placement::default() };
                let engine = load(repo(name), LoadOptions { placement, ..options }).await.unwrap();
                for input in golden(&format!("tiny/{name}/golden.json"))["inputs"].as_array().unwrap() {
                    let ids = ids(&input["input_ids"]);
                    let more = More { hidden_states: true, ..More::default() };
                    let inputs = Inputs { ids: &ids, more, ..Inputs::default() };
                    let output = engine.forward(inputs, &Abort::new()).await.unwrap();
                    let expected = input["hidden_states"].as_array().unwrap();
                    assert_eq!(output.hidden_states.len(), expected.len(), "{name}");
                    let errors = input["hidden_states_f16_error"].as_array().unwrap();
                    for ((found, expected), error) in output.hidden_states.iter().zip(expected).zip(errors) {
                        let (expected, width) = (expected.as_array().unwrap(), found.dims[1]);
                        assert_eq!((found.dims[0], width), (ids.len(), expected.len()), "{name}");
                        // The golden has eight digits.
                        let limit = TOLERANCE * error.as_f64().unwrap() + 1e-6;
                        for (found, expected) in found.data[found.data.len() - width..].iter().zip(expected) {
                            let off = (f64::from(*found) - expected.as_f64().unwrap()).abs();
                            assert!(off <= limit, "{name}: {off} off; {limit} is allowed");
                        }
                    }
                }
            });
        }
    }
}

/// The last experts may have run elsewhere than the attention before them.
#[test]
fn attentions_are_the_same_wherever_experts_run() {
    use Device::{Cpu, Gpu};
    let module = "block_sparse_moe.experts";
    let [mixed, turned] = [(Cpu, Gpu), (Gpu, Cpu)].map(|(experts, rest)| with_experts_on(experts, rest, module, 0..2));
    let mut all = Vec::new();
    for map in [DeviceMap::all(Gpu), DeviceMap::all(Cpu), mixed, turned] {
        let all = &mut all;
        run(|options| async move {
            let placement = Placement { device_map: Some(map), ..Placement::default() };
            let engine = load(repo("mixtral"), LoadOptions { placement, ..options }).await.unwrap();
            let more = More { attentions: true, ..More::default() };
            let inputs = Inputs { ids: &[5, 6, 7, 8, 9], more, ..Inputs::default() };
            all.push(engine.forward(inputs, &Abort::new()).await.unwrap().attentions);
        });
    }
    for other in &all[1..] {
        assert_eq!(other.len(), 2);
        for (one, other) in all[0].iter().zip(other) {
            assert_eq!(one.dims, other.dims);
            assert!(one.data.iter().zip(&other.data).all(|(a, b)| (a - b).abs() < 0.01));
            assert!(one.data.iter().all(|weight| (0.0..=1.0).contains(weight)));
        }
    }
}

#[test]
fn many_tokens_go_to_a_gpu_that_is_faster_and_their_experts_too() {
    for (name, ..) in TINY {
        run(|mut options| async move {
            let mut map = DeviceMap::all(Device::Cpu);
            map.insert("model.layers.0", Device::Gpu);
            options.placement.device_map = Some(map);
            let engine = load(repo(name), options).await.unwrap();
            // A GPU, and a way to it, that computes anything in no time.
            engine.rates().note_gpu(u64::MAX, 0, 1, 1.0);
            engine.rates().note_gpu(0, u64::MAX, 1, 1.0);
            tokens_are_torchs(&engine, name, "streamed and computed").await;
        });
    }
}

#[test]
fn a_mixture_survives_the_loss_of_its_device() {
    run(|options| async move {
        let engine = load(repo("qwen3_moe"), options).await.unwrap();
        engine.next_logits(Prompt::of(&[1, 2, 3]), &Abort::new()).await.unwrap();
        engine.gpu().unwrap().lose();
        tokens_are_torchs(&engine, "qwen3_moe", "after a loss").await;
        assert_eq!(engine.device_losses(), 1);
    });
}

#[test]
fn a_gpu_that_is_full_when_an_expert_comes_gets_less_of_the_model() {
    run(|options| async move {
        let whole = load(repo("mixtral"), native::options(options.spawn.clone())).await.unwrap();
        tokens_are_torchs(&whole, "mixtral", "all on the GPU").await;
        let (all, most) = (whole.weight_bytes(), whole.gpu().unwrap().usages().bytes());
        drop(whole);
        let mut options = native::options(options.spawn.clone());
        options.gpu.room = Some(most - all / 10);
        let engine = load(repo("mixtral"), options).await.unwrap();
        tokens_are_torchs(&engine, "mixtral", "with less room").await;
        assert!(engine.blocks().iter().any(|block| block.device == Device::Cpu));
    });
}

/// On a software device, which normalises queries and keys apart from attention, and with heads of 12 appends them so too.
#[test]
fn a_decoded_token_costs_its_own_experts_and_makes_nothing_new_once_they_have_run() {
    // Layers with experts, two of those in each, layers without; embeddings, norm, head, the choice.
    for (name, expected) in [("mixtral", 2 * (9 + 2 * 4) + 5), ("qwen3_moe", 2 * (9 + 2 * 4) + 2 * 6 + 5)] {
        run(|options| async move {
            let engine = load(repo(name), options).await.unwrap();
            let usages = engine.gpu().unwrap().usages().clone();
            let mut counts = Vec::new();
            for _ in 0..2 {
                counts.clear();
                let mut count = |_| {
                    counts.push(usages.buffers());
                    true
                };
                engine.generate(&[1, 2, 3], &greedy(12), &mut count, &Abort::new()).await.unwrap();
            }
            // What logits are read back by comes with the first token.
            assert!(counts[1..].iter().all(|buffers| *buffers == counts[1]), "{name}: {counts:?}");
            assert_eq!(engine.timings().dispatches.get(), expected, "{name}");
        });
    }
}

/// Prompts of more tokens than run at a time, whose chunks have experts of their own.
#[test]
fn a_prompt_of_several_chunks_is_the_same_in_either_memory() {
    let prompt: Vec<u32> = (0..300).map(|at| 3 + at * 7 % 120).collect();
    let mut found = Vec::new();
    for device in [Device::Gpu, Device::Cpu] {
        run(|mut options| {
            let (prompt, found) = (&prompt, &mut found);
            options.placement.device_map = Some(DeviceMap::all(device));
            async move {
                let engine = load(repo("mixtral"), options).await.unwrap();
                found.push(engine.next_logits(Prompt::of(prompt), &Abort::new()).await.unwrap());
            }
        });
    }
    let most = found[0].iter().fold(0f32, |most, logit| most.max(logit.abs()));
    assert!(found[0].iter().zip(&found[1]).all(|(a, b)| (a - b).abs() < 0.02 * most));
}
