//! Layers on the CPU, in every form that weights are kept in, beside the same by burn-flex in float32: a prompt of many tokens,
//! and one token after it.

#![cfg(test)]

use burn_tensor::activation::{gelu, silu};
use burn_tensor::module::{attention, layer_norm};
use burn_tensor::ops::AttentionModuleOptions;
use burn_tensor::{DType, Device, Tensor};
use half::{bf16, f16};
use layerline::config::Activation;
use layerline::tensor::cpu::{Executor, Incoming, Matrix, Memory, Running, Storage, round};
use layerline::tensor::ops::{
    Attention, AttentionKind, LayerNorm, Linear, Ops, RmsNorm, Rotary, Tensor as Activations, WeightId,
};
use layerline::tensor::{Dtype, Grouped, Integers};

/// SmolLM2-135M's.
const HIDDEN: usize = 576;
const INTERMEDIATE: usize = 1536;
const HEADS: usize = 9;
const KV_HEADS: usize = 3;
const HEAD_DIM: usize = 64;
const Q: usize = HEADS * HEAD_DIM;
const KV: usize = KV_HEADS * HEAD_DIM;
const EPS: f32 = 1e-5;
const PROMPT: usize = 49;

/// What weights are kept as, and how far what comes of a layer may be from burn-flex's, as a part of its largest element. Of floats a
/// 10000th: sums are made in another order, so that here and there a key is rounded to the other one of two halves, which are
/// a 2048th apart. Of integers twice as much: one row of x is rounded too, to a 65534th of the largest of 128 neighbours, four times in a row.
fn kinds() -> Vec<(Storage, f32)> {
    let grouped = |integers, cols, group, zeros| Storage::Grouped(Grouped { integers, cols, group, zeros });
    vec![
        (Storage::F32, 1e-4),
        (Storage::F16, 1e-4),
        (Storage::Bf16, 1e-4),
        (grouped(Integers::Int8, 0, 0, false), 2e-4),
        (grouped(Integers::Int4, 0, 32, false), 2e-4),
        (grouped(Integers::Int4, 0, 64, true), 2e-4),
    ]
}

/// A small generator: the tests need repeatable numbers, not good ones.
struct Random(u64);

impl Random {
    /// Between -1 and 1.
    fn values(&mut self, n: usize) -> Vec<f32> {
        let mut next = || {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((self.0 >> 11) as f64 / (1u64 << 53) as f64 * 2.0 - 1.0) as f32
        };
        (0..n).map(|_| next()).collect()
    }
}

/// The weights of a layer, as both have them.
struct Weights {
    random: Random,
    storage: Storage,
    device: Device,
    matrices: Vec<Matrix>,
    values: Vec<Tensor<2>>,
}

impl Weights {
    fn new(seed: u64, storage: Storage) -> Weights {
        Weights { random: Random(seed), storage, device: Device::flex(), matrices: Vec::new(), values: Vec::new() }
    }

    /// A projection whose outputs are about as large as its inputs.
    fn linear(&mut self, inputs: usize, outputs: usize, bias: bool) -> Linear {
        let scale = (3.0 / inputs as f32).sqrt();
        let values: Vec<f32> = self.random.values(inputs * outputs).iter().map(|x| x * scale).collect();
        let weight = self.keep(&values, inputs, self.storage);
        Linear { weight, bias: bias.then(|| self.vector(outputs, 0.0)), inputs, outputs }
    }

    /// Numbers around `middle`.
    fn vector(&mut self, len: usize, middle: f32) -> WeightId {
        let values: Vec<f32> = self.random.values(len).iter().map(|x| middle + x / 2.0).collect();
        self.keep(&values, len, Storage::F32)
    }

