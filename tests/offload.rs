//! Models larger than their share of the GPU: the same tokens, within the share.
#![cfg(all(feature = "engine", not(target_arch = "wasm32")))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "common/native.rs"]
mod native;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use layerline::engine::{Engine, LoadOptions, Placement};
use layerline::generation::Prompt;
use layerline::hub::{Abort, DirectoryRepo};
use layerline::placement::{Device, DeviceMap, MaxMemory};
use layerline::tensor::cpu::{Bench, CpuError, Crew, Hand, Matrix, Order};
use native::{golden, greedy, ids, load, run};

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

fn devices(engine: &Engine) -> Vec<Device> {
    engine.blocks().iter().map(|block| block.device).collect()
}

/// Bytes of the blocks that live on a device.
fn bytes_on(engine: &Engine, device: Device) -> u64 {
    engine.blocks().iter().filter(|block| block.device == device).map(|block| block.bytes).sum()
}

#[test]
fn a_share_of_the_gpu_gives_the_same_tokens_within_it() {
    // Tied and untied; weights that are turned, or put together row by row, each time they come.
    for name in ["llama-f32", "gemma3", "gpt2", "gpt_neox"] {
        run(|options| async move {
            let whole = load(repo(name), native::options(options.spawn.clone())).await.unwrap();
            tokens_are_torchs(&whole, name, "all on the GPU").await;
            let all = whole.weight_bytes();
            // Cache, activations, parameters, staging.
            let kept = whole.kept_bytes();
            let peak = whole.gpu().unwrap().usages().peak_bytes();
            assert!(peak <= all + kept, "{peak} of {all} and {kept}");
            assert_eq!(whole.device_map().iter().collect::<Vec<_>>(), [("", Device::Gpu)]);

            let largest = whole.blocks().iter().map(|block| block.bytes).max().unwrap();
            let least = largest * 100 / all + 1;
            let shares = [(100, None), (60, Some(30)), (least, Some(100)), (least, None)];
            let all_ways = shares.into_iter().flat_map(|shares| [(shares, None), (shares, Some(Device::Gpu))]);
            for ((gpu, cpu), execution_device) in all_ways {
                let share = |percent: u64| all * percent / 100;
                let budget = share(gpu) + kept;
                let max_memory = Some(MaxMemory { gpu: Some(budget), cpu: cpu.map(share) });
                let options = native::options(options.spawn.clone());
                let placement = Placement { max_memory, execution_device, ..Default::default() };
                let options = LoadOptions { placement, ..options };
                let engine = load(repo(name), options).await.unwrap();
                engine.ready().await.unwrap();
                let (devices, by) = (devices(&engine), execution_device);
                let what = format!("{gpu} % on the GPU, {cpu:?} % in CPU memory: {devices:?}, computed by {by:?}");
                tokens_are_torchs(&engine, name, &what).await;
                let peak = engine.gpu().unwrap().usages().peak_bytes();
                assert!(peak <= budget, "{what}: {peak} of {} and {kept}", share(gpu));
                let resident: u64 = engine.blocks().iter().map(|block| block.resident_bytes).sum();
                let computed = if by.is_none() { bytes_on(&engine, Device::Cpu) } else { 0 };
                assert_eq!(resident, bytes_on(&engine, Device::Gpu) + computed, "{what}: only what stays is there");
                // What is held is as the file has it.
                assert_eq!(engine.loader().held_bytes() > 0, bytes_on(&engine, Device::Cpu) > 0, "{what}");
                if gpu < 90 {
                    assert!(bytes_on(&engine, Device::Gpu) < all, "{what}");
                }
            }
        });
    }
}

/// Every block in CPU memory but those of `on_gpu`.
fn map(on_gpu: &[&str]) -> DeviceMap {
    let mut map = DeviceMap::all(Device::Cpu);
    on_gpu.iter().for_each(|module| map.insert(module, Device::Gpu));
    map
}

