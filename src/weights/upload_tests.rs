//! From a file's bytes to a weight's words: every element type, both orders, weights of several tensors and several
//! parts, against torch's own casts (`tests/goldens/formats.py`) and against plain Rust.
//!
//! The same tests run natively and in browsers.

use std::collections::BTreeMap;
use std::rc::Rc;

use half::{bf16, f16};
use safetensors::SafeTensors;

use super::cast::castable;
use super::init::Init;
use super::layout::{Layout, Part};
use super::plan;
use super::spec::{Arrangement, BlockSpec, WeightSpecs};
use super::store::{State, Store};
use super::upload::{Chunks, Uploader, cast_kernel};
use crate::checkpoint::{Catalog, CheckpointFile, Order, TensorInfo};
use crate::hub::{MemoryRepo, Repo};
use crate::tensor::Dtype;
use crate::tensor::gpu::device::{Gpu, Usage};
use crate::tensor::gpu::kernel::Storage;
use crate::tensor::gpu::program::Pipelines;
use crate::tensor::gpu::tests::{device_test, devices, storages};

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test;

/// A tensor's bytes as they lie in a file.
#[derive(Clone)]
struct Stored {
    dtype: Dtype,
    /// The weight's rows and columns.
    shape: [usize; 2],
    order: Order,
    bytes: Vec<u8>,
}

/// A weight of several tensors of one width, in parts of so many rows.
struct Case {
    tensors: Vec<Stored>,
    storage: Storage,
    part: usize,
    /// Whether each element is to be one more.
    plus_one: bool,
    /// How the weight's rows lie in the tensors.
    arrangement: Arrangement,
}

impl Case {
    fn layout(&self) -> Layout {
        let rows: usize = self.tensors.iter().map(|tensor| tensor.shape[0]).sum();
        let cols = self.tensors[0].shape[1];
        let part = |first: usize| Part { first, rows: self.part.min(rows - first) };
        let parts = (0..rows).step_by(self.part).map(part).collect();
        let (storage, plus_one) = (self.storage, self.plus_one);
        Layout { rows, cols, stride: cols.next_multiple_of(4), storage, grouped: None, rounds: false, plus_one, parts }
    }

    /// Plans, uploads as the loader does, and gives the device's words, part after part.
    async fn words(&self, gpu: &Gpu) -> Vec<u32> {
        let layout = self.layout();
        // An odd start, so that nothing depends on where tensors begin.
        let mut file = vec![0xaa; 5];
        let mut catalog =
            Catalog { files: vec![CheckpointFile { path: "f".to_owned(), size: None }], ..Default::default() };
        let mut pieces = Vec::new();
        for (i, tensor) in self.tensors.iter().enumerate() {
            let range = file.len() as u64..(file.len() + tensor.bytes.len()) as u64;
            file.extend(&tensor.bytes);
            let Stored { dtype, shape, order, .. } = tensor.clone();
            pieces.push((i.to_string(), shape[0]));
            let mut shape = shape.to_vec();
            if self.arrangement == Arrangement::Columns {
                shape.reverse();
            }
            catalog.tensors.insert(i.to_string(), TensorInfo { dtype, shape, order, file: 0, range, grouped: None });
        }
        let mut repo = MemoryRepo::new("a/b");
        repo.insert("f", file);
        let mut specs = WeightSpecs::default();
        let id = specs.matrix("w", pieces, layout.cols, Init::Zeros);
        specs.arrange(id, self.arrangement);
        let block = BlockSpec { name: "b".to_owned(), weights: vec![id], reads: Vec::new() };
        let layouts = Rc::new(vec![layout.clone()]);
        let fetches = plan::plan("a/b", &catalog, &specs, &layouts, &[block]).unwrap().remove(0);

        let mut casts = Pipelines::default();
        let kernels = fetches.iter().flat_map(|fetch| &fetch.extents).filter_map(|extent| cast_kernel(extent, &layout));
        casts.compile(gpu, &kernels.collect::<Vec<_>>()).await.unwrap();
        let mut store = Store::new(&specs, layouts, None);
        store.allocate(gpu, id).unwrap();
        let mut uploader = Uploader::new(gpu.clone());
        let mut heard = 0;
        for fetch in &fetches {
            let mut stream = repo.open("f", fetch.range.clone()).await.unwrap();
            let mut chunks = Chunks::new(&mut *stream, "f");
            for extent in &fetch.extents {
                let counted = std::cell::Cell::new(0);
                let count = |bytes| counted.set(counted.get() + bytes);
                uploader.upload(&mut chunks, extent, &layout, store.buffers(id), &casts, &count).await.unwrap();
                heard += counted.get();
                store.arrived(id, extent.elements());
            }
        }
        assert_eq!(heard, self.tensors.iter().map(|tensor| tensor.bytes.len() as u64).sum::<u64>());
        assert_eq!(store.state(id), State::Resident);

        let bytes: Vec<u64> = layout.parts.iter().map(|part| layout.bytes(part.rows)).collect();
        let back = Rc::new(gpu.create_buffer("back", bytes.iter().sum(), Usage::Readback).unwrap());
        let mut encoder = gpu.encoder();
        let mut at = 0;
        for (buffer, bytes) in store.buffers(id).iter().zip(bytes) {
            encoder.copy(buffer, 0, &back, at, bytes).unwrap();
            at += bytes;
        }
        encoder.submit();
        let bytes = gpu.map(&back, at).bytes().await.unwrap();
        bytes.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
    }

