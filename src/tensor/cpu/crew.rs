//! More cores: other threads, each of which has rows of the large matrices in a memory of its own, and multiplies with them.
//!
//! Nothing is shared but what goes with an order, so that a thread of wasm is an instance like any other: no build with atomics, and
//! each has 4 GB of its own.

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

use super::{CpuError, Incoming, Matrix, Storage, resize};
use crate::tensor::{Dtype, Grouped, Integers};

/// What a hand is told to do with its part of a matrix, which has the number `id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Make it, of zeros.
    Make {
        /// Its number.
        id: u32,
        /// The rows that it has of the whole matrix.
        rows: Range<usize>,
        /// Elements of a row.
        cols: usize,
        /// How they are stored.
        storage: Storage,
    },
    /// Give its memory back.
    Drop {
        /// Its number.
        id: u32,
    },
    /// Take what is given: elements of a checkpoint.
    Take {
        /// Its number.
        id: u32,
        /// Which they are; rows that it doesn't have are passed over.
        incoming: Incoming,
    },
    /// Answer with the products of its rows and those that are given, which are as long as its own with their padding.
    Multiply {
        /// Its number.
        id: u32,
    },
    /// Answer with rows as they lie in memory.
    Read {
        /// Its number.
        id: u32,
        /// Which, of the whole matrix.
        rows: Range<usize>,
    },
}

/// Words that an order is written in.
pub const ORDER_WORDS: usize = 9;

const STORAGES: [Storage; 3] = [Storage::F32, Storage::F16, Storage::Bf16];

/// How a storage is said in words.
fn storage_words(storage: Storage) -> [usize; 3] {
    match storage {
        Storage::Grouped(Grouped { integers, group, zeros, .. }) => {
            [STORAGES.len() + integers.bits(), group, usize::from(zeros)]
        }
        floats => [STORAGES.iter().position(|one| *one == floats).unwrap_or_default(), 0, 0],
    }
}

/// The storage of rows of so many columns that words say.
fn storage_of(kind: usize, group: u32, zeros: u32, cols: usize) -> Option<Storage> {
    let Some(bits) = kind.checked_sub(STORAGES.len()) else { return STORAGES.get(kind).copied() };
    let grouped = Grouped { integers: Integers::of_bits(bits)?, cols, group: group as usize, zeros: zeros == 1 };
    grouped.is_whole().then_some(Storage::Grouped(grouped))
}

impl Order {
    /// In words, to go from one memory to another.
    pub fn words(&self) -> [u32; ORDER_WORDS] {
        let mut words = [0; ORDER_WORDS];
        let said: &[usize] = &match self {
            Order::Make { id, rows, cols, storage } => {
                let [storage, group, zeros] = storage_words(*storage);
                [0, *id as usize, rows.start, rows.end, *cols, storage, group, zeros, 0]
            }
            Order::Drop { id } => [1, *id as usize, 0, 0, 0, 0, 0, 0, 0],
            Order::Take { id, incoming: Incoming { rows, cols, transposed, dtype, plus_one } } => {
                let dtype = Dtype::ALL.iter().position(|one| one == dtype).unwrap_or_default();
                let flags = [usize::from(*transposed), usize::from(*plus_one)];
                [2, *id as usize, rows.start, rows.end, cols.start, cols.end, dtype, flags[0], flags[1]]
            }
            Order::Multiply { id } => [3, *id as usize, 0, 0, 0, 0, 0, 0, 0],
            Order::Read { id, rows } => [4, *id as usize, rows.start, rows.end, 0, 0, 0, 0, 0],
        };
        words.iter_mut().zip(said).for_each(|(word, said)| *word = *said as u32);
        words
    }

