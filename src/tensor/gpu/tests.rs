//! Every op against a float64 reference, on shapes that fit no tile, in every storage, with and without subgroups.
//!
//! The same tests run natively (`cargo test`) and in browsers (`wasm-pack test --headless`).

mod grouped;
mod routed;
mod short_convolution;

use std::cell::RefCell;
use std::rc::Rc;

use half::{bf16, f16};

use super::device::{Buffer, Gpu, GpuOptions, Usage};
use super::dispatch::{Activations, BufferName, Running, Shape, stride};
use super::kernel::{Reduction, Splits, Storage, Tiles, Tuning, Vector};
use super::program::{Pipelines, Program};
use super::record::{Mode, Recorder};
use crate::config::Activation;
use crate::tensor::ops::{
    Attention, AttentionKind, LayerNorm, Linear, Number, Ops, Pool, QkNorm, RmsNorm, Rotary, Route, Rows, Tensor,
    WeightId,
};
use crate::weights::init::Init;
use crate::weights::layout::{Kept, Layout};
use crate::weights::spec::{WeightSpec, WeightSpecs};

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test;

/// Stamps an async test for the native harness and for the browsers'.
macro_rules! device_test {
    ($name:ident, $body:expr) => {
        #[cfg(not(target_arch = "wasm32"))]
        #[test]
        fn $name() {
            pollster::block_on($body);
        }
        #[cfg(target_arch = "wasm32")]
        #[wasm_bindgen_test]
        async fn $name() {
            $body.await;
        }
    };
}

pub(crate) use device_test;

mod attention;

/// A small generator: the tests need repeatable numbers, not good ones.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64 * 2.0 - 1.0
    }

    fn values(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.next() as f32).collect()
    }
}

/// What `storage` keeps of a value.
fn kept(value: f32, storage: Storage) -> f32 {
    match storage {
        Storage::F32 => value,
        Storage::F16 | Storage::F16Packed => f16::from_f32(value).to_f32(),
        Storage::Bf16 => bf16::from_f32(value).to_f32(),
        Storage::Int4 | Storage::Int8 => unreachable!("in tests/grouped.rs"),
    }
}

fn encode(values: &[f32], storage: Storage) -> Vec<u8> {
    let bytes = |value: &f32| match storage {
        // Lines of words are told by their bits.
        Storage::F32 | Storage::Int4 | Storage::Int8 => value.to_le_bytes().to_vec(),
        Storage::F16 | Storage::F16Packed => f16::from_f32(*value).to_le_bytes().to_vec(),
        Storage::Bf16 => bf16::from_f32(*value).to_le_bytes().to_vec(),
    };
    let mut all: Vec<u8> = values.iter().flat_map(bytes).collect();
    all.resize(all.len().next_multiple_of(4), 0);
    all
}

struct Weight {
    layout: Layout,
    values: Vec<f32>,
}

/// One device, one set of weights, one block that is run.
struct Case {
    gpu: Gpu,
    pipelines: Rc<RefCell<Pipelines>>,
    weights: Vec<Weight>,
    tokens: usize,
    mode: Mode,
    /// Tokens that ran before, and what they left in the cache.
    position: usize,
    cache: [Vec<f32>; 2],
    /// Instead of what suits the device.
    tuning: Option<Tuning>,
    /// Those of the tokens that are routed to an expert; where there are some, they are what runs.
    routes: Vec<Route>,
}

impl Case {
    fn new(device: &Device, tokens: usize, mode: Mode) -> Case {
        let (gpu, pipelines) = device.clone();
        let (cache, routes) = Default::default();
        Case { gpu, pipelines, weights: Vec::new(), tokens, mode, position: 0, cache, tuning: None, routes }
    }

    fn running(&self) -> Running {
        let tokens = if self.routes.is_empty() { self.tokens } else { self.routes.len() };
        Running { tokens: tokens as u32, keys: (self.position + self.tokens) as u32 }
    }

    fn weight(&mut self, random: &mut Random, rows: usize, cols: usize, storage: Storage) -> WeightId {
        let mut specs = WeightSpecs::default();
        let id = specs.matrix("test", vec![("test".to_owned(), rows)], cols, Init::Zeros);
        let spec: &WeightSpec = specs.get(id).unwrap();
        let layout = Layout::new(spec, Kept::Floats(storage), self.gpu.capabilities()).unwrap();
        let values = random.values(rows * cols).into_iter().map(|v| kept(v, storage)).collect();
        self.weights.push(Weight { layout, values });
        WeightId(self.weights.len() - 1)
    }

