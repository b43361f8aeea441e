//! Every op against a float64 reference, on shapes that fit no tile, in every storage, natively and in browsers.

mod grouped;
mod routed;
mod short_convolution;

use half::{bf16, f16};

use super::matrix::Incoming;
use super::memory::stride;
use super::{Executor, Matrix, Memory, Running, Storage};
use crate::config::Activation;
use crate::tensor::Dtype;
use crate::tensor::ops::{
    Attention, AttentionKind, LayerNorm, Linear, Number, Ops, Pool, QkNorm, Relative, RmsNorm, Rotary, Rows, Tensor,
    WeightId,
};
use crate::tensor::relative::Buckets;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const STORAGES: [Storage; 3] = [Storage::F32, Storage::F16, Storage::Bf16];

/// A small generator: the tests need repeatable numbers, not good ones.
pub(super) struct Random(pub u64);

impl Random {
    pub fn values(&mut self, n: usize) -> Vec<f32> {
        let mut next = || {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((self.0 >> 11) as f64 / (1u64 << 53) as f64 * 2.0 - 1.0) as f32
        };
        (0..n).map(|_| next()).collect()
    }
}

/// What `storage` keeps of a value.
fn kept(value: f32, storage: Storage) -> f32 {
    match storage {
        Storage::F32 => value,
        Storage::F16 => f16::from_f32(value).to_f32(),
        Storage::Bf16 => bf16::from_f32(value).to_f32(),
        Storage::Grouped(_) => unreachable!("in tests/grouped.rs"),
    }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Weights, and what they hold as floats.
#[derive(Default)]
struct Weights {
    matrices: Vec<Matrix>,
    values: Vec<Vec<f32>>,
}

impl Weights {
    fn matrix(&mut self, random: &mut Random, rows: usize, cols: usize, storage: Storage) -> WeightId {
        self.of(&random.values(rows * cols), rows, cols, storage)
    }

    fn of(&mut self, values: &[f32], rows: usize, cols: usize, storage: Storage) -> WeightId {
        let mut matrix = Matrix::new("test", rows, cols, storage).unwrap();
        let incoming = Incoming { rows: 0..rows, cols: 0..cols, transposed: false, dtype: Dtype::F32, plus_one: false };
        matrix.take(&incoming, &bytes(values), &mut Vec::new()).unwrap();
        self.matrices.push(matrix);
        self.values.push(values.iter().map(|value| kept(*value, storage)).collect());
        WeightId(self.matrices.len() - 1)
    }

    fn vector(&mut self, random: &mut Random, len: usize) -> WeightId {
        self.matrix(random, 1, len, Storage::F32)
    }

    fn value(&self, id: WeightId, at: usize) -> f64 {
        f64::from(self.values[id.0][at])
    }

    /// Puts x into memory as a tensor, runs `op` on it, and gives the result's rows without padding.
    fn run(
        &self,
        memory: &mut Memory,
        x: &[f32],
        width: usize,
        ran: Ran<'_>,
        op: impl FnOnce(&mut Executor<'_>, Tensor) -> Tensor,
    ) -> Vec<f32> {
        let tokens = x.len() / width;
        memory.clear();
        let (input, mut values) = memory.make(width, Rows::All, tokens).unwrap();
        for (row, x) in values.chunks_mut(stride(width)).zip(x.chunks(width)) {
            row[..width].copy_from_slice(x);
        }
        memory.put(input, values);
        let ids = if ran.ids.is_empty() { vec![0; tokens] } else { ran.ids.to_vec() };
        let weights = |id: WeightId| self.matrices.get(id.0);
        let running = Running {
            ids: &ids,
            types: &ids,
            position_ids: &ids,
            position: ran.position,
            angles: ran.angles,
            memory: ran.read,
            ..Running::default()
        };
        let mut executor = Executor::new(memory, &weights, running);
        let out = op(&mut executor, input);
        let rows = if out.rows == Rows::One { 1 } else { ids.len() };
        let all = memory.values(out);
        assert!(all.chunks(stride(out.width)).all(|row| row[out.width..].iter().all(|pad| *pad == 0.0)), "padding");
        (0..rows).flat_map(|row| memory.row(out, row).to_vec()).collect()
    }
}

/// What runs.
#[derive(Default, Clone, Copy)]
struct Ran<'a> {
    ids: &'a [u32],
    position: usize,
    angles: &'a [f32],
    /// How many tokens an encoder has read.
    read: usize,
}

/// Asserts that values are the reference's but for `tolerance` of the largest.
fn close(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: length");
    let most = expected.iter().fold(1e-3f64, |most, value| most.max(value.abs()));
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let off = (f64::from(*found) - expected).abs();
        assert!(off <= tolerance * most, "{what}: element {at} is {found}, and should be {expected}");
    }
}

