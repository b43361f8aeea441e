//! The ops of a mixture of experts against float64 references.

use super::*;
use crate::tensor::ops::Route;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn widened<'a>(values: impl Iterator<Item = &'a f32>) -> Vec<f64> {
    values.map(|value| f64::from(*value)).collect()
}

#[test]
fn rows_side_by_side_and_parts_of_rows_are_copied() {
    let (mut random, mut memory) = (Random(51), Memory::default());
    for tokens in [1, 5] {
        for (width, first, part) in [(72, 0, 36), (75, 25, 50), (150, 75, 75), (10, 7, 3)] {
            let x = random.values(tokens * width);
            let what = format!("{tokens}: {part} of {width} from {first}");
            let found = Weights::default()
                .run(&mut memory, &x, width, Ran::default(), |ops, x| ops.columns(x, first, part).unwrap());
            let expected = widened(x.chunks(width).flat_map(|row| &row[first..first + part]));
            close(&found, &expected, 0.0, &what);

            let found = Weights::default().run(&mut memory, &x, width, Ran::default(), |ops, x| {
                let part = ops.columns(x, first, part).unwrap();
                ops.beside(x, part).unwrap()
            });
            let expected = widened(x.chunks(width).flat_map(|row| row.iter().chain(&row[first..first + part])));
            close(&found, &expected, 0.0, &what);
        }
    }
}

#[test]
fn rows_of_routed_tokens_are_taken_and_added_to() {
    let (mut random, mut memory) = (Random(52), Memory::default());
    for (tokens, order) in [(1, &[0][..]), (7, &[4, 0, 5]), (7, &[6, 5, 4, 3, 2, 1, 0])] {
        for (width, first, part) in [(72, 36, 36), (150, 75, 75)] {
            let x = random.values(tokens * width);
            let weights = random.values(order.len());
            let routes: Vec<Route> =
                order.iter().zip(&weights).map(|(token, weight)| Route { token: *token, weight: *weight }).collect();
            let row = |token: u32| &x[token as usize * width..][..width];
            let none = Weights::default();
            let find = |id: WeightId| none.matrices.get(id.0);
            let x_of = memory.insert(&x, width, tokens);
            let input = x_of.unwrap();
            let ids = vec![0; order.len()];
            let running = Running { ids: &ids, routes: &routes, ..Running::default() };
            let mut ops = Executor::new(&mut memory, &find, running);
            let taken = ops.routed(input, first, part).unwrap();
            let added = ops.add_routed(input, taken).unwrap();
            let rows = (0..order.len()).flat_map(|at| memory.row(taken, at).to_vec()).collect::<Vec<_>>();
            let expected = widened(routes.iter().flat_map(|route| &row(route.token)[first..first + part]));
            close(&rows, &expected, 0.0, "taken");

            let rows = (0..tokens).flat_map(|at| memory.row(added, at).to_vec()).collect::<Vec<_>>();
            let mut expected = widened(x.iter());
            for Route { token, weight } in &routes {
                for k in 0..part {
                    let added = f64::from(*weight) * f64::from(row(*token)[first + k]);
                    expected[*token as usize * width + k] += added;
                }
            }
            close(&rows, &expected, 1e-6, "added");
            memory.clear();
        }
    }
}

#[test]
fn tokens_that_do_not_run_are_refused() {
    let (weights, mut memory) = (|_: WeightId| None, Memory::default());
    let input = memory.insert(&[1.0, 2.0], 2, 1).unwrap();
    let routes = [Route { token: 1, weight: 1.0 }];
    let running = Running { ids: &[0], routes: &routes, ..Running::default() };
    let error = Executor::new(&mut memory, &weights, running).routed(input, 0, 2).unwrap_err();
    assert_eq!(error.code(), "CPU_REFUSED");
}