    fn buffer(&self, bytes: &[u8]) -> Rc<Buffer> {
        let buffer = self.gpu.create_buffer("test", bytes.len() as u64, Usage::Storage).unwrap();
        self.gpu.write(&buffer, 0, bytes).unwrap();
        Rc::new(buffer)
    }

    /// Runs what `op` records over `x`, which is `[tokens, width]`, and reads its result and the named buffers back.
    async fn run(
        &self,
        x: &[f32],
        width: usize,
        cache_bytes: usize,
        angles: &[f32],
        ids: &[u32],
        op: impl FnOnce(&mut Recorder<'_>, Tensor) -> Tensor,
    ) -> Ran {
        let layouts: Vec<Layout> = self.weights.iter().map(|w| w.layout.clone()).collect();
        let tuning = self.tuning.clone().unwrap_or_else(|| Tuning::of(self.gpu.capabilities()));
        let mut activations = Activations::default();
        let id = activations.place(Shape { width, rows: Rows::All, most: None }, 0);
        let mut recorder = Recorder::new(self.mode, &tuning, &layouts, &mut activations);
        let input = recorder.carry(Tensor { id, width, rows: Rows::All });
        let output = op(&mut recorder, input);
        let dispatches = recorder.take();
        let mut pipelines = self.pipelines.take();
        pipelines.compile(&self.gpu, dispatches.iter().map(|d| &d.kernel)).await.unwrap();

        let mut buffers: Vec<Rc<Buffer>> = Vec::new();
        for shape in activations.shapes() {
            // What nobody writes must show.
            buffers.push(self.buffer(&encode(&vec![f32::NAN; self.tokens * stride(shape.width)], Storage::F32)));
        }
        let mut padded = Vec::new();
        for row in x.chunks(width.max(1)) {
            padded.extend_from_slice(row);
            padded.resize(padded.len().next_multiple_of(stride(width)), 0.0);
        }
        if !x.is_empty() {
            self.gpu.write(&buffers[0], 0, &encode(&padded, Storage::F32)).unwrap();
        }
        let mut step: Vec<u8> = [self.running().tokens, self.position as u32, self.tokens as u32, 0]
            .iter()
            .flat_map(|w| w.to_le_bytes())
            .collect();
        step.extend(angles.iter().flat_map(|a| a.to_le_bytes()));
        // The binding holds one pair at least.
        step.resize(step.len().max(24), 0);
        let step = self.buffer(&step);
        let ids_bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).chain([0; 4]).collect();
        let ids = self.buffer(&ids_bytes);
        let [keys, values] = [0, 1].map(|which: usize| {
            let mut bytes = encode(&self.cache[which], Storage::F16);
            bytes.resize(cache_bytes.max(4), 0);
            self.buffer(&bytes)
        });
        let candidates = self.buffer(&[0; 4096]);
        let routes = self.routes.iter().flat_map(|route| [route.token, route.weight.to_bits()]);
        let routes = self.buffer(&routes.flat_map(u32::to_le_bytes).chain([0; 8]).collect::<Vec<u8>>());
        let weights: Vec<Vec<Rc<Buffer>>> = self.weights.iter().map(|weight| self.upload(weight)).collect();
        let program = Program::link(&self.gpu, &pipelines, &dispatches, |name| {
            Ok(match name {
                BufferName::Weight(id, part) => weights[id.0][part].clone(),
                BufferName::Activation(place) => buffers[place].clone(),
                BufferName::Step => step.clone(),
                BufferName::Ids | BufferName::TokenTypes | BufferName::PositionIds => ids.clone(),
                BufferName::Keys(_) => keys.clone(),
                BufferName::Values(_) => values.clone(),
                // What shows attention weights is never part of a block.
                BufferName::Candidates | BufferName::AttentionWeights => candidates.clone(),
                BufferName::Routes => routes.clone(),
            })
        })
        .unwrap();
        self.pipelines.replace(pipelines);
        let mut encoder = self.gpu.encoder();
        program.encode(&mut encoder.pass(), self.running());
        encoder.submit();
        let rows = if output.rows == Rows::One { 1 } else { self.tokens };
        let cached = keys.size() as usize / 4;
        let wanted =
            [(&buffers[output.id], rows * stride(output.width)), (&ids, 1), (&keys, cached), (&values, cached)];
        let [all, id, keys, values] = self.read(wanted).await;
        let y = all.chunks(stride(output.width)).flat_map(|row| row[..output.width].to_vec()).collect();
        Ran { y, id: id[0].to_bits(), keys: halves(&keys), values: halves(&values), dispatches: dispatches.len() }
    }