#[test]
fn linear_is_the_product_with_bias() {
    let mut random = Random(1);
    for storage in STORAGES {
        for tokens in [1, 2, 3, 7, 49, 100] {
            for (inputs, outputs) in [(8, 4), (20, 5), (36, 33), (576, 3)] {
                let mut weights = Weights::default();
                let weight = weights.matrix(&mut random, outputs, inputs, storage);
                let bias = Some(weights.vector(&mut random, outputs)).filter(|_| outputs != 5);
                let linear = Linear { weight, bias, inputs, outputs };
                let x = random.values(tokens * inputs);
                let expected: Vec<f64> = (0..tokens * outputs)
                    .map(|at| {
                        let (token, row) = (at / outputs, at % outputs);
                        let product = |k| weights.value(weight, row * inputs + k) * f64::from(x[token * inputs + k]);
                        (0..inputs).map(product).sum::<f64>() + bias.map_or(0.0, |bias| weights.value(bias, row))
                    })
                    .collect();
                let what = format!("{storage:?}, {tokens} tokens, {inputs} → {outputs}");
                let mut memory = Memory::default();
                let y = weights.run(&mut memory, &x, inputs, Ran::default(), |ops, x| ops.linear(x, &linear).unwrap());
                close(&y, &expected, 2e-6, &what);
                if outputs == 33 {
                    let square = Linear {
                        outputs: inputs,
                        weight: weights.matrix(&mut random, inputs, inputs, storage),
                        bias: None,
                        inputs,
                    };
                    let plain =
                        weights.run(&mut memory, &x, inputs, Ran::default(), |ops, x| ops.linear(x, &square).unwrap());
                    let added = weights.run(&mut memory, &x, inputs, Ran::default(), |ops, x| {
                        let again = ops.linear(x, &square).unwrap();
                        ops.add_linear(again, x, &square).unwrap()
                    });
                    let expected: Vec<f64> = plain.iter().map(|value| 2.0 * f64::from(*value)).collect();
                    close(&added, &expected, 1e-6, &what);
                }
            }
        }
    }
}

#[test]
fn float16_of_every_size_is_multiplied() {
    // The smallest normal and subnormal ones, and the largest.
    let values = [6.1035e-5, 5.9605e-8, 65504.0, -65504.0, 1.0, -3.0e-7, 0.0, 2.0];
    let mut weights = Weights::default();
    let weight = weights.of(&values, 8, 1, Storage::F16);
    for scale in [1.0e-6, 1.0, 1.0e12] {
        let linear = Linear { weight, bias: None, inputs: 1, outputs: 8 };
        let ran = Ran::default();
        let y = weights.run(&mut Memory::default(), &[scale], 1, ran, |ops, x| ops.linear(x, &linear).unwrap());
        for (at, y) in y.iter().enumerate() {
            let expected = weights.value(weight, at) * f64::from(scale);
            assert!((f64::from(*y) - expected).abs() <= expected.abs() * 1e-6, "{y} is not {expected}");
        }
    }
}

#[test]
fn embeddings_are_scaled_rows() {
    let mut random = Random(2);
    for storage in STORAGES {
        let mut weights = Weights::default();
        let table = weights.matrix(&mut random, 11, 20, storage);
        let ids = [3, 10, 0, 3];
        let ran = Ran { ids: &ids, ..Ran::default() };
        let y = weights.run(&mut Memory::default(), &[0.0; 4], 1, ran, |ops, _| ops.embed(table, 20, 1.5).unwrap());
        let row = |id: u32| (0..20).map(move |k| (id as usize * 20) + k);
        let expected: Vec<f64> = ids.iter().flat_map(|id| row(*id)).map(|at| 1.5 * weights.value(table, at)).collect();
        close(&y, &expected, 1e-7, "embed");
    }
}