#[test]
fn layers_are_computed_on_either_device_in_any_order() {
    let all = ["model.embed_tokens", "model.layers.0", "model.layers.1", "model.norm", "lm_head"];
    for name in ["llama-f32", "gemma3", "llama-bf16-bias"] {
        for on_gpu in [&all[..1], &all[1..2], &all[2..3], &all[1..3], &all[3..], &all[..2]] {
            run(|mut options| async move {
                // A tied head is where the embeddings are.
                let tied = name == "llama-f32";
                let on_gpu: Vec<&str> = match tied && on_gpu.contains(&all[0]) != on_gpu.contains(&all[4]) {
                    true => on_gpu.iter().filter(|module| ![all[0], all[4]].contains(*module)).copied().collect(),
                    false => on_gpu.to_vec(),
                };
                options.placement.device_map = Some(map(&on_gpu));
                let engine = load(repo(name), options).await.unwrap();
                tokens_are_torchs(&engine, name, &format!("{on_gpu:?} on the GPU")).await;
                // The GPU has what lives there, and nothing else of the weights.
                let resident: u64 = engine.blocks().iter().map(|block| block.resident_bytes).sum();
                assert_eq!(resident, engine.weight_bytes(), "all is where it is to be");
            });
        }
    }
}

#[test]
fn many_tokens_go_to_a_gpu_that_is_faster_and_the_text_goes_on_on_the_cpu() {
    for name in ["llama-f32", "gemma3"] {
        run(|mut options| async move {
            options.placement.device_map = Some(map(&["model.layers.0"]));
            let engine = load(repo(name), options).await.unwrap();
            engine.ready().await.unwrap();
            // A GPU, and a way to it, that computes anything in no time.
            engine.rates().note_gpu(u64::MAX, 0, 1, 1.0);
            engine.rates().note_gpu(0, u64::MAX, 1, 1.0);
            tokens_are_torchs(&engine, name, "streamed and computed").await;
            let cpu = bytes_on(&engine, Device::Cpu);
            let peak = engine.gpu().unwrap().usages().peak_bytes();
            engine.rates().note_cpu(u64::MAX, 1 << 20, 1.0);
            tokens_are_torchs(&engine, name, "computed alone").await;
            assert!(engine.loader().held_bytes() >= cpu);
            assert!(peak > bytes_on(&engine, Device::Gpu));
            // The GPU has given back what was lent.
            let resident: u64 = engine.blocks().iter().map(|block| block.resident_bytes).sum();
            assert_eq!(resident, engine.weight_bytes());
            let logits = native::forward(&engine, &[1, 2, 3], &Abort::new()).await.unwrap();
            engine.rates().note_cpu(1, 1, 1.0e9);
            engine.rates().note_cpu(1, 1, 1.0e9);
            let streamed = native::forward(&engine, &[1, 2, 3], &Abort::new()).await.unwrap();
            let most = logits.iter().fold(0f32, |most, logit| most.max(logit.abs()));
            assert!(logits.iter().zip(&streamed).all(|(a, b)| (a - b).abs() < 0.01 * most), "{name}");
        });
    }
}

#[test]
fn where_computing_is_left_to_the_gpu_all_comes_to_it() {
    for name in ["llama-f32", "gemma3"] {
        run(|mut options| async move {
            options.placement.device_map = Some(DeviceMap::all(Device::Cpu));
            options.placement.execution_device = Some(Device::Gpu);
            let engine = load(repo(name), options).await.unwrap();
            tokens_are_torchs(&engine, name, "streamed").await;
            assert!(engine.blocks().iter().all(|block| block.resident_bytes == 0));
            // The weights of a layer come into the buffers that another one's were in.
            let gpu = engine.gpu().unwrap();
            let created = async || {
                let before = gpu.usages().created_bytes();
                native::forward(&engine, &[1, 2, 3], &Abort::new()).await.unwrap();
                gpu.usages().created_bytes() - before
            };
            created().await;
            let (again, all) = (created().await, engine.weight_bytes());
            assert!(again < all / 2, "{name}: {again} bytes of buffers for {all} of weights");
        });
    }
}

#[test]
fn what_comes_and_goes_is_read_from_its_file_once_where_cpu_memory_holds_it() {
    run(|options| async move {
        let mut map = DeviceMap::all(Device::Gpu);
        map.insert("model.layers.1", Device::Cpu);
        map.insert("model.layers.0", Device::Disk);
        let options = LoadOptions { placement: Placement { device_map: Some(map), ..Placement::default() }, ..options };
        let engine = load(repo("llama-f32"), options).await.unwrap();
        tokens_are_torchs(&engine, "llama-f32", "a map of its own").await;
        assert_eq!(devices(&engine), [Device::Gpu, Device::Disk, Device::Cpu, Device::Gpu, Device::Gpu]);
        // All came once, as far as progress goes.
        assert_eq!(engine.loader().loaded(), engine.loader().total());
        native::forward(&engine, &[1, 2, 3], &Abort::new()).await.unwrap();
        assert_eq!(engine.loader().loaded(), engine.loader().total());
    });
}

