//! What several threads come to is what one does, to the last bit.

use std::ops::Range;
use std::rc::Rc;

use super::crew::{Crew, Order};
use super::matrix::{Incoming, Matrix, Storage};
use super::product::{Outcome, Scratch, product};
use super::tests::Random;
use super::{Bench, CpuError, Hand};
use crate::tensor::Dtype;

const STORAGES: [Storage; 3] = [Storage::F32, Storage::F16, Storage::Bf16];

/// Of threads that have parts of everything; so little goes with an order that most go in several.
fn crew(hands: usize) -> Rc<Crew> {
    Rc::new(Crew::of_threads_with_room(hands, 0, 3000).unwrap())
}

fn incoming(rows: Range<usize>, cols: Range<usize>, transposed: bool) -> Incoming {
    Incoming { rows, cols, transposed, dtype: Dtype::F32, plus_one: false }
}

/// A matrix that was taken in two pieces, and whose rows lie wherever `crew` has them.
fn filled(rows: usize, cols: usize, storage: Storage, transposed: bool, crew: Option<&Rc<Crew>>) -> Matrix {
    let mut random = Random(7);
    let mut matrix = Matrix::shared("w", rows, cols, storage, crew).unwrap();
    let half = rows / 2 + 1;
    for rows in [0..half, half..rows] {
        let values = random.values(rows.len() * cols);
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        matrix.take(&incoming(rows, 0..cols, transposed), &bytes, &mut Vec::new()).unwrap();
    }
    matrix
}

#[test]
fn rows_are_what_one_thread_has() {
    for (rows, cols) in [(37, 20), (8, 72), (100, 5)] {
        for storage in STORAGES {
            for transposed in [false, true] {
                let alone = filled(rows, cols, storage, transposed, None);
                for hands in [1, 2, 5] {
                    let crew = crew(hands);
                    let shared = filled(rows, cols, storage, transposed, Some(&crew));
                    assert_eq!(shared.size(), alone.size());
                    assert!(shared.own < rows, "others have some");
                    let (mut one, mut other) = (vec![0.0; alone.stride], vec![0.0; alone.stride]);
                    let mut read = Vec::new();
                    shared
                        .read(0..rows, |_, bytes| {
                            read.extend_from_slice(bytes);
                            Ok::<_, CpuError>(())
                        })
                        .unwrap();
                    assert_eq!(read, alone.own_bytes(0..rows));
                    for row in 0..rows {
                        alone.widen(row, &mut one).unwrap();
                        shared.widen(row, &mut other).unwrap();
                        assert_eq!(one, other, "row {row} of {rows} × {cols}");
                    }
                }
            }
        }
    }
}

#[test]
fn products_are_what_one_thread_makes() {
    let mut random = Random(9);
    for (rows, cols) in [(37_usize, 20), (130, 72)] {
        let y_stride = rows.next_multiple_of(8);
        for storage in STORAGES {
            let alone = filled(rows, cols, storage, false, None);
            let bias = random.values(rows);
            for hands in [1, 3] {
                let crew = crew(hands);
                let shared = filled(rows, cols, storage, false, Some(&crew));
                for tokens in [1, 2, 7, 60] {
                    let mut x = vec![0.0; tokens * alone.stride];
                    for row in x.chunks_mut(alone.stride) {
                        row[..cols].copy_from_slice(&random.values(cols));
                    }
                    for (bias, add) in [(None, false), (Some(bias.as_slice()), false), (Some(&bias), true)] {
                        let outcome = Outcome { bias, add };
                        let before = random.values(tokens * y_stride);
                        let [one, other] = [&alone, &shared].map(|w| {
                            let mut y = before.clone();
                            product(w, &x, &mut y, y_stride, outcome, &mut Scratch::default()).unwrap();
                            y
                        });
                        assert_eq!(one, other, "{rows} × {cols}, {tokens} tokens, {hands} hands");
                    }
                }
            }
        }
    }
}