    /// What words say, if it is an order.
    pub fn from_words(words: [u32; ORDER_WORDS]) -> Option<Order> {
        let [kind, id, a, b, c, d, e, f, g] = words;
        let range = |start: u32, end: u32| start as usize..end as usize;
        Some(match kind {
            0 => {
                let storage = storage_of(d as usize, e, f, c as usize)?;
                Order::Make { id, rows: range(a, b), cols: c as usize, storage }
            }
            1 => Order::Drop { id },
            2 => {
                let (dtype, transposed, plus_one) = (*Dtype::ALL.get(e as usize)?, f == 1, g == 1);
                let incoming = Incoming { rows: range(a, b), cols: range(c, d), transposed, dtype, plus_one };
                Order::Take { id, incoming }
            }
            3 => Order::Multiply { id },
            4 => Order::Read { id, rows: range(a, b) },
            _ => return None,
        })
    }
}

/// A thread, as the one that it works for sees it.
pub trait Hand {
    /// How many bytes go with an order, and come back, at most.
    fn room(&self) -> usize;

    /// Tells it what to do; it has nothing else to do.
    fn tell(&self, order: &Order, given: &[u8]);

    /// Waits until it has done that, and takes its answer.
    ///
    /// # Errors
    /// What it ran into; or that it doesn't answer any more.
    fn wait(&self, answer: &mut [u8]) -> Result<(), CpuError>;
}

/// Threads that have parts of matrices.
pub struct Crew {
    hands: Vec<Box<dyn Hand>>,
    least: u64,
    next: Cell<u32>,
}

impl Crew {
    /// Matrices of so many bytes are worth being told of: less is read faster than a thread wakes.
    pub const LEAST: u64 = 256 << 10;

    /// Of these hands, which have parts of matrices of `least` bytes or more.
    pub fn new(hands: Vec<Box<dyn Hand>>, least: u64) -> Crew {
        Crew { hands, least, next: Cell::new(0) }
    }

    /// How many threads compute, the caller's own among them.
    pub fn threads(&self) -> usize {
        self.hands.len() + 1
    }

    fn room(&self) -> usize {
        self.hands.iter().map(|hand| hand.room()).min().unwrap_or_default()
    }
}

/// The rows of a matrix that others have.
pub(super) struct Rest {
    crew: Rc<Crew>,
    id: u32,
    /// Of each hand, its rows.
    parts: Vec<Range<usize>>,
}

impl Rest {
    /// Has a crew make its part of a matrix, where that is worth it: gives how many rows remain.
    pub fn share(
        crew: &Rc<Crew>,
        rows: usize,
        cols: usize,
        storage: Storage,
    ) -> Result<Option<(usize, Rest)>, CpuError> {
        let threads = crew.threads();
        let part = rows.div_ceil(threads).next_multiple_of(4);
        // A row, and a column of eight bytes an element, must go with an order.
        let longest = cols.next_multiple_of(Matrix::LINE).max(rows).saturating_mul(8);
        if Matrix::bytes_of(rows, cols, storage) < crew.least || longest > crew.room() || part >= rows {
            return Ok(None);
        }
        let id = crew.next.get();
        crew.next.set(id.wrapping_add(1));
        let of = |hand: usize| (part * (hand + 1)).min(rows)..(part * (hand + 2)).min(rows);
        let rest = Rest { crew: crew.clone(), id, parts: (0..threads - 1).map(of).collect() };
        for (hand, rows) in rest.hands() {
            hand.tell(&Order::Make { id, rows: rows.clone(), cols, storage }, &[]);
            // Where one has no room, all give theirs back.
            hand.wait(&mut [])?;
        }
        Ok(Some((part, rest)))
    }

    /// Those who have rows.
    fn hands(&self) -> impl Iterator<Item = (&dyn Hand, &Range<usize>)> {
        self.crew.hands.iter().map(|hand| &**hand).zip(&self.parts).filter(|(_, rows)| !rows.is_empty())
    }