#[test]
fn an_offloaded_model_survives_the_loss_of_its_device() {
    run(|options| async move {
        let mut map = DeviceMap::all(Device::Gpu);
        map.insert("model.layers.1", Device::Cpu);
        let options = LoadOptions { placement: Placement { device_map: Some(map), ..Placement::default() }, ..options };
        let engine = load(repo("llama-bf16-bias"), options).await.unwrap();
        engine.ready().await.unwrap();
        engine.gpu().unwrap().lose();
        tokens_are_torchs(&engine, "llama-bf16-bias", "after a loss").await;
        assert_eq!(engine.device_losses(), 1);
    });
}

#[test]
fn a_share_that_is_too_small_is_said_with_what_is_needed() {
    for (max_memory, expected) in [
        (MaxMemory { gpu: Some(10_000), cpu: None }, "the GPU is given 10000 bytes (max_memory), but"),
        (MaxMemory { gpu: None, cpu: Some(1 << 30) }, "the GPU is given 0 bytes"),
    ] {
        run(|options| async move {
            let (max_memory, execution_device) = (Some(max_memory), Some(Device::Gpu));
            let placement = Placement { max_memory, execution_device, ..Default::default() };
            let error = load(repo("llama-f32"), LoadOptions { placement, ..options }).await.err().unwrap();
            assert_eq!(error.code(), "DEVICE_MAP");
            assert!(error.to_string().contains(expected), "{error}");
        });
    }
    for (key, expected) in [("model.layers.0.mlp", "splits model.layers.0"), ("model.layers.7", "names model.layers.7")]
    {
        run(|options| async move {
            let mut map = DeviceMap::all(Device::Gpu);
            map.insert(key, Device::Cpu);
            let placement = Placement { device_map: Some(map), ..Placement::default() };
            let error = load(repo("llama-f32"), LoadOptions { placement, ..options }).await.err().unwrap();
            assert!(error.to_string().contains(expected), "{error}");
        });
    }
}

#[test]
fn a_gpu_that_is_full_gets_less_of_the_model() {
    for name in ["llama-f32", "gemma3"] {
        run(|options| async move {
            let whole = load(repo(name), native::options(options.spawn.clone())).await.unwrap();
            tokens_are_torchs(&whole, name, "all on the GPU").await;
            let usages = whole.gpu().unwrap().usages().clone();
            let (all, most) = (whole.weight_bytes(), usages.bytes());
            drop(whole);
            // The cache and activations take as much again.
            for room in [most - all / 10, most - all / 2] {
                let mut options = native::options(options.spawn.clone());
                options.gpu.room = Some(room);
                let engine = load(repo(name), options).await.unwrap();
                let what = format!("{room} of {most} bytes");
                let ready = engine.ready().await;
                assert!(ready.is_ok(), "{what}: {ready:?}");
                tokens_are_torchs(&engine, name, &what).await;
                assert!(engine.gpu().unwrap().usages().peak_bytes() <= room, "{what}");
                let [gpu, cpu] = [Device::Gpu, Device::Cpu].map(|device| bytes_on(&engine, device));
                assert!(gpu + cpu == all && cpu > 0, "{what}: {gpu} on the GPU, {cpu} in CPU memory");
            }
            // Where each module is was said: nothing else is tried.
            let mut options = native::options(options.spawn.clone());
            options.gpu.room = Some(all / 2);
            options.placement.device_map = Some(DeviceMap::all(Device::Gpu));
            let engine = load(repo(name), options).await.unwrap();
            assert_eq!(engine.ready().await.unwrap_err().code(), "OUT_OF_MEMORY");
        });
    }
}

#[test]
fn two_calls_that_find_the_gpu_full_go_on_together() {
    run(|mut options| async move {
        let name = "llama-f32";
        options.gpu.room = Some(300_000);
        let engine = load(repo(name), options).await.unwrap();
        let abort = Abort::new();
        let (first, second) =
            futures_util::future::join(engine.ready(), native::forward(&engine, &[1, 2, 3], &abort)).await;
        first.unwrap();
        second.unwrap();
        tokens_are_torchs(&engine, name, "after both").await;
    });
}