fn rms_norm(x: &[f64], weight: impl Fn(usize) -> f64, eps: f64) -> Vec<f64> {
    let mean: f64 = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    x.iter().enumerate().map(|(k, x)| x / (mean + eps).sqrt() * weight(k)).collect()
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

#[test]
fn norms_are_of_rows() {
    let mut random = Random(3);
    let (tokens, width) = (5, 36);
    let mut weights = Weights::default();
    let weight = weights.vector(&mut random, width);
    let norm = RmsNorm { weight, eps: 1e-5 };
    let x = random.values(tokens * width);
    let of = |row: &[f32]| rms_norm(&wide(row), |k| weights.value(weight, k), 1e-5);
    let expected: Vec<f64> = x.chunks(width).flat_map(of).collect();
    let memory = &mut Memory::default();
    let y = weights.run(memory, &x, width, Ran::default(), |ops, x| ops.rms_norm(x, &norm).unwrap());
    close(&y, &expected, 1e-6, "rms_norm");
    let y = weights.run(memory, &x, width, Ran::default(), |ops, x| ops.rms_norm_last(x, &norm).unwrap());
    close(&y, &expected[(tokens - 1) * width..], 1e-6, "rms_norm_last");
    let y = weights.run(memory, &x, width, Ran::default(), |ops, x| {
        let y = ops.rms_norm(x, &norm).unwrap();
        ops.add_rms_norm(y, x, &norm).unwrap()
    });
    close(&y, &expected.iter().map(|y| 2.0 * y).collect::<Vec<_>>(), 1e-6, "add_rms_norm");
}

#[test]
fn layer_norms_are_of_rows() {
    let mut random = Random(6);
    for (tokens, width, mean) in [(5, 36, 0.0), (1, 75, 0.0), (3, 576, 100.0)] {
        let mut weights = Weights::default();
        let (weight, bias) = (weights.vector(&mut random, width), weights.vector(&mut random, width));
        let norm = LayerNorm { weight, bias: Some(bias), eps: 1e-5 };
        let x: Vec<f32> = random.values(tokens * width).iter().map(|x| x + mean).collect();
        let of = |row: &[f32]| -> Vec<f64> {
            let row = wide(row);
            let mean = row.iter().sum::<f64>() / width as f64;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
            let normed = row.iter().map(|x| (x - mean) / (variance + 1e-5).sqrt()).enumerate();
            normed.map(|(k, x)| x * weights.value(weight, k) + weights.value(bias, k)).collect()
        };
        let expected: Vec<f64> = x.chunks(width).flat_map(of).collect();
        // The mean is rounded as values of its size are.
        let tolerance = if mean == 0.0 { 1e-6 } else { 1e-4 };
        let memory = &mut Memory::default();
        let y = weights.run(memory, &x, width, Ran::default(), |ops, x| ops.layer_norm(x, &norm).unwrap());
        close(&y, &expected, tolerance, "layer_norm");
        let bare = LayerNorm { bias: None, ..norm };
        let bare = weights.run(memory, &x, width, Ran::default(), |ops, x| ops.layer_norm(x, &bare).unwrap());
        let unbiased = expected.iter().enumerate().map(|(at, y)| y - weights.value(bias, at % width));
        close(&bare, &unbiased.collect::<Vec<_>>(), tolerance, "layer_norm without bias");
        let y = weights.run(memory, &x, width, Ran::default(), |ops, x| ops.layer_norm_last(x, &norm).unwrap());
        close(&y, &expected[(tokens - 1) * width..], tolerance, "layer_norm_last");
    }
}

#[test]
fn positions_are_rows_that_are_added() {
    let mut random = Random(7);
    for storage in STORAGES {
        let mut weights = Weights::default();
        let (rows, width) = (11, 20);
        let table = weights.matrix(&mut random, rows, width, storage);
        let x = random.values(3 * width);
        for (first, position) in [(0, 0), (0, 8), (2, 6)] {
            let ids = [0, 1, 2].map(|token| position + token);
            let ran = Ran { ids: &ids, ..Ran::default() };
            let y = weights.run(&mut Memory::default(), &x, width, ran, |ops, x| {
                ops.add_rows(x, table, Number::Position { first }).unwrap()
            });
            let added = wide(&x).into_iter().enumerate();
            let row = (first + position as usize) * width;
            let expected: Vec<f64> = added.map(|(k, x)| x + weights.value(table, row + k)).collect();
            close(&y, &expected, 1e-7, "add_positions");
        }
        let ran = Ran { ids: &[9, 10, 11], ..Ran::default() };
        weights.run(&mut Memory::default(), &x, width, ran, |ops, x| {
            assert_eq!(ops.add_rows(x, table, Number::Position { first: 0 }).unwrap_err().code(), "CPU_REFUSED");
            x
        });
    }
}

#[test]
fn numbered_rows_are_added_and_rows_are_pooled() {
    let mut random = Random(8);
    let (tokens, width) = (4, 20);
    let mut weights = Weights::default();
    let table = weights.matrix(&mut random, 11, width, Storage::Bf16);
    let x = random.values(tokens * width);
    let ran = Ran { ids: &[10, 0, 3, 3], position: 5, ..Ran::default() };
    let memory = &mut Memory::default();
    for by in [Number::Position { first: 0 }, Number::TokenType] {
        let y = weights.run(memory, &x, width, ran, |ops, x| ops.add_rows(x, table, by).unwrap());
        let row = |at: usize| ran.ids[at / width] as usize * width + at % width;
        let expected = wide(&x).into_iter().enumerate().map(|(at, x)| x + weights.value(table, row(at)));
        close(&y, &expected.collect::<Vec<_>>(), 1e-7, "add_rows");
    }
    let ran = Ran { ids: &[1, 1, 11, 1], ..ran };
    weights.run(memory, &x, width, ran, |ops, x| {
        assert_eq!(ops.add_rows(x, table, Number::TokenType).unwrap_err().code(), "CPU_REFUSED");
        x
    });
    let y = weights.run(memory, &x, width, ran, |ops, x| ops.pool(x, Pool::First).unwrap());
    close(&y, &wide(&x[..width]), 0.0, "the first row");
    let y = weights.run(memory, &x, width, ran, |ops, x| ops.pool(x, Pool::Mean).unwrap());
    let mean = |k: usize| x.chunks(width).map(|row| f64::from(row[k])).sum::<f64>() / tokens as f64;
    close(&y, &(0..width).map(mean).collect::<Vec<_>>(), 1e-6, "the mean row");
    let y = weights.run(memory, &x, width, ran, |ops, x| ops.pool(x, Pool::Last).unwrap());
    close(&y, &wide(&x[(tokens - 1) * width..]), 0.0, "the last row");
    let row = weights.vector(&mut random, width);
    let y = weights.run(memory, &x, width, ran, |ops, x| ops.replace_first(x, row).unwrap());
    let replaced = (0..width).map(|k| weights.value(row, k)).chain(wide(&x[width..]));
    close(&y, &replaced.collect::<Vec<_>>(), 0.0, "another first row");
}

/// x has twice as many rows as tokens run.
#[test]
fn windows_of_three_rows_are_unfolded() {
    let mut random = Random(9);
    let (tokens, width) = (3, 5);
    let x = random.values(2 * tokens * width);
    let mut memory = Memory::default();
    let input = memory.insert(&x, width, 2 * tokens).unwrap();
    let none = |_: WeightId| None;
    let running = Running { ids: &[0; 3], ..Running::default() };
    let y = Executor::new(&mut memory, &none, running).unfold(input).unwrap();
    let found: Vec<f32> = (0..tokens).flat_map(|row| memory.row(y, row).to_vec()).collect();
    let at = |row: usize, c: usize| row.checked_sub(1).map_or(0.0, |row| f64::from(x[row * width + c]));
    let expected = (0..tokens).flat_map(|token| (0..3 * width).map(move |i| (2 * token + i % 3, i / 3)));
    close(&found, &expected.map(|(row, c)| at(row, c)).collect::<Vec<_>>(), 0.0, "unfold");
}

/// Tokens at any position attend to all that an encoder has read.
#[test]
fn what_is_remembered_is_attended_to_by_whoever_comes() {
    let mut random = Random(10);
    let (heads, kv_heads, head_dim, read) = (4, 2, 8, 7);
    let kind = AttentionKind::Cross;
    let (scale, softcap, window, rotary) = (0.5, None, None, None);
    let attention =
        Attention { layer: 2, heads, kv_heads, head_dim, scale, softcap, kind, window, rotary, relative: None };
    let weights = Weights::default();
    let mut memory = Memory::default();
    memory.reserve(2, read, kv_heads * head_dim).unwrap();
    let kv = random.values(read * 2 * kv_heads * head_dim);
    weights.run(&mut memory, &kv, 2 * kv_heads * head_dim, Ran::default(), |ops, kv| {
        ops.remember(kv, &attention).unwrap();
        kv
    });
    let half = |value: f32| f64::from(f16::from_f32(value).to_f32());
    for tokens in [1, 3] {
        let q = random.values(tokens * heads * head_dim);
        let ran = Ran { position: 40, read, ..Ran::default() };
        let y = weights.run(&mut memory, &q, heads * head_dim, ran, |ops, q| ops.attention(q, &attention).unwrap());
        let mut expected = Vec::new();
        for (token, head) in (0..tokens).flat_map(|token| (0..heads).map(move |head| (token, head))) {
            let of = |key: usize, part: usize, d: usize| {
                half(kv[(key * 2 + part) * kv_heads * head_dim + head / (heads / kv_heads) * head_dim + d])
            };
            let q = |d: usize| f64::from(q[(token * heads + head) * head_dim + d]) * f64::from(scale);
            let score = |key: usize| (0..head_dim).map(|d| q(d) * of(key, 0, d)).sum::<f64>().exp();
            let scores: Vec<f64> = (0..read).map(score).collect();
            let total: f64 = scores.iter().sum();
            let value = |d: usize| (0..read).map(|key| scores[key] / total * of(key, 1, d)).sum::<f64>();
            expected.extend((0..head_dim).map(value));
        }
        close(&y, &expected, 1e-5, "attention to what is remembered");
    }
}

#[test]
fn gates_are_activated() {
    let mut random = Random(4);
    // erf by its Maclaurin series.
    let erf = |x: f64| {
        let sum = |terms: i32| {
            let mut term = x;
            let mut sum = x;
            for n in 1..terms {
                term *= -x * x / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            sum * 2.0 / std::f64::consts::PI.sqrt()
        };
        if x.abs() > 5.0 { x.signum() } else { sum(120) }
    };
    type F = fn(f64) -> f64;
    let plain: [(Activation, F); 6] = [
        (Activation::Tanh, f64::tanh),
        (Activation::Silu, |x| x / (1.0 + (-x).exp())),
        (Activation::QuickGelu, |x| x / (1.0 + (-1.702 * x).exp())),
        (Activation::Relu, |x| x.max(0.0)),
        (Activation::Relu2, |x| x.max(0.0).powi(2)),
        (Activation::GeluTanh, |x| {
            0.5 * x * (1.0 + (std::f64::consts::FRAC_2_PI.sqrt() * (x + 0.044715 * x * x * x)).tanh())
        }),
    ];
    let gelu = |x: f64| 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2));
    let functions = plain.into_iter().map(|(f, of)| (f, Box::new(of) as Box<dyn Fn(f64) -> f64>));
    for (f, of) in functions.chain([(Activation::Gelu, Box::new(gelu) as Box<dyn Fn(f64) -> f64>)]) {
        let (tokens, width) = (3, 13);
        let mut x = random.values(tokens * width * 2);
        x.iter_mut().for_each(|x| *x *= 6.0);
        // Far out, where an exponential over- or underflows.
        x[0] = 90.0;
        x[1] = -90.0;
        let weights = Weights::default();
        let y = weights.run(&mut Memory::default(), &x, 2 * width, Ran::default(), |ops, x| ops.gate(x, f).unwrap());
        let row = |row: &[f32]| -> Vec<f64> {
            (0..width).map(|k| of(f64::from(row[k])) * f64::from(row[width + k])).collect()
        };
        close(&y, &x.chunks(2 * width).flat_map(row).collect::<Vec<_>>(), 1e-6, &format!("{f:?}"));
        let y = weights.run(&mut Memory::default(), &x, width, Ran::default(), |ops, x| ops.activate(x, f).unwrap());
        close(&y, &wide(&x).into_iter().map(&of).collect::<Vec<_>>(), 1e-6, &format!("{f:?} without a gate"));
    }
}

