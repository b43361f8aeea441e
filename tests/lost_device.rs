//! A device that is lost at any moment of a load or a generation: another takes its place, and the tokens are the same.
#![cfg(all(feature = "engine", not(target_arch = "wasm32")))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "common/native.rs"]
mod native;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use layerline::engine::{Engine, LoadOptions, Source};
use layerline::generation::{GenerateOptions, Prompt};
use layerline::hub::{Abort, DirectoryRepo};
use layerline::placement::MaxMemory;
use native::{Watched, golden, greedy, ids, load, run};

const MODEL: &str = "tiny/llama-bf16-bias";

fn repo() -> Rc<DirectoryRepo> {
    Rc::new(DirectoryRepo::new(format!("{}/tests/goldens/{MODEL}", env!("CARGO_MANIFEST_DIR"))))
}

/// A prompt and what follows it.
fn long() -> (Vec<u32>, Vec<u32>) {
    let golden = golden(&format!("{MODEL}/golden.json"));
    (ids(&golden["inputs"][1]["input_ids"]), ids(&golden["inputs"][1]["greedy"]))
}

/// Generates, and loses the device when each of the tokens `at` has come. Gives what the callback saw, and the result.
async fn generate(engine: &Engine, options: GenerateOptions, at: &[usize]) -> layerline::Result<(Vec<u32>, Vec<u32>)> {
    let seen = RefCell::new(Vec::new());
    let mut on_token = |id| {
        seen.borrow_mut().push(id);
        if at.contains(&seen.borrow().len()) {
            engine.gpu().unwrap().lose();
        }
        true
    };
    let new = engine.generate(&long().0, &options, &mut on_token, &Abort::new()).await?;
    Ok((seen.take(), new))
}

#[test]
fn a_loss_at_any_token_changes_none() {
    let (_, expected) = long();
    run(|options_| async move {
        let engine = load(repo(), options_).await.unwrap();
        assert_eq!(generate(&engine, greedy(expected.len()), &[]).await.unwrap().1, expected);
        let held = |engine: &Engine| (engine.gpu().unwrap().usages().bytes(), engine.gpu().unwrap().usages().buffers());
        let before = held(&engine);
        let moments = [1, 2, 3, 8, 15, 16];
        let mut lost = Vec::new();
        for at in moments {
            lost.push(engine.gpu().unwrap());
            let (seen, new) = generate(&engine, greedy(expected.len()), &[at]).await.unwrap();
            assert_eq!((&seen, &new), (&expected, &expected), "lost at {at}");
        }
        // The loss at the last token shows at the next call only.
        generate(&engine, greedy(expected.len()), &[]).await.unwrap();
        assert_eq!(engine.device_losses() as usize, moments.len());
        // Nothing is left on the devices that are gone, and as much as before on the one that is there.
        for gpu in lost {
            assert_eq!((gpu.usages().bytes(), gpu.usages().buffers()), (0, 0));
        }
        assert_eq!(held(&engine), before);
    });
}

#[test]
fn a_loss_while_a_chooser_has_a_say_changes_no_token() {
    run(|options_| async move {
        let engine = load(repo(), options_).await.unwrap();
        let sampled = || GenerateOptions {
            max_new_tokens: Some(12),
            do_sample: Some(true),
            temperature: Some(0.9),
            seed: Some(7),
            ..Default::default()
        };
        let (_, expected) = generate(&engine, sampled(), &[]).await.unwrap();
        for at in [1, 5, 11] {
            let (seen, new) = generate(&engine, sampled(), &[at]).await.unwrap();
            assert_eq!((&seen, &new), (&expected, &expected), "lost at {at}");
        }
        assert_eq!(engine.device_losses(), 3);
    });
}

/// Some layers are on disk, so that weights come at each step.
#[test]
fn a_loss_in_a_beam_search_changes_no_text() {
    run(async |mut options_| {
        let whole = load(repo(), native::options(options_.spawn.clone())).await.unwrap();
        let options = GenerateOptions { num_beams: Some(3), num_return_sequences: Some(3), ..greedy(8) };
        let (prompt, abort) = (long().0, Abort::new());
        let search = async |engine: &Engine| {
            engine.beam_search(Source::default(), Prompt::of(&prompt), &options, &abort).await.unwrap()
        };
        let expected = search(&whole).await;
        let (all, kept) = (whole.weight_bytes(), whole.kept_bytes());
        options_.placement.max_memory = Some(MaxMemory { gpu: Some(all * 7 / 10 + kept), cpu: Some(0) });
        let watched = Rc::new(Watched::new(repo()));
        let engine = Rc::new(load(watched.clone(), options_).await.unwrap());
        assert_eq!(search(&engine).await, expected);
        // Calls `then` when the disk has been asked so often, and gives how often it has been in the end.
        let asked = |when: usize, then: Rc<dyn Fn()>| {
            let count = Rc::new(Cell::new(0));
            let counted = count.clone();
            *watched.on_open.borrow_mut() = Box::new(move || {
                counted.set(counted.get() + 1);
                if counted.get() == when {
                    then();
                }
            });
            count
        };
        let count = asked(0, Rc::new(|| {}));
        search(&engine).await;
        let of_one = count.get();
        assert!(of_one > 8, "{of_one}");
        for (losses, when) in (1..).zip([2, of_one / 2, of_one - 1]) {
            let losing = engine.clone();
            asked(when, Rc::new(move || losing.gpu().unwrap().lose()));
            assert_eq!(
                search(&engine).await,
                expected,
                "lost when the disk was asked for the {when}th time of {of_one}"
            );
            assert_eq!(engine.device_losses(), losses);
        }
        asked(0, Rc::new(|| {}));
    });
}

#[test]
fn a_loss_at_any_moment_of_the_load_is_made_up_for() {
    let (prompt, expected) = long();
    for moment in 0..10 {
        run(|options_| {
            let (prompt, expected) = (prompt.clone(), expected.clone());
            async move {
                let engine: Rc<RefCell<Option<Rc<Engine>>>> = Rc::default();
                let (chunks, holder) = (Cell::new(0), engine.clone());
                let progress = move |_| {
                    chunks.set(chunks.get() + 1);
                    if chunks.get() == moment * 2 + 1
                        && let Some(engine) = &*holder.borrow()
                    {
                        engine.gpu().unwrap().lose();
                    }
                };
                let options_ = LoadOptions { prefetch: false, progress: Some(Rc::new(progress)), ..options_ };
                let loaded = Rc::new(load(repo(), options_).await.unwrap());
                engine.replace(Some(loaded.clone()));
                let new = loaded.generate(&prompt, &greedy(expected.len()), &mut |_| true, &Abort::new()).await;
                assert_eq!(new.unwrap(), expected, "lost at chunk {}", moment * 2 + 1);
                assert_eq!(loaded.device_losses(), 1, "lost at chunk {}", moment * 2 + 1);
                engine.take();
            }
        });
    }
}

#[test]
fn a_device_that_is_lost_again_and_again_is_an_error() {
    run(|options_| async move {
        let engine = Rc::new(load(repo(), LoadOptions { prefetch: false, ..options_ }).await.unwrap());
        let (_, expected) = long();
        let every: Vec<usize> = (1..expected.len()).collect();
        let error = generate(&engine, greedy(expected.len()), &every).await.unwrap_err();
        assert_eq!(error.code(), "DEVICE_LOST");
        // … and the next call works.
        assert_eq!(generate(&engine, greedy(4), &[]).await.unwrap().1, expected[..4]);
    });
}