    /// Gives each the elements that are its own. `bytes` has every element that `incoming` tells of.
    pub fn take(&self, incoming: &Incoming, bytes: &[u8]) -> Result<(), CpuError> {
        let size = incoming.dtype.size().unwrap_or(1) as usize;
        let (lines, line) = match incoming.transposed {
            true => (incoming.cols.clone(), incoming.rows.len() * size),
            false => (incoming.rows.clone(), incoming.cols.len() * size),
        };
        for (hand, part) in self.hands() {
            let own = match incoming.transposed {
                true => lines.clone(),
                false => lines.start.max(part.start)..lines.end.min(part.end),
            };
            let most = (hand.room() / line.max(1)).max(1);
            let mut from = own.start;
            while from < own.end {
                let to = own.end.min(from + most);
                let given = bytes.get((from - lines.start) * line..(to - lines.start) * line).unwrap_or_default();
                let incoming = match incoming.transposed {
                    true => Incoming { cols: from..to, ..incoming.clone() },
                    false => Incoming { rows: from..to, ..incoming.clone() },
                };
                hand.tell(&Order::Take { id: self.id, incoming }, given);
                hand.wait(&mut [])?;
                from = to;
            }
        }
        Ok(())
    }

    /// Gives `each` the rows in `rows` that others have, some at a time, as they lie in memory: `line` bytes a row.
    pub fn read<E: From<CpuError>>(
        &self,
        rows: &Range<usize>,
        line: usize,
        mut each: impl FnMut(usize, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut bytes = Vec::new();
        for (hand, part) in self.hands() {
            let most = (hand.room() / line.max(1)).max(1);
            let mut from = rows.start.max(part.start);
            while from < rows.end.min(part.end) {
                let to = rows.end.min(part.end).min(from + most);
                hand.tell(&Order::Read { id: self.id, rows: from..to }, &[]);
                bytes.clear();
                // Waited for in any case: it must have nothing else to do when it is told again.
                let room = resize(&mut bytes, (to - from) * line, "rows of a weight");
                hand.wait(&mut bytes)?;
                room?;
                each(from, &bytes)?;
                from = to;
            }
        }
        Ok(())
    }

    /// How many rows of x, `stride` long, can be multiplied at a time.
    pub fn most_tokens(&self, stride: usize) -> usize {
        let widest = self.parts.iter().map(Range::len).max().unwrap_or_default().max(stride);
        (self.crew.room() / 4 / widest.max(1)).max(1)
    }

    /// Multiplies rows of x with all rows that others have, while `meanwhile` does its part; tells `write` of the sums: of each
    /// hand its rows, and row by row of x its sums.
    pub fn multiply(
        &self,
        x: &[f32],
        sums: &mut Vec<f32>,
        tokens: usize,
        meanwhile: impl FnOnce() -> Result<(), CpuError>,
        mut write: impl FnMut(&Range<usize>, &[f32]),
    ) -> Result<(), CpuError> {
        let given = bytes_of(x);
        self.hands().for_each(|(hand, _)| hand.tell(&Order::Multiply { id: self.id }, given));
        let mut done = meanwhile();
        for (hand, part) in self.hands() {
            let room = resize(sums, tokens * part.len(), "sums").map(|()| sums.truncate(tokens * part.len()));
            let answered = hand.wait(bytes_of_mut(sums));
            done = done.and(room).and(answered);
            if done.is_ok() {
                write(part, sums);
            }
        }
        done
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        for (hand, _) in self.hands() {
            hand.tell(&Order::Drop { id: self.id }, &[]);
            // Who doesn't answer has nothing to give back.
            let _ = hand.wait(&mut []);
        }
    }
}

pub(super) fn bytes_of(values: &[f32]) -> &[u8] {
    // SAFETY: any float is four bytes.
    unsafe { values.align_to().1 }
}

fn bytes_of_mut(values: &mut [f32]) -> &mut [u8] {
    // SAFETY: any float is four bytes, and any four bytes are a float.
    unsafe { values.align_to_mut().1 }
}