#[test]
fn scaled_is_multiplied() {
    let x = [-300.0, 0.0, 0.5, 7.0, 1.0e9];
    let weights = Weights::default();
    let y = weights.run(&mut Memory::default(), &x, 5, Ran::default(), |ops, x| ops.scale(x, -0.25).unwrap());
    close(&y, &x.map(|x| f64::from(x) * -0.25), 0.0, "scale");
}

#[test]
fn caps_are_soft() {
    let x = [-300.0, -30.0, -1.0, 0.0, 0.5, 29.0, 1.0e9];
    let weights = Weights::default();
    let y = weights.run(&mut Memory::default(), &x, 7, Ran::default(), |ops, x| ops.softcap(x, 30.0).unwrap());
    let expected: Vec<f64> = x.iter().map(|x| 30.0 * (f64::from(*x) / 30.0).tanh()).collect();
    close(&y, &expected, 1e-6, "softcap");
}

/// What a test of attention varies.
#[derive(Debug, Clone, Copy)]
struct Case {
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    window: Option<usize>,
    softcap: Option<f32>,
    rotary: Option<Rotary>,
    causal: bool,
    buckets: Option<Buckets>,
}

#[test]
fn attention_is_over_what_a_token_sees() {
    let mut random = Random(5);
    let rotary = |dim, table, tables| Some(Rotary { table, tables, dim, neighbours: false });
    let plain = Case {
        heads: 4,
        kv_heads: 2,
        head_dim: 12,
        window: None,
        softcap: None,
        rotary: rotary(8, 0, 1),
        causal: true,
        buckets: None,
    };
    let buckets = Some(Buckets { count: 4, max_distance: 7 });
    for case in [
        plain,
        Case { kv_heads: 4, rotary: None, ..plain },
        Case { rotary: Some(Rotary { table: 1, tables: 2, dim: 8, neighbours: true }), ..plain },
        Case { window: Some(3), rotary: rotary(12, 1, 2), ..plain },
        Case { kv_heads: 1, softcap: Some(0.8), ..plain },
        Case { causal: false, ..plain },
        Case { causal: false, window: Some(2), rotary: None, ..plain },
        Case { buckets, rotary: None, ..plain },
        Case { buckets, kv_heads: 4, window: Some(5), ..plain },
        Case { buckets, causal: false, ..plain },
        Case { buckets, causal: false, kv_heads: 1, window: Some(3), softcap: Some(0.8), ..plain },
    ] {
        let Case { heads, kv_heads, head_dim, window, softcap, rotary, causal, buckets } = case;
        let scale = 0.3;
        let kind = if causal { AttentionKind::Causal } else { AttentionKind::Bidirectional };
        let mut weights = Weights::default();
        let rows = |buckets: Buckets| buckets.count * if causal { 1 } else { 2 };
        let relative =
            buckets.map(|buckets| Relative { table: weights.vector(&mut random, rows(buckets) * heads), buckets });
        let attention =
            Attention { layer: 1, heads, kv_heads, head_dim, scale, softcap, kind, window, rotary, relative };
        let width = (heads + 2 * kv_heads) * head_dim;
        let (angles_of, total) = (rotary.map_or(0, |r| r.tables * r.dim / 2), 9);
        let angles: Vec<f32> = random
            .values(total * angles_of)
            .iter()
            .flat_map(|angle| [(3.0 * angle).cos(), (3.0 * angle).sin()])
            .collect();
        let x = random.values(total * width);
        // What each head is after rotation.
        let rotated = |token: usize, head: usize| -> Vec<f64> {
            let at = token * width + head * head_dim;
            let mut out = wide(&x[at..at + head_dim]);
            let Some(Rotary { table, tables, dim, neighbours }) = rotary else { return out };
            for i in 0..dim / 2 {
                let pair = (token * tables + table) * dim / 2 + i;
                let (cos, sin) = (f64::from(angles[2 * pair]), f64::from(angles[2 * pair + 1]));
                let (first, second) = if neighbours { (2 * i, 2 * i + 1) } else { (i, i + dim / 2) };
                let (a, b) = (out[first], out[second]);
                (out[first], out[second]) = (a * cos - b * sin, b * cos + a * sin);
            }
            out
        };
        let half = |value: f64| f64::from(f16::from_f64(value).to_f32());
        let bias = |token: usize, key: usize, head: usize| {
            let Some(Relative { table, buckets }) = relative else { return 0.0 };
            let behind = if key > token { buckets.count } else { 0 };
            weights.value(table, (behind + buckets.of(key.abs_diff(token))) * heads + head)
        };
        let mut expected = Vec::new();
        for token in 0..total {
            for head in 0..heads {
                let kv = head / (heads / kv_heads);
                let q = rotated(token, head);
                let seen = match (causal, window) {
                    (true, window) => window.map_or(0, |window| (token + 1).saturating_sub(window))..token + 1,
                    (false, None) => 0..total,
                    (false, Some(window)) => token.saturating_sub(window)..(token + window + 1).min(total),
                };
                let scores: Vec<f64> = seen
                    .clone()
                    .map(|other| {
                        let k = rotated(other, heads + kv);
                        let score = q.iter().zip(&k).map(|(q, k)| q * half(*k)).sum::<f64>() * f64::from(scale);
                        let score = softcap.map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh());
                        score + bias(token, other, head)
                    })
                    .collect();
                let total: f64 = scores.iter().map(|score| score.exp()).sum();
                for d in 0..head_dim {
                    let value =
                        |other: usize| half(f64::from(x[other * width + (heads + kv_heads + kv) * head_dim + d]));
                    expected.push(seen.clone().zip(&scores).map(|(other, s)| s.exp() / total * value(other)).sum());
                }
            }
        }
        // The prompt in two pieces, then token by token; but all at once where tokens see those behind them.
        let mut memory = Memory::default();
        let mut found = Vec::new();
        let mut position = 0;
        let pieces: &[usize] = if causal { &[4, 3, 1, 1] } else { &[total] };
        for tokens in pieces.iter().copied() {
            memory.reserve(1, position + tokens, kv_heads * head_dim).unwrap();
            let end = position + tokens;
            let ran =
                Ran { position, angles: &angles[position * angles_of * 2..end * angles_of * 2], ..Ran::default() };
            let x = &x[position * width..end * width];
            found.extend(weights.run(&mut memory, x, width, ran, |ops, x| ops.attention(x, &attention).unwrap()));
            position = end;
        }
        // A rounding of a key to half precision may go the other way.
        close(&found, &expected, 5e-4, &format!("{case:?}"));
    }
}