/// Several threads that have parts of every matrix, however small: the same tokens, on the CPU alone, where layers come to the GPU
/// for a prompt, and where they come from the disk.
#[test]
fn threads_that_share_the_weights_give_the_same_tokens() {
    // Weights that lie row by row and column by column, tied tables whose rows are read too, experts that come one by one.
    for name in ["llama-f32", "gpt2", "qwen3_moe", "qwen3-int4-zeros"] {
        for (threads, share) in [(3, None), (2, Some((60, 30)))] {
            run(|mut options| async move {
                let whole = load(repo(name), native::options(options.spawn.clone())).await.unwrap();
                let (all, kept) = (whole.weight_bytes(), whole.kept_bytes());
                options.hire = Some(Rc::new(move || {
                    Box::pin(async move { Some(Rc::new(Crew::of_threads(threads, 0).unwrap())) })
                }));
                let max_memory = |(gpu, cpu): (u64, u64)| {
                    let share = |percent: u64| all * percent / 100 + 1;
                    MaxMemory { gpu: Some(share(gpu) + kept), cpu: Some(share(cpu)) }
                };
                match share {
                    None => options.placement.device_map = Some(DeviceMap::all(Device::Cpu)),
                    share => options.placement.max_memory = share.map(max_memory),
                }
                let engine = load(repo(name), options).await.unwrap();
                let on_cpu = bytes_on(&engine, Device::Cpu) > 0;
                assert_eq!(engine.threads(), if on_cpu { threads + 1 } else { 1 });
                tokens_are_torchs(&engine, name, &format!("{threads} threads beside it, {share:?}")).await;
            });
        }
    }
}

/// A hand that works at once, and has room for so many bytes.
struct Small {
    bench: RefCell<Bench>,
    has: RefCell<HashMap<u32, u64>>,
    most: u64,
    answer: RefCell<Result<Vec<u8>, CpuError>>,
}

impl Hand for Small {
    fn room(&self) -> usize {
        1 << 20
    }

    fn tell(&self, order: &Order, given: &[u8]) {
        let mut has = self.has.borrow_mut();
        match order {
            Order::Make { id, rows, cols, storage } => {
                has.insert(*id, Matrix::bytes_of(rows.len(), *cols, *storage));
            }
            Order::Drop { id } => drop(has.remove(id)),
            _ => {}
        }
        let bytes: u64 = has.values().sum();
        let full = matches!(order, Order::Make { .. }) && bytes > self.most;
        let mut answer = Vec::new();
        let done = match full {
            true => Err(CpuError::OutOfMemory { what: "a test".to_owned(), bytes }),
            false => self.bench.borrow_mut().obey(order, given, &mut answer),
        };
        *self.answer.borrow_mut() = done.map(|()| answer);
    }

    fn wait(&self, answer: &mut [u8]) -> Result<(), CpuError> {
        let bytes = self.answer.replace(Ok(Vec::new()))?;
        answer.iter_mut().zip(&bytes).for_each(|(to, from)| *to = *from);
        Ok(())
    }
}

/// CPU memory that turns out to be full has less of the model, and the rest comes from the disk.
#[test]
fn cpu_memory_that_is_full_gets_less_of_the_model() {
    for name in ["llama-f32", "gemma3"] {
        for gpu in [0, 40] {
            run(|options| async move {
                let whole = load(repo(name), native::options(options.spawn.clone())).await.unwrap();
                let (all, kept) = (whole.weight_bytes(), whole.kept_bytes());
                let open = async |max_memory, device_map| {
                    let mut options = native::options(options.spawn.clone());
                    options.placement = Placement { max_memory, device_map, ..Placement::default() };
                    options.hire = Some(Rc::new(move || {
                        let (bench, has) = Default::default();
                        let small = Small { bench, has, most: all / 5, answer: RefCell::new(Ok(Vec::new())) };
                        Box::pin(async move { Some(Rc::new(Crew::new(vec![Box::new(small)], 0))) })
                    }));
                    load(repo(name), options).await.unwrap()
                };
                let kept = if gpu > 0 { kept } else { 0 };
                let max_memory = MaxMemory { gpu: Some(all * gpu / 100 + kept), cpu: Some(u64::MAX) };
                let engine = open(Some(max_memory), None).await;
                let what = format!("{gpu} % on the GPU");
                engine.ready().await.unwrap();
                tokens_are_torchs(&engine, name, &what).await;
                let [on_cpu, on_disk] = [Device::Cpu, Device::Disk].map(|device| bytes_on(&engine, device));
                assert!(on_disk > 0, "{what}: {on_cpu} in CPU memory, {on_disk} on disk");
                // Where each module is was said: nothing else is tried.
                let engine = open(None, Some(DeviceMap::all(Device::Cpu))).await;
                assert_eq!(engine.ready().await.unwrap_err().code(), "CPU_OUT_OF_MEMORY");
            });
        }
    }
}