    fn keep(&mut self, values: &[f32], cols: usize, storage: Storage) -> WeightId {
        let rows = values.len() / cols;
        let (storage, coming, bytes, kept) = match storage {
            Storage::Grouped(kind) => {
                let group = if kind.group == 0 { cols } else { kind.group };
                let kind = Grouped { cols, group, ..kind };
                let lines: Vec<Vec<u32>> = values.chunks(cols).map(|row| round(kind, row)).collect();
                let kept = lines.iter().flat_map(|line| (0..cols).map(|at| element(kind, line, at))).collect();
                let bytes = lines.iter().flat_map(|line| &line[..kind.words()]).flat_map(|word| word.to_le_bytes());
                (Storage::Grouped(kind), kind.words(), bytes.collect(), kept)
            }
            floats => {
                let as_kept = |x: &f32| match floats {
                    Storage::F16 => f16::from_f32(*x).to_f32(),
                    Storage::Bf16 => bf16::from_f32(*x).to_f32(),
                    _ => *x,
                };
                let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
                (floats, cols, bytes, values.iter().map(as_kept).collect::<Vec<f32>>())
            }
        };
        let mut matrix = Matrix::new("a weight", rows, cols, storage).unwrap();
        let incoming =
            Incoming { rows: 0..rows, cols: 0..coming, transposed: false, dtype: Dtype::F32, plus_one: false };
        matrix.take(&incoming, &bytes, &mut Vec::new()).unwrap();
        self.matrices.push(matrix);
        self.values.push(Tensor::<1>::from_floats(&kept[..], &self.device).reshape([rows, cols]));
        WeightId(self.matrices.len() - 1)
    }

    fn burn(&self, id: WeightId) -> Tensor<2> {
        self.values[id.0].clone()
    }

    fn burn_vector(&self, id: WeightId) -> Tensor<1> {
        self.burn(id).reshape([-1])
    }

    fn burn_linear(&self, x: Tensor<2>, linear: &Linear) -> Tensor<2> {
        let y = x.matmul(self.burn(linear.weight).transpose());
        linear.bias.map_or(y.clone(), |bias| y + self.burn(bias))
    }
}

/// Of a line of words, what an element is.
fn element(kind: Grouped, line: &[u32], at: usize) -> f32 {
    let Grouped { integers, group, .. } = kind;
    let (a_word, bits) = (integers.a_word(), integers.bits());
    let integer = line[at / a_word] >> (at % a_word * bits) & ((1 << bits) - 1);
    let of_group = |first: usize| f32::from_bits(line[kind.integer_words() + first + at / group]);
    let zero = if kind.zeros { of_group(kind.groups()) } else { integers.middle() as f32 };
    (integer as f32 - zero) * of_group(0)
}