#[test]
fn queries_and_keys_are_normalised() {
    let mut random = Random(6);
    let (heads, kv_heads, head_dim, tokens) = (4, 2, 12, 3);
    let width = (heads + 2 * kv_heads) * head_dim;
    for each in [true, false] {
        let mut weights = Weights::default();
        let lens = if each { [head_dim; 2] } else { [heads * head_dim, kv_heads * head_dim] };
        let [q, k] = lens.map(|len| RmsNorm { weight: weights.vector(&mut random, len), eps: 1e-6 });
        let norm = QkNorm { q, k, heads, kv_heads, head_dim, each };
        let x = random.values(tokens * width);
        let y = weights.run(&mut Memory::default(), &x, width, Ran::default(), |ops, x| ops.qk_norm(x, &norm).unwrap());
        let mut expected = Vec::new();
        for row in x.chunks(width) {
            let (queries, rest) = row.split_at(heads * head_dim);
            let (keys, values) = rest.split_at(kv_heads * head_dim);
            for (part, norm, len) in [(queries, q, lens[0]), (keys, k, lens[1])] {
                let of = |x: &[f32]| rms_norm(&wide(x), |k| weights.value(norm.weight, k), 1e-6);
                expected.extend(part.chunks(len).flat_map(of));
            }
            expected.extend(wide(values));
        }
        close(&y, &expected, 1e-6, "qk_norm");
    }
}

