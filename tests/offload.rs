//! Models larger than their share of the GPU: the same tokens, within the share.
#![cfg(all(feature = "engine", not(target_arch = "wasm32")))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "common/native.rs"]
mod native;

use std::rc::Rc;

use layerline::engine::{Engine, LoadOptions, Placement};
use layerline::generation::GenerateOptions;
use layerline::hub::{Abort, DirectoryRepo};
use layerline::placement::{Device, DeviceMap, MaxMemory};
use native::{golden, ids, load, run};

fn repo(name: &str) -> Rc<DirectoryRepo> {
    Rc::new(DirectoryRepo::new(format!("{}/tests/goldens/tiny/{name}", env!("CARGO_MANIFEST_DIR"))))
}

fn options(count: usize) -> GenerateOptions {
    GenerateOptions { max_new_tokens: Some(count), do_sample: Some(false), ..Default::default() }
}

/// The golden's tokens, for both of its prompts.
async fn tokens_are_torchs(engine: &Engine, name: &str, what: &str) {
    for input in golden(&format!("tiny/{name}/golden.json"))["inputs"].as_array().unwrap() {
        let (prompt, expected) = (ids(&input["input_ids"]), ids(&input["greedy"]));
        let new = engine.generate(&prompt, &options(expected.len()), &mut |_| true, &Abort::new()).await.unwrap();
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
            // Cache, activations, parameters.
            let beside = whole.gpu().usages().bytes() - all;
            assert_eq!(whole.device_map().iter().collect::<Vec<_>>(), [("", Device::Gpu)]);

            let largest = whole.blocks().iter().map(|block| block.bytes).max().unwrap();
            let least = largest * 100 / all + 1;
            for (gpu, cpu) in [(100, None), (60, Some(30)), (least, Some(100)), (least, None)] {
                let share = |percent: u64| all * percent / 100;
                let max_memory = Some(MaxMemory { gpu: Some(share(gpu)), cpu: cpu.map(share) });
                let options = native::options(options.spawn.clone());
                let options = LoadOptions { placement: Placement { max_memory, ..Default::default() }, ..options };
                let engine = load(repo(name), options).await.unwrap();
                engine.ready().await.unwrap();
                let what = format!("{gpu} % on the GPU, {cpu:?} % in CPU memory: {:?}", devices(&engine));
                tokens_are_torchs(&engine, name, &what).await;
                let peak = engine.gpu().usages().peak_bytes();
                // Weights that come again pass through staging buffers again.
                let beside = beside + engine.loader().peak_staging();
                assert!(peak <= share(gpu) + beside, "{what}: {peak} of {} and {beside}", share(gpu));
                let resident: u64 = engine.blocks().iter().map(|block| block.resident_bytes).sum();
                assert_eq!(resident, bytes_on(&engine, Device::Gpu), "{what}: only what stays is there");
                // What is held is as the file has it.
                assert_eq!(engine.loader().held_bytes() > 0, bytes_on(&engine, Device::Cpu) > 0, "{what}");
                if gpu < 90 {
                    assert!(resident < all, "{what}");
                }
            }
        });
    }
}

#[test]
fn what_comes_and_goes_is_read_from_its_file_once_where_cpu_memory_holds_it() {
    run(|options| async move {
        let mut map = DeviceMap::all(Device::Gpu);
        map.insert("model.layers.1", Device::Cpu);
        map.insert("model.layers.0", Device::Disk);
        let options = LoadOptions { placement: Placement { device_map: Some(map), max_memory: None }, ..options };
        let engine = load(repo("llama-f32"), options).await.unwrap();
        tokens_are_torchs(&engine, "llama-f32", "a map of its own").await;
        assert_eq!(devices(&engine), [Device::Gpu, Device::Disk, Device::Cpu, Device::Gpu, Device::Gpu]);
        // All came once, as far as progress goes.
        assert_eq!(engine.loader().loaded(), engine.loader().total());
        engine.forward(&[1, 2, 3], &Abort::new()).await.unwrap();
        assert_eq!(engine.loader().loaded(), engine.loader().total());
    });
}

#[test]
fn an_offloaded_model_survives_the_loss_of_its_device() {
    run(|options| async move {
        let mut map = DeviceMap::all(Device::Gpu);
        map.insert("model.layers.1", Device::Cpu);
        let options = LoadOptions { placement: Placement { device_map: Some(map), max_memory: None }, ..options };
        let engine = load(repo("llama-bf16-bias"), options).await.unwrap();
        engine.ready().await.unwrap();
        engine.gpu().lose();
        tokens_are_torchs(&engine, "llama-bf16-bias", "after a loss").await;
        assert_eq!(engine.device_losses(), 1);
    });
}

#[test]
fn a_share_that_is_too_small_is_said_with_what_is_needed() {
    for (max_memory, expected) in [
        (MaxMemory { gpu: Some(10_000), cpu: None }, "the GPU is given 10000 bytes of weights (max_memory), but"),
        (MaxMemory { gpu: None, cpu: Some(1 << 30) }, "the GPU is given 0 bytes"),
    ] {
        run(|options| async move {
            let placement = Placement { max_memory: Some(max_memory), ..Default::default() };
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
            let placement = Placement { device_map: Some(map), max_memory: None };
            let error = load(repo("llama-f32"), LoadOptions { placement, ..options }).await.err().unwrap();
            assert!(error.to_string().contains(expected), "{error}");
        });
    }
}