    /// The elements' bits row by row without the padding, which must be zero.
    async fn elements(&self, gpu: &Gpu) -> Vec<u32> {
        let layout = self.layout();
        let words = self.words(gpu).await;
        let halves = |word: u32| [word & 0xffff, word >> 16];
        let all: Vec<u32> = match self.storage {
            Storage::F32 => words,
            _ => words.into_iter().flat_map(halves).collect(),
        };
        let mut elements = Vec::new();
        for row in all.chunks(layout.stride) {
            assert!(row[layout.cols..].iter().all(|padding| *padding == 0));
            elements.extend(row[..layout.cols].iter().map(|bits| canonical(*bits, self.storage)));
        }
        elements
    }
}

/// One NaN for all.
fn canonical(bits: u32, storage: Storage) -> u32 {
    let (nan, infinity, magnitude) = match storage {
        Storage::F32 => (0x7fc0_0000, 0x7f80_0000, bits & 0x7fff_ffff),
        Storage::F16 | Storage::F16Packed => (0x7e00, 0x7c00, bits & 0x7fff),
        Storage::Bf16 => (0x7fc0, 0x7f80, bits & 0x7fff),
        Storage::Int4 | Storage::Int8 => return bits,
    };
    if magnitude > infinity { nan } else { bits }
}

/// What `storage` keeps of a value, by plain Rust.
fn kept(value: f32, storage: Storage) -> u32 {
    let bits = match storage {
        Storage::F32 => value.to_bits(),
        Storage::F16 | Storage::F16Packed => f16::from_f32(value).to_bits().into(),
        Storage::Bf16 => bf16::from_f32(value).to_bits().into(),
        Storage::Int4 | Storage::Int8 => value.to_bits(),
    };
    canonical(bits, storage)
}

/// The same elements column by column.
fn transposed(rows: usize, cols: usize, size: usize, bytes: &[u8]) -> Vec<u8> {
    (0..rows * cols).flat_map(|i| bytes[(i % rows * cols + i / rows) * size..][..size].to_vec()).collect()
}

fn random_bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(count).collect()
}