#[test]
fn weights_come_in_every_order_and_type() {
    let mut random = Random(7);
    let (rows, cols) = (6, 10);
    let values = random.values(rows * cols);
    let cast = |dtype: Dtype, value: f32| match dtype {
        Dtype::F32 => value.to_le_bytes().to_vec(),
        Dtype::F16 => f16::from_f32(value).to_le_bytes().to_vec(),
        Dtype::BF16 => bf16::from_f32(value).to_le_bytes().to_vec(),
        Dtype::I8 => (((value * 100.0) as i8).to_le_bytes()).to_vec(),
        _ => f64::from(value).to_le_bytes().to_vec(),
    };
    let read = |dtype: Dtype, value: f32| match dtype {
        Dtype::F16 => f16::from_f32(value).to_f32(),
        Dtype::BF16 => bf16::from_f32(value).to_f32(),
        Dtype::I8 => f32::from((value * 100.0) as i8),
        _ => value,
    };
    for storage in STORAGES {
        for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::F64, Dtype::I8] {
            for transposed in [false, true] {
                for plus_one in [false, true] {
                    let mut matrix = Matrix::new("test", rows + 2, cols, storage).unwrap();
                    // Two pieces, as two requests may bring them.
                    for half in [0..2, 2..if transposed { cols } else { rows }] {
                        let (r, c) = if transposed { (0..rows, half) } else { (half, 0..cols) };
                        let at = |row: usize, col: usize| cast(dtype, values[row * cols + col]);
                        let bytes: Vec<u8> = match transposed {
                            true => c.clone().flat_map(|col| r.clone().flat_map(move |row| at(row, col))).collect(),
                            false => r.clone().flat_map(|row| c.clone().flat_map(move |col| at(row, col))).collect(),
                        };
                        let rows = r.start + 1..r.end + 1;
                        let incoming = Incoming { rows, cols: c, transposed, dtype, plus_one };
                        matrix.take(&incoming, &bytes, &mut Vec::new()).unwrap();
                    }
                    let mut row = vec![7.0; stride(cols)];
                    for at in 0..rows + 2 {
                        matrix.widen(at, &mut row).unwrap();
                        let own = |col: usize| match at {
                            0 => 0.0,
                            at if at > rows => 0.0,
                            at => kept(read(dtype, values[(at - 1) * cols + col]) + f32::from(plus_one), storage),
                        };
                        let expected: Vec<f32> =
                            (0..stride(cols)).map(|col| if col < cols { own(col) } else { 0.0 }).collect();
                        assert_eq!(row, expected, "{storage:?} of {dtype}, {transposed}, {plus_one}, row {at}");
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_not_there_is_refused() {
    let mut random = Random(8);
    let mut weights = Weights::default();
    let weight = weights.matrix(&mut random, 4, 8, Storage::F16);
    let mut memory = Memory::default();
    let none = |id: WeightId| weights.matrices.get(id.0);
    let mut ops = Executor::new(&mut memory, &none, Running { ids: &[1], ..Running::default() });
    let x = ops.embed(weight, 8, 1.0).unwrap();
    let refused = |linear: Linear, ops: &mut Executor<'_>| ops.linear(x, &linear).unwrap_err().code();
    let linear = Linear { weight, bias: None, inputs: 8, outputs: 4 };
    assert_eq!(refused(Linear { weight: WeightId(9), ..linear }, &mut ops), "CPU_REFUSED");
    assert_eq!(refused(Linear { outputs: 5, ..linear }, &mut ops), "CPU_REFUSED");
    assert_eq!(refused(Linear { bias: Some(weight), ..linear }, &mut ops), "CPU_REFUSED");
    let attention = Attention {
        layer: 0,
        heads: 2,
        kv_heads: 1,
        head_dim: 2,
        scale: 1.0,
        softcap: None,
        kind: AttentionKind::Causal,
        window: None,
        rotary: None,
        relative: None,
    };
    assert_eq!(ops.attention(x, &attention).unwrap_err().code(), "CPU_REFUSED");
}