    /// Runs a projection of a normalised x, or of x as it is, or twice, the second time added to the first.
    async fn run_linear(&self, x: &[f32], linear: &Linear, norm: Option<&RmsNorm>, add: bool) -> Ran {
        let op = |ops: &mut Recorder<'_>, x| match (norm, add) {
            (Some(norm), _) => ops.norm_linear(x, norm, linear).unwrap(),
            (None, true) => {
                let y = ops.linear(x, linear).unwrap();
                ops.add_linear(y, x, linear).unwrap()
            }
            (None, false) => ops.linear(x, linear).unwrap(),
        };
        self.run(x, linear.inputs, 0, &[], &[], op).await
    }

    fn upload(&self, weight: &Weight) -> Vec<Rc<Buffer>> {
        let Layout { cols, stride, storage, .. } = weight.layout;
        let rows: Vec<&[f32]> = weight.values.chunks(cols).collect();
        let part = |first: usize, n: usize| {
            let mut values = Vec::new();
            for row in &rows[first..first + n] {
                values.extend_from_slice(row);
                values.resize(values.len() + stride - cols, 0.0);
            }
            if cols == 1 {
                values.resize(values.len().next_multiple_of(4), 0.0);
            }
            self.buffer(&encode(&values, storage))
        };
        weight.layout.parts.iter().map(|p| part(p.first, p.rows)).collect()
    }

    /// Reads words of several buffers at once: Firefox takes 100 ms for each read, however small.
    async fn read<const N: usize>(&self, wanted: [(&Rc<Buffer>, usize); N]) -> [Vec<f32>; N] {
        let total = wanted.iter().map(|(_, words)| *words as u64 * 4).sum();
        let back = Rc::new(self.gpu.create_buffer("back", total, Usage::Readback).unwrap());
        let mut encoder = self.gpu.encoder();
        let mut at = 0;
        for (buffer, words) in &wanted {
            encoder.copy(buffer, 0, &back, at, *words as u64 * 4).unwrap();
            at += *words as u64 * 4;
        }
        encoder.submit();
        let bytes = self.gpu.map(&back, total).bytes().await.unwrap();
        let mut words = bytes.chunks(4).map(|w| f32::from_le_bytes(w.try_into().unwrap()));
        wanted.map(|(_, count)| words.by_ref().take(count).collect())
    }
}

fn halves(words: &[f32]) -> Vec<f32> {
    let split = |w: &f32| [w.to_bits() as u16, (w.to_bits() >> 16) as u16].map(|b| f16::from_bits(b).to_f32());
    words.iter().flat_map(split).collect()
}

struct Ran {
    y: Vec<f32>,
    id: u32,
    keys: Vec<f32>,
    values: Vec<f32>,
    dispatches: usize,
}

/// Asserts that each value is within `bound` of its reference, the bound growing with the reference's magnitude sum.
fn close(what: &str, found: &[f32], expected: &[(f64, f64)]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (found, (expected, bound))) in found.iter().zip(expected).enumerate() {
        let off = (f64::from(*found) - expected).abs();
        assert!(off <= *bound, "{what}[{i}]: {found} instead of {expected}, {off} off, {bound} allowed");
    }
}

/// `(x·w, what float32 summation may be off)`: a rounding for each product and sum, of the terms' magnitudes.
fn dot(x: &[f64], w: &[f32]) -> (f64, f64) {
    let terms = || x.iter().zip(w).map(|(x, w)| x * f64::from(*w));
    let magnitude: f64 = terms().map(f64::abs).sum();
    (terms().sum(), magnitude * f64::from(f32::EPSILON) * (x.len() as f64).sqrt().max(4.0))
}

fn rms(x: &[f32], weight: &[f32], eps: f32) -> Vec<f64> {
    let mean = x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / x.len() as f64;
    let scale = 1.0 / (mean + f64::from(eps)).sqrt();
    x.iter().zip(weight).map(|(x, w)| f64::from(*x) * scale * f64::from(*w)).collect()
}

fn activate(f: Activation, v: f64) -> f64 {
    match f {
        Activation::Silu => v / (1.0 + (-v).exp()),
        Activation::QuickGelu => v / (1.0 + (-1.702 * v).exp()),
        Activation::GeluTanh => {
            0.5 * v * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (v + 0.044715 * v.powi(3))).tanh())
        }
        Activation::Gelu => 0.5 * v * (1.0 + erf(v / std::f64::consts::SQRT_2)),
        Activation::Relu => v.max(0.0),
        Activation::Relu2 => v.max(0.0).powi(2),
        Activation::Tanh => v.tanh(),
    }
}