async fn casts() {
    let model = include_bytes!("../../tests/goldens/formats/dtypes/model.safetensors");
    let expected = include_bytes!("../../tests/goldens/formats/dtypes/expected.safetensors");
    let (model, expected) = (SafeTensors::deserialize(model).unwrap(), SafeTensors::deserialize(expected).unwrap());
    let gpu = &devices().await.remove(0).0;
    let mut cast = 0;
    for (name, tensor) in model.iter() {
        let dtype = Dtype::from_name(&tensor.dtype().to_string()).unwrap();
        if !castable(dtype) {
            continue;
        }
        cast += 1;
        let shape = [tensor.shape()[0], tensor.shape()[1]];
        let stored = Stored { dtype, shape, order: Order::RowMajor, bytes: tensor.data().to_vec() };
        let mut turned = stored.clone();
        turned.order = Order::ColumnMajor;
        turned.bytes = transposed(shape[0], shape[1], dtype.size().unwrap() as usize, tensor.data());
        for storage in [Storage::F32, Storage::F16Packed, Storage::Bf16] {
            // Both orders in one weight, which saves reading twice.
            let case = Case {
                tensors: vec![stored.clone(), turned.clone()],
                storage,
                part: shape[0] + 1,
                plus_one: false,
                arrangement: Arrangement::Rows,
            };
            let found = case.elements(gpu).await;
            let (float, size) = match storage {
                Storage::F32 => ("float32", 4),
                Storage::F16 | Storage::F16Packed => ("float16", 2),
                Storage::Bf16 => ("bfloat16", 2),
                Storage::Int4 | Storage::Int8 => unreachable!("no cast gives integers"),
            };
            let golden = expected.tensor(&format!("{name}.{float}")).unwrap();
            let bits = |bytes: &[u8]| bytes.iter().rev().fold(0, |bits, byte| bits << 8 | u32::from(*byte));
            let golden: Vec<u32> = golden.data().chunks(size).map(|b| canonical(bits(b), storage)).collect();
            let elements: Vec<&[u8]> = tensor.data().chunks(dtype.size().unwrap() as usize).collect();
            for (i, (found, golden)) in found.iter().zip(golden.iter().chain(&golden)).enumerate() {
                let element = elements[i % elements.len()];
                assert_eq!(found, golden, "{dtype} {element:02x?} as {float}: {found:08x} instead of {golden:08x}");
            }
        }
    }
    assert_eq!(cast, Dtype::ALL.iter().filter(|dtype| castable(**dtype)).count());
}

device_test!(casts_equal_torch, casts());

/// An element's bytes as a float32.
type Value = fn(&[u8]) -> f32;

async fn random_bits() {
    let gpu = &devices().await.remove(0).0;
    let values: BTreeMap<&str, (Dtype, Value)> = [
        ("f64", (Dtype::F64, (|b| f64::from_le_bytes(b.try_into().unwrap()) as f32) as Value)),
        ("f32", (Dtype::F32, |b| f32::from_le_bytes(b.try_into().unwrap()))),
        ("f16", (Dtype::F16, |b| f16::from_le_bytes(b.try_into().unwrap()).to_f32())),
        ("bf16", (Dtype::BF16, |b| bf16::from_le_bytes(b.try_into().unwrap()).to_f32())),
        ("i64", (Dtype::I64, |b| i64::from_le_bytes(b.try_into().unwrap()) as f32)),
        ("u64", (Dtype::U64, |b| u64::from_le_bytes(b.try_into().unwrap()) as f32)),
        ("i32", (Dtype::I32, |b| i32::from_le_bytes(b.try_into().unwrap()) as f32)),
        ("u32", (Dtype::U32, |b| u32::from_le_bytes(b.try_into().unwrap()) as f32)),
        ("i16", (Dtype::I16, |b| i16::from_le_bytes(b.try_into().unwrap()).into())),
        ("i8", (Dtype::I8, |b| (b[0] as i8).into())),
    ]
    .into();
    for (dtype, value) in values.into_values() {
        let (shape, size) = ([61, 67], dtype.size().unwrap() as usize);
        let mut bytes = random_bytes(dtype.bits(), shape[0] * shape[1] * size);
        if dtype == Dtype::F64 {
            // Random exponents nearly all overflow or vanish: bring those of every second element near float32's.
            for element in bytes.chunks_mut(16) {
                if let [.., low, high] = &mut element[..8] {
                    let exponent = 0x380 - 30 + (u32::from(*high) * 300 / 255) as u16;
                    *high = (*high & 0x80) | (exponent >> 4) as u8;
                    *low = (*low & 0x0f) | (exponent << 4) as u8;
                }
            }
        }
        let expected = |storage| bytes.chunks(size).map(move |b| kept(value(b), storage));
        for storage in [Storage::F32, Storage::F16Packed, Storage::Bf16] {
            let tensor = Stored { dtype, shape, order: Order::RowMajor, bytes: bytes.clone() };
            let found =
                Case { tensors: vec![tensor], storage, part: 61, plus_one: false, arrangement: Arrangement::Rows }
                    .elements(gpu)
                    .await;
            for ((found, expected), element) in found.iter().zip(expected(storage)).zip(bytes.chunks(size)) {
                assert_eq!(*found, expected, "{dtype} {element:02x?} as {storage:?}: {found:08x} for {expected:08x}");
            }
        }
    }
}

