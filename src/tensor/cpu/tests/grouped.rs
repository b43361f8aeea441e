//! Products with integers that share scales, against float64.

use super::*;
use crate::tensor::Grouped;
use crate::tensor::grouped::testing::{kinds, random_rows};

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Such a matrix that has come as a checkpoint's does, and its elements.
fn matrix(random: &mut Random, rows: usize, grouped: Grouped) -> (Matrix, Vec<f32>) {
    let mut values = random.values(rows * (grouped.cols + grouped.groups()) + rows).into_iter();
    let (lines, elements) = random_rows(grouped, rows, || f64::from(values.next().unwrap()));
    let mut matrix = Matrix::new("test", rows, grouped.cols, Storage::Grouped(grouped)).unwrap();
    let words = grouped.integer_words();
    for cols in [0..words, words..grouped.words()] {
        let part = lines.chunks(grouped.words()).flat_map(|line| line[cols.clone()].to_vec());
        let part: Vec<u8> = part.flat_map(u32::to_le_bytes).collect();
        let incoming = Incoming { rows: 0..rows, cols, transposed: false, dtype: Dtype::F32, plus_one: false };
        matrix.take(&incoming, &part, &mut Vec::new()).unwrap();
    }
    (matrix, elements)
}

#[test]
fn grouped_linear_equals_float64() {
    let (mut random, mut memory) = (Random(61), Memory::default());
    let (inputs, outputs) = (192, 37);
    for grouped in kinds(inputs) {
        let mut weights = Weights::default();
        let (w, elements) = matrix(&mut random, outputs, grouped);
        weights.matrices.push(w);
        weights.values.push(elements.clone());
        let linear = Linear { weight: WeightId(0), bias: None, inputs, outputs };
        for tokens in [1, 2, 49] {
            let x = random.values(tokens * inputs);
            let y = weights.run(&mut memory, &x, inputs, Ran::default(), |ops, x| ops.linear(x, &linear).unwrap());
            for (x, y) in x.chunks(inputs).zip(y.chunks(outputs)) {
                for (row, y) in elements.chunks(inputs).zip(y) {
                    let terms = || row.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x));
                    let magnitude: f64 = terms().map(f64::abs).sum();
                    // One row of x is rounded to a 65534th of the largest of 96: the spans that the groups are cut into.
                    let of_units = row.chunks(96).zip(x.chunks(96)).map(|(row, x)| {
                        let most = x.iter().fold(0.0f32, |most, x| most.max(x.abs()));
                        f64::from(most) / 65534.0 * row.iter().map(|w| f64::from(w.abs())).sum::<f64>()
                    });
                    let rounding = if tokens == 1 { of_units.sum() } else { 0.0 };
                    let bound = rounding + magnitude * f64::from(f32::EPSILON) * 14.0 + 1e-6;
                    let (found, expected) = (f64::from(*y), terms().sum::<f64>());
                    assert!((found - expected).abs() <= bound, "{grouped:?} {tokens}: {found}, not {expected}");
                }
            }
        }
    }
}

#[test]
fn what_is_no_number_stays_none() {
    let (mut random, grouped) = (Random(62), kinds(192)[0]);
    let mut weights = Weights::default();
    let (w, elements) = matrix(&mut random, 8, grouped);
    weights.matrices.push(w);
    weights.values.push(elements);
    let linear = Linear { weight: WeightId(0), bias: None, inputs: 192, outputs: 8 };
    let y_of = |x: &[f32]| {
        weights.run(&mut Memory::default(), x, 192, Ran::default(), |ops, x| ops.linear(x, &linear).unwrap())
    };
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = vec![0.5; 192];
        x[100] = bad;
        assert!(y_of(&x).iter().all(|y| !y.is_finite()), "{bad}");
    }
    // Of the smallest floats, and of none, nothing comes.
    for small in [0.0, 1e-44] {
        assert!(y_of(&[small; 192]).iter().all(|y| y.abs() <= 1e-38), "{small}");
    }
}

#[test]
fn rows_are_read_as_they_lie() {
    let (mut random, grouped) = (Random(63), kinds(192)[3]);
    let (matrix, elements) = matrix(&mut random, 5, grouped);
    assert_eq!(matrix.size(), (5 * grouped.line() * 4) as u64);
    let mut row = vec![0.0; 192];
    matrix.widen(3, &mut row).unwrap();
    assert_eq!(row, elements[3 * 192..4 * 192]);
}