/// By its series where that is exact, by the continued fraction of its complement elsewhere.
fn erf(v: f64) -> f64 {
    let root_pi = std::f64::consts::PI.sqrt();
    if v.abs() > 2.0 {
        let tail = (1..60).rev().fold(0.0, |tail, n| f64::from(n) / 2.0 / (v.abs() + tail));
        return v.signum() * (1.0 - (-v * v).exp() / root_pi / (v.abs() + tail));
    }
    let (mut term, mut sum) = (v, v);
    for n in 1..60 {
        term *= -v * v / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    2.0 / root_pi * sum
}

/// A device and what has been compiled for it.
pub(crate) type Device = (Gpu, Rc<RefCell<Pipelines>>);

/// Every kind of device that this adapter can be: with and without shader-f16 and subgroups, and with small bindings.
pub(crate) async fn devices() -> Vec<Device> {
    let mut all = Vec::new();
    for (without_f16, without_subgroups, max_binding) in
        [(false, false, None), (true, true, None), (true, false, Some(40_000))]
    {
        // In a browser there is a field more.
        #[allow(clippy::needless_update)]
        let options = GpuOptions { without_f16, without_subgroups, max_binding, ..Default::default() };
        all.push((Gpu::request(&options).await.unwrap(), Rc::default()));
    }
    all
}

pub(crate) fn storages(gpu: &Gpu) -> Vec<Storage> {
    let mut all = vec![Storage::F32, Storage::F16Packed, Storage::Bf16];
    if gpu.capabilities().shader_f16 {
        all.push(Storage::F16);
    }
    all
}

/// Forms of the matrix-vector product: rows that share x, and whether two quads are read at a time.
const VECTORS: [(u32, bool); 6] = [(4, false), (4, true), (2, false), (2, true), (1, false), (1, true)];

/// Forms of the matrix product: without tiles; an invocation's share large and small, tiles that are square and not.
const TILES: [Tiles; 4] = [
    Tiles::Direct,
    Tiles::Shared { m: 64, n: 64, k: 4, micro_m: 2, micro_n: 1 },
    Tiles::Shared { m: 32, n: 64, k: 2, micro_m: 1, micro_n: 1 },
    Tiles::Shared { m: 64, n: 128, k: 3, micro_m: 2, micro_n: 2 },
];

const MODES: [(Mode, usize); 3] = [(Mode::Decode, 1), (Mode::Prefill, 1), (Mode::Prefill, 37)];

/// Software GPUs compile for most of a test's time, and in a browser longer than natively. So there one case in `n` is
/// run: a prime that divides no number of cases in a loop meets every value of every loop.
struct Sample(usize);

impl Sample {
    fn skips(&mut self, n: usize) -> bool {
        self.0 += 1;
        cfg!(target_arch = "wasm32") && !self.0.is_multiple_of(n)
    }
}

async fn linear() {
    let random = &mut Random(1);
    let mut sample = Sample(0);
    let (mut vectors, mut matrices) = (0, 0);
    for device in devices().await {
        let gpu = &device.0;
        for storage in storages(gpu) {
            for (mode, tokens) in MODES {
                for (inputs, outputs) in [(72, 131), (75, 4), (576, 70), (130, 1)] {
                    for (with_bias, add, with_norm) in [
                        (false, false, false),
                        (true, false, true),
                        (false, true, false),
                        (true, true, false),
                        (true, false, false),
                    ] {
                        if sample.skips(13) {
                            continue;
                        }
                        let mut case = Case::new(&device, tokens, mode);
                        // Every form of both products runs on every device, whichever it is that suits it.
                        let turn = if mode == Mode::Decode { &mut vectors } else { &mut matrices };
                        *turn += 1;
                        let (rows, octets) = VECTORS[*turn % VECTORS.len()];
                        let tiles = TILES[*turn % TILES.len()];
                        let suits = Tuning::of(gpu.capabilities());
                        let many = suits.vector.reduction == Reduction::Workgroup && *turn % 2 == 0;
                        let lanes = if many { 32 } else { suits.vector.lanes };
                        let vector = Vector { lanes, rows, octets, ..suits.vector };
                        case.tuning = Some(Tuning { tiles, small_tiles: tiles, vector, ..suits });
                        let weight = case.weight(random, outputs, inputs, storage);
                        let bias = with_bias.then(|| case.weight(random, outputs, 1, Storage::F32));
                        let norm = case.weight(random, inputs, 1, Storage::F32);
                        let norm = RmsNorm { weight: norm, eps: 1e-5 };
                        let x = random.values(tokens * inputs);
                        let linear = Linear { weight, bias, inputs, outputs };
                        let ran = case.run_linear(&x, &linear, with_norm.then_some(&norm), add).await;
                        let mut expected = Vec::new();
                        for row in x.chunks(inputs) {
                            let row = match with_norm {
                                true => rms(row, &case.weights[norm.weight.0].values, norm.eps),
                                false => row.iter().map(|v| f64::from(*v)).collect(),
                            };
                            for (o, w) in case.weights[0].values.chunks(inputs).enumerate() {
                                let bias = bias.map_or(0.0, |b| f64::from(case.weights[b.0].values[o]));
                                let times = if add { 2.0 } else { 1.0 };
                                let (sum, bound) = dot(&row, w);
                                let sum = times * (sum + bias);
                                expected.push((sum, 2.0 * bound + 1e-6 * sum.abs() + 1e-7));
                            }
                        }
                        let what =
                            format!("{storage:?} {mode:?} {tokens}×{inputs}→{outputs} norm {with_norm} add {add}");
                        close(&what, &ran.y, &expected);
                        if mode == Mode::Decode && case.weights[0].layout.parts.len() == 1 && !add {
                            assert_eq!(ran.dispatches, 1, "norm and bias are fused into the product");
                        }
                    }
                }
            }
        }
    }
}
device_test!(linear_equals_float64, linear());

async fn gated() {
    let random = &mut Random(2);
    use Activation::{Gelu, GeluTanh, QuickGelu, Relu, Silu};
    for device in devices().await {
        for (mode, tokens) in MODES {
            for f in [Silu, GeluTanh, Gelu, QuickGelu, Relu] {
                let (inputs, wide) = (76, 133);
                let storage = Storage::Bf16;
                let mut case = Case::new(&device, tokens, mode);
                let weight = case.weight(random, 2 * wide, inputs, storage);
                let norm = RmsNorm { weight: case.weight(random, inputs, 1, Storage::F32), eps: 1e-6 };
                let x = random.values(tokens * inputs);
                let linear = Linear { weight, bias: None, inputs, outputs: 2 * wide };
                let normed = f != Gelu;
                let ran = case
                    .run(&x, inputs, 0, &[], &[], |ops, x| match normed {
                        true => ops.norm_gated_linear(x, &norm, &linear, f).unwrap(),
                        false => ops.gated_linear(x, &linear, f).unwrap(),
                    })
                    .await;
                let mut expected = Vec::new();
                for row in x.chunks(inputs) {
                    let row = match normed {
                        true => rms(row, &case.weights[1].values, norm.eps),
                        false => row.iter().map(|v| f64::from(*v)).collect(),
                    };
                    let rows: Vec<&[f32]> = case.weights[0].values.chunks(inputs).collect();
                    for o in 0..wide {
                        let ((gate, a), (up, b)) = (dot(&row, rows[o]), dot(&row, rows[o + wide]));
                        let y = activate(f, gate) * up;
                        // No activation is steeper than 1.2.
                        expected.push((y, 2.4 * (a * up.abs() + b * gate.abs()) + 1e-5 * y.abs() + 1e-6));
                    }
                }
                close(&format!("{f:?} {mode:?} {tokens}"), &ran.y, &expected);
            }
        }
    }
}
device_test!(gated_linear_equals_float64, gated());

async fn norms() {
    let random = &mut Random(3);
    for device in devices().await {
        for (width, tokens) in [(1, 3), (75, 37), (576, 1), (1030, 5)] {
            let mut case = Case::new(&device, tokens, Mode::Prefill);
            let norm = RmsNorm { weight: case.weight(random, width, 1, Storage::F32), eps: 1e-5 };
            let x = random.values(tokens * width);
            let bound = |y: Vec<f64>| y.into_iter().map(|y| (y, 4e-6 * y.abs() + 1e-7)).collect::<Vec<_>>();
            let all = case.run(&x, width, 0, &[], &[], |ops, x| ops.rms_norm(x, &norm).unwrap()).await;
            let rows = || x.chunks(width).map(|row| rms(row, &case.weights[0].values, norm.eps));
            close("rms_norm", &all.y, &bound(rows().flatten().collect()));
            let last = case.run(&x, width, 0, &[], &[], |ops, x| ops.rms_norm_last(x, &norm).unwrap()).await;
            close("rms_norm_last", &last.y, &bound(rows().next_back().unwrap()));
            let added = case.run(&x, width, 0, &[], &[], |ops, x| {
                let y = ops.rms_norm(x, &norm).unwrap();
                ops.add_rms_norm(y, x, &norm).unwrap()
            });
            close("add_rms_norm", &added.await.y, &bound(rows().flatten().map(|y| 2.0 * y).collect()));
        }
    }
}
device_test!(rms_norm_equals_float64, norms());

async fn layer_norms() {
    let random = &mut Random(9);
    for device in devices().await {
        // A large mean leaves nothing of a variance that is a difference of sums.
        for (width, tokens, mean) in [(1, 3, 0.0), (75, 37, 0.0), (576, 1, 100.0), (1030, 5, -3.0)] {
            let mut case = Case::new(&device, tokens, Mode::Prefill);
            let [weight, bias] = [(); 2].map(|()| case.weight(random, width, 1, Storage::F32));
            let norm = LayerNorm { weight, bias: Some(bias), eps: 1e-5 };
            let x: Vec<f32> = random.values(tokens * width).into_iter().map(|v| v + mean).collect();
            let rows = x.chunks(width).map(|row| {
                let mean = row.iter().map(|v| f64::from(*v)).sum::<f64>() / width as f64;
                let variance = row.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / width as f64;
                let scale = 1.0 / (variance + 1e-5).sqrt();
                let affine = case.weights[0].values.iter().zip(&case.weights[1].values);
                let normed = row
                    .iter()
                    .zip(affine)
                    .map(|(v, (weight, bias))| (f64::from(*v) - mean) * scale * f64::from(*weight) + f64::from(*bias));
                // The mean is rounded as values of its size are.
                let off = 4e-6 + scale * mean.abs() * f64::from(f32::EPSILON);
                normed.map(|y| (y, off * (1.0 + y.abs()))).collect::<Vec<_>>()
            });
            let rows: Vec<_> = rows.collect();
            let all = case.run(&x, width, 0, &[], &[], |ops, x| ops.layer_norm(x, &norm).unwrap()).await;
            close("layer_norm", &all.y, &rows.concat());
            let last = case.run(&x, width, 0, &[], &[], |ops, x| ops.layer_norm_last(x, &norm).unwrap()).await;
            close("layer_norm_last", &last.y, rows.last().unwrap());
            let bare = LayerNorm { bias: None, ..norm };
            let bare = case.run(&x, width, 0, &[], &[], |ops, x| ops.layer_norm(x, &bare).unwrap()).await;
            let biases = case.weights[1].values.iter().cycle().map(|bias| f64::from(*bias));
            let rows: Vec<_> = rows.concat().into_iter().zip(biases).map(|((y, off), bias)| (y - bias, off)).collect();
            close("layer_norm without bias", &bare.y, &rows);
        }
    }
}
device_test!(layer_norm_equals_float64, layer_norms());

async fn activated() {
    let random = &mut Random(10);
    use Activation::{Gelu, GeluTanh, QuickGelu, Relu, Relu2, Silu, Tanh};
    let mut sample = Sample(0);
    let mut turn = 0;
    for device in devices().await {
        for (mode, tokens) in MODES {
            for f in [Silu, GeluTanh, Gelu, QuickGelu, Relu, Relu2, Tanh] {
                if sample.skips(7) {
                    continue;
                }
                let (inputs, outputs) = (76, 133);
                let mut case = Case::new(&device, tokens, mode);
                turn += 1;
                let (rows, octets) = VECTORS[turn % VECTORS.len()];
                let suits = Tuning::of(device.0.capabilities());
                let vector = Vector { rows, octets, ..suits.vector };
                case.tuning = Some(Tuning { vector, ..suits });
                let weight = case.weight(random, outputs, inputs, Storage::Bf16);
                let bias = case.weight(random, outputs, 1, Storage::F32);
                let linear = Linear { weight, bias: Some(bias), inputs, outputs };
                let x = random.values(tokens * inputs);
                let ran =
                    case.run(&x, inputs, 0, &[], &[], |ops, x| ops.activated_linear(x, &linear, f).unwrap()).await;
                let mut expected = Vec::new();
                for row in x.chunks(inputs) {
                    let row: Vec<f64> = row.iter().map(|v| f64::from(*v)).collect();
                    for (w, bias) in case.weights[0].values.chunks(inputs).zip(&case.weights[1].values) {
                        let (sum, bound) = dot(&row, w);
                        let y = activate(f, sum + f64::from(*bias));
                        expected.push((y, 2.4 * bound + 1e-5 * y.abs() + 1e-6));
                    }
                }
                close(&format!("{f:?} {mode:?} {tokens}"), &ran.y, &expected);
                if mode == Mode::Decode {
                    assert_eq!(ran.dispatches, 1, "one token's activation is a part of the product");
                }
            }
        }
    }
}
device_test!(activated_linear_equals_float64, activated());

async fn positions() {
    let random = &mut Random(11);
    for device in devices().await {
        for storage in storages(&device.0) {
            for (tokens, position) in [(1, 0), (5, 0), (7, 993), (1, 999)] {
                let width = 75;
                let mut case = Case::new(&device, tokens, Mode::Prefill);
                let table = case.weight(random, 1000, width, storage);
                let x = random.values(tokens * width);
                // Of a position the table's row behind the first two, say.
                let first = position.min(2);
                let positions: Vec<u32> = (position - first..).take(tokens).map(|at| at as u32).collect();
                let ran = case
                    .run(&x, width, 0, &[], &positions, |ops, x| {
                        ops.add_rows(x, table, Number::Position { first }).unwrap()
                    })
                    .await;
                let added = x.iter().zip(&case.weights[0].values[position * width..]);
                let expected: Vec<_> = added.map(|(x, p)| (f64::from(x + p), 0.0)).collect();
                close(&format!("{storage:?} {position}"), &ran.y, &expected);
            }
        }
    }
}
device_test!(positions_are_exact_also_when_split, positions());

async fn numbers_and_pools() {
    let random = &mut Random(12);
    for device in devices().await {
        for (tokens, width) in [(1, 72), (5, 75), (70, 300)] {
            let mut case = Case::new(&device, tokens, Mode::Prefill);
            case.position = 3;
            let table = case.weight(random, 1000, width, Storage::Bf16);
            let numbers: Vec<u32> = (0..tokens as u32).map(|token| (token * 389 + 999) % 1000).collect();
            let x = random.values(tokens * width);
            for by in [Number::Position { first: 0 }, Number::TokenType] {
                let ran = case.run(&x, width, 0, &[], &numbers, |ops, x| ops.add_rows(x, table, by).unwrap()).await;
                let added = numbers.iter().flat_map(|at| &case.weights[0].values[*at as usize * width..][..width]);
                let expected: Vec<_> = x.iter().zip(added).map(|(x, added)| (f64::from(x + added), 0.0)).collect();
                close(&format!("{by:?}"), &ran.y, &expected);
            }
            let first: Vec<_> = x[..width].iter().map(|x| (f64::from(*x), 0.0)).collect();
            let ran = case.run(&x, width, 0, &[], &[], |ops, x| ops.pool(x, Pool::First).unwrap()).await;
            close("the first row", &ran.y, &first);
            let mean = |k: usize| x.chunks(width).map(|row| f64::from(row[k])).sum::<f64>() / tokens as f64;
            let mean: Vec<_> = (0..width).map(|k| (mean(k), 1e-6)).collect();
            let ran = case.run(&x, width, 0, &[], &[], |ops, x| ops.pool(x, Pool::Mean).unwrap()).await;
            close("the mean row", &ran.y, &mean);
            let last: Vec<_> = x[(tokens - 1) * width..].iter().map(|x| (f64::from(*x), 0.0)).collect();
            let ran = case.run(&x, width, 0, &[], &[], |ops, x| ops.pool(x, Pool::Last).unwrap()).await;
            close("the last row", &ran.y, &last);
            let row = case.weight(random, width, 1, Storage::F32);
            let ran = case.run(&x, width, 0, &[], &[], |ops, x| ops.replace_first(x, row).unwrap()).await;
            let replaced = case.weights[row.0].values.iter().chain(&x[width..]);
            close("another first row", &ran.y, &replaced.map(|x| (f64::from(*x), 0.0)).collect::<Vec<_>>());
        }
    }
}
device_test!(numbered_rows_and_pools_equal_float64, numbers_and_pools());

/// A row of qkv whose queries and keys are normalised.
fn qk_normed(row: &[f32], norm: &QkNorm, weights: &[Weight]) -> Vec<f64> {
    let (queries, rest) = row.split_at(norm.heads * norm.head_dim);
    let (keys, values) = rest.split_at(norm.kv_heads * norm.head_dim);
    let mut normed = Vec::new();
    for (part, RmsNorm { weight, eps }) in [(queries, norm.q), (keys, norm.k)] {
        let weight = &weights[weight.0].values;
        normed.extend(part.chunks(weight.len()).flat_map(|group| rms(group, weight, eps)));
    }
    normed.extend(values.iter().map(|v| f64::from(*v)));
    normed
}

async fn qk_norms() {
    let random = &mut Random(7);
    for device in devices().await {
        for (heads, kv_heads, head_dim, tokens) in [(6, 2, 12, 5), (9, 3, 64, 1), (2, 1, 256, 37)] {
            for each in [true, false] {
                let mut case = Case::new(&device, tokens, Mode::Prefill);
                let widths = [heads, kv_heads].map(|heads| if each { head_dim } else { heads * head_dim });
                let [q, k] =
                    widths.map(|width| RmsNorm { weight: case.weight(random, width, 1, Storage::F32), eps: 1e-5 });
                let norm = QkNorm { q, k, heads, kv_heads, head_dim, each };
                let width = (heads + 2 * kv_heads) * head_dim;
                let x = random.values(tokens * width);
                let ran = case.run(&x, width, 0, &[], &[], |ops, x| ops.qk_norm(x, &norm).unwrap()).await;
                let expected = x.chunks(width).flat_map(|row| qk_normed(row, &norm, &case.weights));
                let expected: Vec<_> = expected.map(|y| (y, 4e-6 * y.abs() + 1e-7)).collect();
                close(&format!("{norm:?} of {tokens}"), &ran.y, &expected);
            }
        }
    }
}
device_test!(qk_norm_equals_float64, qk_norms());

async fn soft_caps() {
    let random = &mut Random(8);
    for device in devices().await {
        for (mode, tokens) in MODES {
            let (width, cap) = (131, 3.0);
            let x: Vec<f32> = random.values(tokens * width).into_iter().map(|v| 40.0 * v).collect();
            let case = Case::new(&device, tokens, mode);
            let ran = case.run(&x, width, 0, &[], &[], |ops, x| ops.softcap(x, cap).unwrap()).await;
            let cap = f64::from(cap);
            let expected: Vec<_> = x.iter().map(|v| (cap * (f64::from(*v) / cap).tanh(), 1e-5)).collect();
            close(&format!("softcap {mode:?} {tokens}"), &ran.y, &expected);
        }
    }
}
device_test!(softcap_equals_float64, soft_caps());

async fn scaled() {
    let random = &mut Random(15);
    for device in devices().await {
        for (mode, tokens) in MODES {
            let x = random.values(tokens * 131);
            let case = Case::new(&device, tokens, mode);
            let ran = case.run(&x, 131, 0, &[], &[], |ops, x| ops.scale(x, -0.3).unwrap()).await;
            let expected: Vec<_> = x.iter().map(|v| (f64::from(*v) * f64::from(-0.3f32), 1e-7)).collect();
            close(&format!("scale {mode:?} {tokens}"), &ran.y, &expected);
        }
    }
}
device_test!(scale_equals_float64, scaled());

async fn embed() {
    let random = &mut Random(4);
    for device in devices().await {
        let gpu = &device.0;
        for storage in storages(gpu) {
            for (vocab, width) in [(1000, 72), (131, 75)] {
                let ids = [0, vocab as u32 - 1, 7, 7, 130, 64];
                let mut case = Case::new(&device, ids.len(), Mode::Prefill);
                let table = case.weight(random, vocab, width, storage);
                let ran = case.run(&[], width, 0, &[], &ids, |ops, _| ops.embed(table, width, 2.0).unwrap()).await;
                let rows: Vec<&[f32]> = case.weights[0].values.chunks(width).collect();
                let expected: Vec<_> =
                    ids.iter().flat_map(|id| rows[*id as usize]).map(|v| (2.0 * f64::from(*v), 0.0)).collect();
                close(&format!("{storage:?} {vocab}"), &ran.y, &expected);
                if gpu.capabilities().max_storage_buffer_binding_size < 100_000 && vocab == 1000 {
                    assert!(case.weights[0].layout.parts.len() > 1, "the table must be split for this test");
                }
            }
        }
    }
}
device_test!(embedding_is_exact_also_when_split, embed());

/// Windows of three rows, every other row: the buffer has twice as many rows as tokens run.
async fn unfolded() {
    let random = &mut Random(13);
    for device in devices().await {
        for (tokens, width) in [(2, 5), (14, 72)] {
            let case = Case::new(&device, tokens, Mode::Prefill);
            let x = random.values(tokens * width);
            // Half of the tokens are unfolded to, as a run of half as many would do.
            let ran = case.run(&x, width, 0, &[], &[], |ops, x| ops.unfold(x).unwrap()).await;
            let at = |row: usize, c: usize| row.checked_sub(1).map_or(0.0, |row| f64::from(x[row * width + c]));
            let half = (0..tokens / 2).flat_map(|token| (0..3 * width).map(move |i| (2 * token + i % 3, i / 3)));
            let expected: Vec<_> = half.map(|(row, c)| (at(row, c), 0.0)).collect();
            close("unfold", &ran.y[..expected.len()], &expected);
        }
    }
}
device_test!(windows_of_rows_are_exact, unfolded());

async fn next_token() {
    let random = &mut Random(6);
    for device in devices().await {
        for (width, best) in [(131, 130), (49_152, 31_337), (5000, 0), (2049, 2048)] {
            let case = Case::new(&device, 1, Mode::Decode);
            let mut logits = random.values(width);
            logits[best] = 3.0;
            // The first of equals wins.
            if best + 1 < width {
                logits[width - 1] = 3.0;
            }
            let ran = case
                .run(&logits, width, 0, &[], &[0], |ops, x| {
                    ops.argmax(x);
                    x
                })
                .await;
            assert_eq!(ran.id, best as u32, "of {width}");
        }
    }
}
device_test!(argmax_takes_the_first_of_the_largest, next_token());