device_test!(casts_of_random_bits_equal_rusts, random_bits());

async fn orders() {
    for (gpu, _) in &devices().await {
        for (seed, (rows, cols, part)) in
            [(3, 5, 3), (7, 2, 2), (5, 9, 1), (8, 8, 3), (1, 6, 1), (33, 35, 10)].into_iter().enumerate()
        {
            for storage in storages(gpu) {
                let mut tensors = Vec::new();
                let mut expected = Vec::new();
                for (i, dtype) in [Dtype::F32, Dtype::F16, Dtype::F64].into_iter().enumerate() {
                    let size = dtype.size().unwrap() as usize;
                    let mut random = fastrand::Rng::with_seed((seed * 3 + i) as u64);
                    let values: Vec<f32> = (0..rows * cols).map(|_| random.f32() * 8.0 - 4.0).collect();
                    let values: Vec<f32> = values.iter().map(|v| f16::from_f32(*v).to_f32()).collect();
                    let bytes: Vec<u8> = values
                        .iter()
                        .flat_map(|v| match dtype {
                            Dtype::F32 => v.to_le_bytes().to_vec(),
                            Dtype::F16 => f16::from_f32(*v).to_le_bytes().to_vec(),
                            _ => f64::from(*v).to_le_bytes().to_vec(),
                        })
                        .collect();
                    for order in [Order::ColumnMajor, Order::RowMajor] {
                        let bytes = match order {
                            Order::ColumnMajor => transposed(rows, cols, size, &bytes),
                            _ => bytes.clone(),
                        };
                        expected.extend(values.iter().map(|value| kept(*value, storage)));
                        tensors.push(Stored { dtype, shape: [rows, cols], order, bytes });
                    }
                }
                let found = Case { tensors, storage, part, plus_one: false, arrangement: Arrangement::Rows }
                    .elements(gpu)
                    .await;
                assert_eq!(found, expected, "{rows}x{cols} in parts of {part} as {storage:?}");
            }
        }
    }
}

device_test!(both_orders_over_pieces_and_parts, orders());

/// GPT-2's weights, which have the inputs first, and GPT-NeoX's, which have queries, keys and values of each head together.
async fn arrangements() {
    for (gpu, _) in &devices().await {
        for (heads, kinds, run, cols, part) in [(1, 1, 7, 5, 3), (3, 3, 4, 8, 10), (2, 3, 5, 75, 7), (5, 2, 1, 6, 100)]
        {
            let rows = heads * kinds * run;
            let values: Vec<f32> = (0..rows * cols).map(|i| (i % 1021) as f32).collect();
            let bytes: Vec<u8> = values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
            let turned = transposed(rows, cols, 2, &bytes);
            let by_head = Arrangement::ByHead { heads, kinds };
            for (arrangement, order, bytes) in [
                (Arrangement::Columns, Order::RowMajor, &turned),
                (Arrangement::Columns, Order::ColumnMajor, &bytes),
                (by_head, Order::RowMajor, &bytes),
            ] {
                for storage in storages(gpu) {
                    let stored =
                        Stored { dtype: Dtype::F16, shape: [rows, cols], order: order.clone(), bytes: bytes.clone() };
                    let tensors = vec![stored.clone(), stored];
                    let case = Case { tensors, storage, part, plus_one: false, arrangement };
                    let row_of = |row: usize| match arrangement {
                        Arrangement::ByHead { .. } => {
                            let (kind, head, within) = (row / run / heads, row / run % heads, row % run);
                            (head * kinds + kind) * run + within
                        }
                        _ => row,
                    };
                    let rows = (0..2 * rows).map(|row| row_of(row % rows) * cols);
                    let expected: Vec<u32> =
                        rows.flat_map(|at| &values[at..at + cols]).map(|v| kept(*v, storage)).collect();
                    let what = format!("{arrangement:?} {order:?} {heads}, {kinds}, {run} by {cols} as {storage:?}");
                    assert_eq!(case.elements(gpu).await, expected, "{what}");
                }
            }
        }
    }
}