#[test]
fn small_matrices_and_rows_that_go_with_no_order_stay() {
    let crew = Rc::new(Crew::of_threads_with_room(2, 1000, 3000).unwrap());
    let own = |rows, cols| Matrix::shared("w", rows, cols, Storage::F32, Some(&crew)).unwrap().own;
    assert_eq!(own(10, 24), 10, "960 bytes");
    assert!(own(11, 24) < 11);
    assert_eq!(own(100, 400), 100, "a row of eight bytes an element is longer than what goes with an order");
    assert_eq!(own(1, 300), 1, "a vector");
}

/// A hand that has no room for the second matrix.
struct Full(std::cell::Cell<usize>, Rc<std::cell::RefCell<Vec<Order>>>);

impl Hand for Full {
    fn room(&self) -> usize {
        3000
    }

    fn tell(&self, order: &Order, _: &[u8]) {
        self.1.borrow_mut().push(order.clone());
        self.0.set(self.0.get() + 1);
    }

    fn wait(&self, _: &mut [u8]) -> Result<(), CpuError> {
        match self.0.get() {
            2 => Err(CpuError::OutOfMemory { what: String::new(), bytes: 5 }),
            _ => Ok(()),
        }
    }
}

#[test]
fn what_others_have_no_room_for_is_given_back() {
    let orders = Rc::new(std::cell::RefCell::new(Vec::new()));
    let crew = Rc::new(Crew::new(vec![Box::new(Full(Default::default(), orders.clone()))], 0));
    let make = || Matrix::shared("w", 40, 8, Storage::F32, Some(&crew));
    let first = make().unwrap();
    assert_eq!(make().err().unwrap().code(), "CPU_OUT_OF_MEMORY");
    drop(first);
    let orders = orders.borrow();
    assert!(matches!(
        orders[..],
        [Order::Make { id: 0, .. }, Order::Make { id: 1, .. }, Order::Drop { id: 1 }, Order::Drop { id: 0 }]
    ));
}

#[test]
fn orders_go_through_words() {
    for order in [
        Order::Make { id: 3, rows: 4..90, cols: 72, storage: Storage::Bf16 },
        Order::Drop { id: u32::MAX },
        Order::Take { id: 1, incoming: Incoming { plus_one: true, dtype: Dtype::F16, ..incoming(2..5, 0..9, true) } },
        Order::Multiply { id: 0 },
        Order::Read { id: 2, rows: 7..8 },
    ] {
        assert_eq!(Order::from_words(order.words()), Some(order));
    }
    assert_eq!(Order::from_words([9; 9]), None);
    assert_eq!(Order::from_words([0, 1, 0, 4, 8, 77, 0, 0, 0]), None, "no such storage");
    assert_eq!(Order::from_words([2, 1, 0, 4, 8, 7, 99, 0, 0]), None, "no such dtype");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let (mut bench, mut answer) = (Bench::default(), Vec::new());
    for order in [
        Order::Multiply { id: 4 },
        Order::Read { id: 4, rows: 0..9 },
        Order::Take { id: 4, incoming: incoming(0..1, 0..1, false) },
        Order::Make { id: 4, rows: 0..1 << 31, cols: 1 << 31, storage: Storage::F32 },
    ] {
        assert!(bench.obey(&order, &[], &mut answer).is_err(), "{order:?}");
    }
    bench.obey(&Order::Make { id: 4, rows: 5..7, cols: 3, storage: Storage::F16 }, &[], &mut answer).unwrap();
    // Too little given, rows that it doesn't have: nothing of it is there.
    for rows in [0..9, 6..90, 90..95] {
        bench
            .obey(&Order::Take { id: 4, incoming: incoming(rows.clone(), 0..3, false) }, &[0; 5], &mut answer)
            .unwrap();
        bench.obey(&Order::Read { id: 4, rows }, &[], &mut answer).unwrap();
    }
    bench.obey(&Order::Multiply { id: 4 }, &[0; 3], &mut answer).unwrap();
    bench.obey(&Order::Drop { id: 4 }, &[], &mut answer).unwrap();
    assert!(bench.obey(&Order::Multiply { id: 4 }, &[], &mut answer).is_err());
}