/// A text takes room that weights had: layers that were on the GPU go to CPU memory, the others stay where they are, and the share is
/// kept.
#[test]
fn weights_make_room_for_a_text_that_grows() {
    for name in ["llama-f32", "gemma3"] {
        run(|options| async move {
            let whole = load(repo(name), native::options(options.spawn.clone())).await.unwrap();
            let (all, kept) = (whole.weight_bytes(), whole.kept_bytes());
            let largest = whole.blocks().iter().map(|block| block.bytes).max().unwrap();
            // Twice the largest: one that comes and goes must have room.
            let budget = kept + all + largest;
            let open = async |by| {
                let max_memory = Some(MaxMemory { gpu: Some(budget), cpu: Some(u64::MAX) });
                let mut options = native::options(options.spawn.clone());
                options.placement = Placement { max_memory, execution_device: by, ..Default::default() };
                load(repo(name), options).await.unwrap()
            };
            let logits = |engine: Rc<Engine>, tokens: u32| async move {
                let ids: Vec<u32> = (0..tokens).map(|token| token % 50 + 1).collect();
                engine.next_logits(Prompt::of(&ids), &Abort::new()).await.unwrap()
            };
            // While the weights are still coming,
            let engine = Rc::new(open(None).await);
            logits(engine.clone(), 700).await;
            let peak = engine.gpu().unwrap().usages().peak_bytes();
            assert!(peak <= budget && bytes_on(&engine, Device::Cpu) > 0, "{name}: {peak} of {budget}");
            tokens_are_torchs(&engine, name, "after a text that came before the weights").await;
            // and when they are there.
            let engine = Rc::new(open(None).await);
            tokens_are_torchs(&engine, name, "before").await;
            assert!(devices(&engine).iter().all(|device| *device == Device::Gpu), "{name}");
            let read = engine.loader().loaded();
            let found = logits(engine.clone(), 700).await;
            let expected = logits(Rc::new(whole), 700).await;
            let most = expected.iter().fold(0f32, |most, logit| most.max(logit.abs()));
            assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 0.01 * most), "{name}");
            assert!(engine.kept_bytes() > kept && bytes_on(&engine, Device::Cpu) > 0, "{name}: {:?}", devices(&engine));
            let peak = engine.gpu().unwrap().usages().peak_bytes();
            assert!(peak <= budget, "{name}: {peak} of {budget}");
            assert_eq!(engine.loader().loaded(), read, "{name}: what was there comes as no progress");
            tokens_are_torchs(&engine, name, "after").await;
            // A pass that gives more asks for more room.
            let before = engine.kept_bytes();
            native::forward(&engine, &[1, 2, 3], &Abort::new()).await.unwrap();
            let (peak, now) = (engine.gpu().unwrap().usages().peak_bytes(), engine.kept_bytes());
            let has_some = bytes_on(&engine, Device::Gpu) > 0;
            assert!(peak <= budget && (now > before || !has_some), "{name}: {peak} of {budget}, {now} after {before}");
            tokens_are_torchs(&engine, name, "after all of a text's logits").await;

            // What has room beside the weights moves nothing: the text goes on from what was read of it.
            let max_memory = Some(MaxMemory { gpu: Some(all + 2 * kept), cpu: Some(u64::MAX) });
            let mut options = native::options(options.spawn.clone());
            options.placement = Placement { max_memory, ..Default::default() };
            let engine = Rc::new(load(repo(name), options).await.unwrap());
            logits(engine.clone(), 200).await;
            logits(engine.clone(), 300).await;
            assert!(engine.kept_bytes() > kept && bytes_on(&engine, Device::Cpu) == 0, "{name}");
            assert_eq!(engine.timings().prefilled.get(), 300, "{name}");

            // Where all is to be computed on the GPU, there may not be so much: that is said, and shorter texts go on.
            let engine = Rc::new(open(Some(Device::Gpu)).await);
            let ids = vec![1; 100_000];
            let error = engine.next_logits(Prompt::of(&ids), &Abort::new()).await.unwrap_err();
            assert_eq!(error.code(), "DEVICE_MAP", "{error}");
            tokens_are_torchs(&engine, name, "after a text that is too long").await;
        });
    }
}