device_test!(rows_that_are_columns_or_lie_by_head, arrangements());

#[test]
fn what_lies_by_head_is_not_taken_column_by_column() {
    let mut specs = WeightSpecs::default();
    let id = specs.matrix("w", vec![("w".to_owned(), 6)], 4, Init::Zeros);
    specs.arrange(id, Arrangement::ByHead { heads: 2, kinds: 3 });
    let part = Part { first: 0, rows: 6 };
    let layout = Layout {
        rows: 6,
        cols: 4,
        stride: 4,
        storage: Storage::F32,
        grouped: None,
        rounds: false,
        plus_one: false,
        parts: vec![part],
    };
    let info = TensorInfo {
        dtype: Dtype::F32,
        shape: vec![6, 4],
        order: Order::ColumnMajor,
        file: 0,
        range: 0..96,
        grouped: None,
    };
    let catalog = Catalog { tensors: [("w".to_owned(), info)].into(), ..Catalog::default() };
    let block = BlockSpec { name: "b".to_owned(), weights: vec![id], reads: Vec::new() };
    let error = plan::plan("a/b", &catalog, &specs, &[layout], &[block]).unwrap_err();
    assert_eq!(error.code(), "UNSUPPORTED_ORDER");
}

async fn plus_one() {
    for (gpu, _) in &devices().await {
        let values: Vec<f32> = random_bytes(11, 201).iter().map(|byte| f32::from(*byte) / 77.0 - 1.6).collect();
        for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16] {
            let as_stored = |v: &f32| match dtype {
                Dtype::F32 => (v.to_le_bytes().to_vec(), *v),
                Dtype::F16 => (f16::from_f32(*v).to_le_bytes().to_vec(), f16::from_f32(*v).to_f32()),
                _ => (bf16::from_f32(*v).to_le_bytes().to_vec(), bf16::from_f32(*v).to_f32()),
            };
            let (bytes, kept): (Vec<_>, Vec<_>) = values.iter().map(as_stored).unzip();
            let tensor = Stored { dtype, shape: [67, 3], order: Order::RowMajor, bytes: bytes.concat() };
            let case = Case {
                tensors: vec![tensor],
                storage: Storage::F32,
                part: 30,
                plus_one: true,
                arrangement: Arrangement::Rows,
            };
            let expected: Vec<u32> = kept.iter().map(|v| (v + 1.0).to_bits()).collect();
            assert_eq!(case.elements(gpu).await, expected, "{dtype}");
        }
    }
}

device_test!(norms_that_count_from_one_get_it_and_padding_does_not, plus_one());

/// Columns of 1.2 MB: one staging buffer holds one, one request six.
#[cfg(not(target_arch = "wasm32"))]
async fn large() {
    let gpu = &devices().await.remove(0).0;
    let (rows, cols) = (300_001, 9);
    for storage in [Storage::F32, Storage::Bf16] {
        // Column by column, value `row + col * 7`.
        let value = |row: usize, col: usize| ((row + col * 7) % 1021) as f32;
        let bytes = (0..cols).flat_map(|col| (0..rows).flat_map(move |row| value(row, col).to_le_bytes())).collect();
        let tensor = Stored { dtype: Dtype::F32, shape: [rows, cols], order: Order::ColumnMajor, bytes };
        let found =
            Case { tensors: vec![tensor], storage, part: 100_000, plus_one: false, arrangement: Arrangement::Rows }
                .elements(gpu)
                .await;
        let mut expected = (0..rows).flat_map(|row| (0..cols).map(move |col| kept(value(row, col), storage)));
        assert_eq!(found.len(), rows * cols);
        assert!(found.iter().all(|bits| Some(*bits) == expected.next()));
    }
}

#[cfg(not(target_arch = "wasm32"))]
device_test!(columns_larger_than_staging_and_requests, large());