/// What the executor makes of tokens from `position` on.
fn ours(
    weights: &Weights,
    memory: &mut Memory,
    x: &[f32],
    (position, angles): (usize, &[f32]),
    layer: impl Fn(&mut Executor<'_>, Activations) -> layerline::Result<Activations>,
) -> Vec<f32> {
    let tokens = x.len() / HIDDEN;
    memory.clear();
    let input = memory.insert(x, HIDDEN, tokens).unwrap();
    let of = |id: WeightId| weights.matrices.get(id.0);
    let ids = vec![0; tokens];
    let running = Running { ids: &ids, position, angles, ..Running::default() };
    let out = layer(&mut Executor::new(memory, &of, running), input).unwrap();
    (0..tokens).flat_map(|row| memory.row(out, row).to_vec()).collect()
}

/// Asserts that what comes of a layer is the reference's, but for `tolerance` of the largest element.
fn close(found: &[f32], expected: Tensor<2>, tolerance: f32, what: &str) {
    let expected: Vec<f32> = expected.into_data().try_to_vec().unwrap();
    assert_eq!(found.len(), expected.len(), "{what}");
    let most = expected.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    let off = found.iter().zip(&expected).fold(0.0f32, |off, (found, expected)| off.max((found - expected).abs()));
    eprintln!("{what}: off by {:.1e} of {most}", off / most);
    assert!(most > 1.0, "{what}: nothing comes of it");
    assert!(off <= tolerance * most, "{what}: off by {off}, the largest is {most}");
}

/// `[1, heads, tokens, HEAD_DIM]` of columns from `first` on, a key's or value's heads as often as queries share them.
fn heads(qkv: &Tensor<2>, first: usize, count: usize) -> Tensor<4> {
    let tokens = qkv.dims()[0];
    let all = qkv.clone().narrow(1, first, count * HEAD_DIM).reshape([tokens, count, 1, HEAD_DIM]);
    all.repeat_dim(2, HEADS / count).reshape([1, tokens, HEADS, HEAD_DIM]).swap_dims(1, 2)
}

/// As the cache keeps it.
fn cached(x: Tensor<4>) -> Tensor<4> {
    x.cast(DType::F16).cast(DType::F32)
}

/// Of all tokens, `[1, 1, tokens, HEAD_DIM / 2]`.
struct Angles {
    cos: Tensor<4>,
    sin: Tensor<4>,
}

impl Angles {
    fn rotate(&self, x: Tensor<4>) -> Tensor<4> {
        let (a, b) = (x.clone().narrow(3, 0, HEAD_DIM / 2), x.narrow(3, HEAD_DIM / 2, HEAD_DIM / 2));
        let (cos, sin) = (|| self.cos.clone(), || self.sin.clone());
        Tensor::cat(vec![a.clone() * cos() - b.clone() * sin(), b * cos() + a * sin()], 3)
    }
}

fn burn_attention(weights: &Weights, x: Tensor<2>, qkv: &Linear, angles: Option<&Angles>, causal: bool) -> Tensor<2> {
    let tokens = x.dims()[0];
    let qkv = weights.burn_linear(x, qkv);
    let rotated = |x: Tensor<4>| angles.map_or(x.clone(), |angles| angles.rotate(x));
    let (q, k) = (rotated(heads(&qkv, 0, HEADS)), rotated(heads(&qkv, Q, KV_HEADS)));
    let options = AttentionModuleOptions { is_causal: causal, ..Default::default() };
    let y = attention(q, cached(k), cached(heads(&qkv, Q + KV, KV_HEADS)), None, None, options);
    y.swap_dims(1, 2).reshape([tokens, Q])
}

fn our_attention(kind: AttentionKind, rotary: Option<Rotary>) -> Attention {
    let scale = 1.0 / (HEAD_DIM as f32).sqrt();
    let (heads, kv_heads, head_dim) = (HEADS, KV_HEADS, HEAD_DIM);
    Attention { layer: 0, heads, kv_heads, head_dim, scale, softcap: None, kind, window: None, rotary, relative: None }
}

/// Norms before, rotated queries and keys, a gate: Llama's.
#[test]
fn a_decoders_layer() {
    for (at, (storage, tolerance)) in kinds().into_iter().enumerate() {
        let mut weights = Weights::new(at as u64, storage);
        let norms = [0, 1].map(|_| RmsNorm { weight: weights.vector(HIDDEN, 1.0), eps: EPS });
        let qkv = weights.linear(HIDDEN, Q + 2 * KV, false);
        let o = weights.linear(Q, HIDDEN, false);
        let gate_up = weights.linear(HIDDEN, 2 * INTERMEDIATE, false);
        let down = weights.linear(INTERMEDIATE, HIDDEN, false);
        let rotary = Some(Rotary { table: 0, tables: 1, dim: HEAD_DIM, neighbours: false });
        let attention = our_attention(AttentionKind::Causal, rotary);
        let layer = |ops: &mut Executor<'_>, x: Activations| {
            let seen = ops.norm_linear(x, &norms[0], &qkv)?;
            let seen = ops.attention(seen, &attention)?;
            let x = ops.add_linear(x, seen, &o)?;
            let wide = ops.norm_gated_linear(x, &norms[1], &gate_up, Activation::Silu)?;
            ops.add_linear(x, wide, &down)
        };

        let total = PROMPT + 1;
        let x = weights.random.values(total * HIDDEN);
        let angles: Vec<f32> = weights.random.values(total * HEAD_DIM / 2).iter().map(|angle| angle * 3.0).collect();
        let pairs: Vec<f32> = angles.iter().flat_map(|angle| [angle.cos(), angle.sin()]).collect();
        let mut memory = Memory::default();
        memory.reserve(0, total, KV).unwrap();
        let (prompt, last) = x.split_at(PROMPT * HIDDEN);
        let (of_prompt, of_last) = pairs.split_at(PROMPT * HEAD_DIM);
        let many = ours(&weights, &mut memory, prompt, (0, of_prompt), layer);
        let one = ours(&weights, &mut memory, last, (PROMPT, of_last), layer);

        let rms = |x: Tensor<2>, norm: &RmsNorm| {
            let mean = x.clone().powi_scalar(2).mean_dim(1);
            x / (mean + norm.eps).sqrt() * weights.burn(norm.weight)
        };
        let angles = Tensor::<1>::from_floats(&angles[..], &weights.device).reshape([1, 1, total, HEAD_DIM / 2]);
        let angles = Angles { cos: angles.clone().cos(), sin: angles.sin() };
        let x = Tensor::<1>::from_floats(&x[..], &weights.device).reshape([total, HIDDEN]);
        let seen = burn_attention(&weights, rms(x.clone(), &norms[0]), &qkv, Some(&angles), true);
        let x = x + weights.burn_linear(seen, &o);
        let wide = weights.burn_linear(rms(x.clone(), &norms[1]), &gate_up);
        let [gate, up] = [0, INTERMEDIATE].map(|first| wide.clone().narrow(1, first, INTERMEDIATE));
        let expected = x + weights.burn_linear(silu(gate) * up, &down);

        close(&many, expected.clone().narrow(0, 0, PROMPT), tolerance, &format!("{storage:?}, many tokens"));
        close(&one, expected.narrow(0, PROMPT, 1), tolerance, &format!("{storage:?}, one token"));
    }
}

