//! Threads that compute beside the engine's: workers with an instance of this wasm each. An order goes to one through memory that both
//! see, and so does what it is about, both ways.

use std::rc::Rc;

use js_sys::{Array, Atomics, Function, Int32Array, Promise, SharedArrayBuffer, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use crate::clock::now_ms;
use crate::engine::Hire;
use crate::tensor::cpu::{Bench, CpuError, Crew, Hand, ORDER_WORDS, Order};

/// What the memory's first words are.
mod word {
    /// How many orders have been given.
    pub const TOLD: u32 = 0;
    /// How many have been carried out.
    pub const DONE: u32 = 1;
    /// How the last one went.
    pub const OUTCOME: u32 = 2;
    /// How many bytes were given with it, and then: how many were asked for in vain, where there was no room.
    pub const GIVEN: u32 = 3;
    /// Set when nobody listens any more.
    pub const CLOSED: u32 = 4;
    /// The order.
    pub const ORDER: u32 = 8;
}

/// Where what goes with an order begins.
const HEAD: u32 = 128;

/// How an order went.
const DONE_WELL: i32 = 0;
const NO_ROOM: i32 = 1;
const NO_SENSE: i32 = 2;

/// How often a thread looks whether something has changed before it lies down: to be woken takes longer than most products.
const LOOKS: u32 = 4000;

/// A hand that has not answered for so long never will.
const PATIENCE_MS: f64 = 60_000.0;

/// A worker's memory.
struct Shared {
    words: Int32Array,
    bytes: Uint8Array,
}

impl Shared {
    fn new(memory: &SharedArrayBuffer) -> Shared {
        let words = Int32Array::new_with_byte_offset_and_length(memory, 0, HEAD / 4);
        Shared { words, bytes: Uint8Array::new_with_byte_offset(memory, HEAD) }
    }

    fn load(&self, word: u32) -> i32 {
        Atomics::load(&self.words, word).unwrap_or_default()
    }

    fn store(&self, word: u32, value: i32) {
        // An index within the words can't fail.
        let _ = Atomics::store(&self.words, word, value);
    }

    fn wake(&self, word: u32) {
        let _ = Atomics::notify(&self.words, word);
    }

    /// Waits until a word is another than `old`. `false`: in vain.
    fn changes(&self, word: u32, old: i32, timeout_ms: f64) -> bool {
        if (0..LOOKS).any(|_| self.load(word) != old) {
            return true;
        }
        let deadline = now_ms() + timeout_ms;
        while self.load(word) == old {
            let left = deadline - now_ms();
            if left <= 0.0 {
                return false;
            }
            // The call for the change before may come only now, and wake in vain.
            let _ = Atomics::wait_with_timeout(&self.words, word, old, left);
        }
        true
    }
}

/// A worker, as the engine sees it.
struct WorkerHand(Shared);

impl Hand for WorkerHand {
    fn room(&self) -> usize {
        self.0.bytes.length() as usize
    }

    fn tell(&self, order: &Order, given: &[u8]) {
        let Shared { words, bytes } = &self.0;
        bytes.subarray(0, given.len() as u32).copy_from(given);
        words.set_index(word::GIVEN, given.len() as i32);
        for (at, said) in (word::ORDER..).zip(order.words()) {
            words.set_index(at, said as i32);
        }
        self.0.store(word::TOLD, self.0.load(word::TOLD).wrapping_add(1));
        self.0.wake(word::TOLD);
    }

    fn wait(&self, answer: &mut [u8]) -> Result<(), CpuError> {
        let told = self.0.load(word::TOLD);
        if self.0.load(word::CLOSED) != 0 || !self.0.changes(word::DONE, told.wrapping_sub(1), PATIENCE_MS) {
            self.0.store(word::CLOSED, 1);
            return Err(CpuError::Silent);
        }
        match self.0.load(word::OUTCOME) {
            DONE_WELL => {
                self.0.bytes.subarray(0, answer.len() as u32).copy_to(answer);
                Ok(())
            }
            NO_ROOM => {
                let bytes = u64::from(self.0.load(word::GIVEN) as u32);
                Err(CpuError::OutOfMemory { what: "a part of a weight, in another thread".to_owned(), bytes })
            }
            _ => Err(CpuError::refused("what another thread was told")),
        }
    }
}

/// What hires threads by the option `hire`: a function that is given this wasm's module and resolves to the memories of workers,
/// which listen by then.
pub fn hire(callback: Function) -> Hire {
    Rc::new(move || {
        let workers = callback.call1(&JsValue::UNDEFINED, &wasm_bindgen::module());
        Box::pin(async move {
            let memories = JsFuture::from(workers.ok()?.dyn_into::<Promise>().ok()?).await.ok()?;
            let memories = memories.dyn_into::<Array>().ok()?;
            let hand = |memory: JsValue| memory.dyn_into().ok().map(|memory| WorkerHand(Shared::new(&memory)));
            let hands: Vec<Box<dyn Hand>> = memories.iter().filter_map(hand).map(|hand| Box::new(hand) as _).collect();
            (!hands.is_empty()).then(|| Rc::new(Crew::new(hands, Crew::LEAST)))
        })
    })
}

/// What a worker does with its life: it carries out what comes through `memory`, until that is closed.
#[wasm_bindgen]
pub fn serve_hand(memory: &SharedArrayBuffer) {
    let shared = Shared::new(memory);
    let (mut bench, mut given, mut answer) = (Bench::default(), Vec::new(), Vec::new());
    let mut done = 0;
    while shared.load(word::CLOSED) == 0 {
        if !shared.changes(word::TOLD, done, f64::INFINITY) {
            continue;
        }
        done = shared.load(word::TOLD);
        let outcome = carry_out(&shared, &mut bench, &mut given, &mut answer);
        let (outcome, bytes) = match outcome {
            Ok(()) => (DONE_WELL, 0),
            Err(CpuError::OutOfMemory { bytes, .. }) => (NO_ROOM, bytes.min(i32::MAX as u64) as i32),
            Err(_) => (NO_SENSE, 0),
        };
        shared.words.set_index(word::GIVEN, bytes);
        shared.words.set_index(word::OUTCOME, outcome);
        shared.store(word::DONE, done);
        shared.wake(word::DONE);
    }
}

fn carry_out(shared: &Shared, bench: &mut Bench, given: &mut Vec<u8>, answer: &mut Vec<u8>) -> Result<(), CpuError> {
    let mut words = [0; ORDER_WORDS];
    for (at, word) in (word::ORDER..).zip(&mut words) {
        *word = shared.words.get_index(at) as u32;
    }
    let order = Order::from_words(words).ok_or_else(|| CpuError::refused("an order of no kind"))?;
    given.resize((shared.words.get_index(word::GIVEN) as usize).min(shared.bytes.length() as usize), 0);
    shared.bytes.subarray(0, given.len() as u32).copy_to(given);
    bench.obey(&order, given, answer)?;
    shared.bytes.subarray(0, answer.len() as u32).copy_from(answer);
    Ok(())
}