/// Biases, norms behind, no mask, no gate: BERT's.
#[test]
fn an_encoders_layer() {
    for (at, (storage, tolerance)) in kinds().into_iter().enumerate() {
        let mut weights = Weights::new(100 + at as u64, storage);
        let norms = [0, 1].map(|_| {
            let bias = Some(weights.vector(HIDDEN, 0.0));
            LayerNorm { weight: weights.vector(HIDDEN, 1.0), bias, eps: EPS }
        });
        let qkv = weights.linear(HIDDEN, Q + 2 * KV, true);
        let o = weights.linear(Q, HIDDEN, true);
        let up = weights.linear(HIDDEN, INTERMEDIATE, true);
        let down = weights.linear(INTERMEDIATE, HIDDEN, true);
        let attention = our_attention(AttentionKind::Bidirectional, None);
        let layer = |ops: &mut Executor<'_>, x: Activations| {
            let seen = ops.linear(x, &qkv)?;
            let seen = ops.attention(seen, &attention)?;
            let x = ops.add_linear(x, seen, &o)?;
            let x = ops.layer_norm(x, &norms[0])?;
            let wide = ops.activated_linear(x, &up, Activation::Gelu)?;
            let x = ops.add_linear(x, wide, &down)?;
            ops.layer_norm(x, &norms[1])
        };
        for tokens in [PROMPT, 1] {
            let x = weights.random.values(tokens * HIDDEN);
            let mut memory = Memory::default();
            memory.reserve(0, tokens, KV).unwrap();
            let found = ours(&weights, &mut memory, &x, (0, &[]), layer);

            let norm = |x: Tensor<2>, norm: &LayerNorm| {
                let [weight, bias] = [Some(norm.weight), norm.bias].map(|id| id.map(|id| weights.burn_vector(id)));
                layer_norm(x, weight.unwrap(), bias, f64::from(norm.eps))
            };
            let x = Tensor::<1>::from_floats(&x[..], &weights.device).reshape([tokens, HIDDEN]);
            let seen = burn_attention(&weights, x.clone(), &qkv, None, false);
            let x = norm(x + weights.burn_linear(seen, &o), &norms[0]);
            let expected = norm(x.clone() + weights.burn_linear(gelu(weights.burn_linear(x, &up)), &down), &norms[1]);
            close(&found, expected, tolerance, &format!("{storage:?}, {tokens} tokens"));
        }
    }
}
