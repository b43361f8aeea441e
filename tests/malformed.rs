//! Files by strangers: genuine ones with bytes changed. Whatever is read from them is true of the file, or an error;
//! nothing panics, and memory stays within a small multiple of the file.
#![cfg(all(feature = "engine", feature = "text", not(target_arch = "wasm32")))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;

use layerline::checkpoint::{Catalog, CatalogOptions, GroupedTensors, Order, TensorInfo};
use layerline::config::{GenerationConfig, ModelConfig, Quantization};
use layerline::hub::{MemoryRepo, Repo};
use layerline::models::Family;
use layerline::text::{Tokenizer, TokenizerFiles};
use pollster::block_on;
use proptest::prelude::*;
use proptest::sample::Index;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

/// Counts what the test's own thread holds.
struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does the work; the cells neither allocate nor drop.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.get().wrapping_add(layout.size());
        HELD.set(held);
        PEAK.set(PEAK.get().max(held));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.set(HELD.get().wrapping_sub(layout.size()));
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `work` gives, and the most bytes that it held at once.
fn measured<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    PEAK.set(before);
    let result = work();
    (result, PEAK.get() - before)
}

/// One change to a file.
#[derive(Debug, Clone)]
enum Change {
    Byte(Index, u8),
    Number(Index, u64, usize),
    Cut(Index),
    Remove(Index, usize),
    Insert(Index, Vec<u8>),
    Copy(Index, Index, usize),
}

/// Bytes and numbers that mean something to some parser.
const TELLING: &[u8] = b"\0\x01\x7f\x80\xff\"{}[],:09-e\\()]}.tqhRcXQbsuaeKMJ\x85\x86\x87\x88\x8a\xc1\xc7\xc9\xdb\xdf";

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let byte = prop_oneof![any::<u8>(), prop::sample::select(TELLING)];
    let number =
        prop_oneof![any::<u64>(), prop::sample::select(&[0, 1, 1 << 31, 0xffff_ffff, 1 << 32, 1 << 63, u64::MAX][..])];
    let size = prop::sample::select(&[2usize, 4, 8][..]);
    let change = prop_oneof![
        6 => (any::<Index>(), byte).prop_map(|(at, byte)| Change::Byte(at, byte)),
        3 => (any::<Index>(), number, size).prop_map(|(at, number, size)| Change::Number(at, number, size)),
        1 => any::<Index>().prop_map(Change::Cut),
        1 => (any::<Index>(), 1..40usize).prop_map(|(at, len)| Change::Remove(at, len)),
        1 => (any::<Index>(), prop::collection::vec(prop::sample::select(TELLING), 1..20))
            .prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        1 => (any::<Index>(), any::<Index>(), 1..100usize).prop_map(|(from, to, len)| Change::Copy(from, to, len)),
    ];
    prop::collection::vec(change, 1..5)
}

/// A place that a parser reads: two thirds near the start or the end, where headers and directories are.
fn place(index: &Index, len: usize) -> usize {
    const NEAR: usize = 1600;
    let at = index.index(3 * len.max(1));
    match at / len.max(1) {
        0 => at.min(len.saturating_sub(1)),
        1 => at % NEAR.min(len.max(1)),
        _ => len.saturating_sub(1 + at % NEAR.min(len.max(1))),
    }
}

fn changed(mut file: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let len = file.len();
        if len == 0 {
            break;
        }
        match change {
            Change::Byte(at, byte) => file[place(at, len)] = *byte,
            Change::Number(at, number, size) => {
                let at = place(at, len);
                let end = len.min(at + size);
                file[at..end].copy_from_slice(&number.to_le_bytes()[..end - at]);
            }
            Change::Cut(at) => file.truncate(place(at, len)),
            Change::Remove(at, count) => drop(file.drain(place(at, len)..len.min(place(at, len) + count))),
            Change::Insert(at, bytes) => {
                let at = place(at, len);
                file.splice(at..at, bytes.iter().copied());
            }
            Change::Copy(from, to, count) => {
                let (from, to) = (place(from, len), place(to, len));
                file.copy_within(from..len.min(from + count.min(&(len - to))), to);
            }
        }
    }
    file
}

fn genuine(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn bytes_of(repo: &dyn Repo, catalog: &Catalog, info: &TensorInfo) -> Vec<u8> {
    let path = &catalog.files[info.file].path;
    block_on(async { repo.open(path, info.range.clone()).await.unwrap().collect().await.unwrap() })
}

/// Opens a repo of one changed file beside others, and checks that what was read of it can be so.
fn opens(files: &[(&str, Vec<u8>)], options: &CatalogOptions) -> Option<(MemoryRepo, Catalog)> {
    let mut repo = MemoryRepo::new("a/b");
    let total: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    files.iter().for_each(|(path, bytes)| repo.insert(*path, bytes.clone()));
    let (catalog, peak) = measured(|| block_on(Catalog::open(&repo, options)));
    assert!(peak <= 100 * total + 100_000, "{peak} bytes for files of {total}");
    let catalog = match catalog {
        Ok(catalog) => catalog,
        Err(error) => {
            let (message, code) = (error.to_string(), error.code());
            assert!(message.starts_with("a/b") && !code.is_empty(), "{message}");
            return None;
        }
    };
    for (name, info) in &catalog.tensors {
        let path = &catalog.files[info.file].path;
        let size = files.iter().find(|(file, _)| file == path).unwrap().1.len() as u64;
        assert!(info.range.start <= info.range.end && info.range.end <= size, "{name}: {info:?} of {size}");
        if matches!(info.order, Order::RowMajor | Order::ColumnMajor) {
            let bits = info.shape.iter().map(|dim| *dim as u64).product::<u64>() * info.dtype.bits();
            assert_eq!(info.bytes() * 8, bits, "{name}: {info:?}");
        }
    }
    Some((repo, catalog))
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() }
}

/// Shapes and element types that fill their bytes.
fn tensors() -> impl Strategy<Value = Vec<(String, safetensors::Dtype, Vec<usize>)>> {
    use safetensors::Dtype::*;
    let dtypes = [
        BOOL,
        F4,
        F6_E2M3,
        F6_E3M2,
        U8,
        I8,
        F8_E5M2,
        F8_E4M3,
        F8_E8M0,
        F8_E4M3FNUZ,
        F8_E5M2FNUZ,
        I16,
        U16,
        F16,
        BF16,
        I32,
        U32,
        F32,
        C64,
        F64,
        I64,
        U64,
    ];
    let shape = prop::collection::vec(0..5usize, 0..4);
    let tensor = (".{0,12}", prop::sample::select(dtypes.to_vec()), shape);
    let whole = |(_, dtype, shape): &(String, safetensors::Dtype, Vec<usize>)| {
        (shape.iter().product::<usize>() * dtype.bitsize()).is_multiple_of(8)
    };
    prop::collection::vec(tensor.prop_filter("a whole number of bytes", whole), 0..12).prop_map(|mut tensors| {
        tensors.retain(|(name, ..)| name != "__metadata__");
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        tensors.dedup_by(|a, b| a.0 == b.0);
        tensors
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_safetensors_writes_is_read_as_it_was(tensors in tensors(), seed in any::<u8>()) {
        let data: Vec<u8> = (0..1024u32).map(|i| (i.wrapping_mul(167) >> 3) as u8 ^ seed).collect();
        let views = tensors.iter().map(|(name, dtype, shape)| {
            let bytes = shape.iter().product::<usize>() * dtype.bitsize() / 8;
            (name, TensorView::new(*dtype, shape.clone(), &data[..bytes]).unwrap())
        });
        let file = safetensors::serialize(views, None).unwrap();
        let (repo, catalog) = opens(&[("model.safetensors", file.clone())], &CatalogOptions::default()).unwrap();
        prop_assert_eq!(catalog.tensors.len(), tensors.len());
        for (name, view) in SafeTensors::deserialize(&file).unwrap().iter() {
            let info = &catalog.tensors[name];
            prop_assert_eq!(info.dtype.name(), view.dtype().to_string());
            prop_assert_eq!(&info.shape[..], view.shape());
            prop_assert_eq!(bytes_of(&repo, &catalog, info), view.data());
        }
    }

    #[test]
    fn changed_safetensors_are_read_as_the_crate_reads_them_or_refused(changes in changes()) {
        let file = changed(genuine("formats/dtypes/model.safetensors"), &changes);
        if let Some((repo, catalog)) = opens(&[("model.safetensors", file.clone())], &CatalogOptions::default()) {
            // The crate is laxer in places, and never stricter.
            let reference = SafeTensors::deserialize(&file).unwrap();
            prop_assert_eq!(catalog.tensors.len(), reference.len());
            for (name, view) in reference.iter() {
                prop_assert_eq!(bytes_of(&repo, &catalog, &catalog.tensors[name]), view.data());
            }
        }
    }

    #[test]
    fn changed_bins(changes in changes(), which in 0..5usize) {
        let names = ["bin", "bin-plain-dict", "state-dict", "nested", "torchscript"];
        let file = changed(genuine(&format!("formats/{}/pytorch_model.bin", names[which])), &changes);
        opens(&[("pytorch_model.bin", file)], &CatalogOptions::default());
    }

    /// A pickle of random operations in the place of a genuine one.
    #[test]
    fn random_pickles(
        ops in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..60),
        start in prop::sample::select(&[0usize, 3, 100, 400][..]),
    ) {
        let mut file = genuine("formats/bin/pytorch_model.bin");
        let ops = ops.concat();
        let len = ops.len().min(1219 - start);
        file[64 + start..][..len].copy_from_slice(&ops[..len]);
        opens(&[("pytorch_model.bin", file)], &CatalogOptions::default());
    }

    #[test]
    fn changed_flax_files(changes in changes(), which in 0..3usize) {
        let file = ["flax", "flax-tree", "flax-chunked"][which];
        let file = changed(genuine(&format!("formats/{file}/flax_model.msgpack")), &changes);
        opens(&[("flax_model.msgpack", file)], &CatalogOptions { from_flax: true, ..Default::default() });
    }

    #[test]
    fn changed_indices(changes in changes()) {
        let folder = "formats/bin-sharded/";
        let index = "pytorch_model.bin.index.json";
        let mut files = vec![(index, changed(genuine(&format!("{folder}{index}")), &changes))];
        for shard in ["pytorch_model-00001-of-00003.bin", "pytorch_model-00002-of-00003.bin", "pytorch_model-00003-of-00003.bin"] {
            files.push((shard, genuine(&format!("{folder}{shard}"))));
        }
        opens(&files, &CatalogOptions::default());
    }

    /// What a layer's tensors are taken for fits them.
    #[test]
    fn changed_quantised_checkpoints(changes in changes(), name in prop::sample::select(&QUANTISED[..])) {
        let config = ModelConfig::from_json("config.json", &genuine(&format!("tiny/{name}/config.json"))).unwrap();
        let quantization = Quantization::of(&config).unwrap().unwrap();
        let file = changed(genuine(&format!("tiny/{name}/model.safetensors")), &changes);
        let Some((_, catalog)) = opens(&[("model.safetensors", file)], &CatalogOptions::default()) else { return Ok(()) };
        match catalog.group("a/b", quantization) {
            Err(error) => prop_assert_eq!(error.code(), "CHECKPOINT_QUANTIZED"),
            Ok(catalog) => {
                for info in catalog.tensors.values().filter(|info| info.grouped.is_some()) {
                    let GroupedTensors { grouped, integers, scales, .. } = info.grouped.as_deref().unwrap();
                    let [rows, cols] = info.shape[..] else { panic!("{:?}", info.shape) };
                    prop_assert_eq!(cols, grouped.cols);
                    prop_assert_eq!(integers.bytes(), (rows * grouped.integer_words() * 4) as u64);
                    prop_assert_eq!(scales.shape.iter().product::<usize>(), rows * grouped.groups());
                }
            }
        }
    }

    #[test]
    fn changed_configs(changes in changes(), name in prop::sample::select(&CONFIGS[..])) {
        let json = changed(genuine(&format!("tiny/{name}/config.json")), &changes);
        if let Ok(config) = ModelConfig::from_json("config.json", &json) {
            let _ = Family::of(&config).and_then(|family| (family.describe)(&config));
            let _ = GenerationConfig::from_model_config(&config);
            let _ = Quantization::of(&config);
        }
        let _ = GenerationConfig::from_json("generation_config.json", &json);
    }
}

proptest! {
    // A tokenizer takes longer than a header.
    #![proptest_config(ProptestConfig { cases: 60, ..config() })]

    #[test]
    fn changed_tokenizers(changes in changes(), which in any::<Index>()) {
        let all: Vec<serde_json::Value> = serde_json::from_slice(&genuine("small_tokenizers.json")).unwrap();
        let case = which.get(&all);
        let json = |value: &serde_json::Value| serde_json::to_vec(value).unwrap();
        let files = TokenizerFiles { tokenizer_json: &changed(json(&case["tokenizer"]), &changes), ..Default::default() };
        if let Ok(tokenizer) = Tokenizer::from_files(files) {
            let _ = tokenizer.encode("a b\u{e9} 7", None, true, None).and_then(|encoding| tokenizer.decode(&encoding.ids, true));
        }
        let config = changed(json(&case["config"]), &changes);
        let tokenizer_json = json(&case["tokenizer"]);
        let files = TokenizerFiles {
            tokenizer_json: &tokenizer_json,
            tokenizer_config_json: Some(&config),
            ..Default::default()
        };
        let _ = Tokenizer::from_files(files);
    }
}

/// Tiny checkpoints whose configs have different keys.
const CONFIGS: [&str; 17] = [
    "gemma2",
    "gemma3",
    "gpt2",
    "gpt_neox",
    "llama-dynamic",
    "llama-yarn",
    "mistral",
    "mixtral",
    "phi3-partial",
    "qwen2-windows",
    "qwen3",
    "qwen3_moe",
    "smollm3",
    "llama-int4",
    "qwen3-int4-zeros",
    "qwen2-gptq4-zeros",
    "qwen2-awq",
];

/// Tiny checkpoints that are quantised, by each method.
const QUANTISED: [&str; 4] = ["llama-int4", "qwen3-int4-zeros", "qwen2-gptq4-zeros", "qwen2-awq"];

/// What pickles are made of.
const PIECES: [&[u8]; 36] = [
    b"\x80\x02",
    b"(",
    b")",
    b"]",
    b"}",
    b"t",
    b"\x85",
    b"\x86",
    b"\x87",
    b"N",
    b"\x88",
    b"K\x02",
    b"M\0\x01",
    b"J\xff\xff\xff\xff",
    b"\x8a\x02\0\x01",
    b"X\x01\0\0\0a",
    b"X\x07\0\0\0storage",
    b"q\0",
    b"q\x01",
    b"h\0",
    b"h\x01",
    b"r\x05\0\0\0",
    b"j\x05\0\0\0",
    b"a",
    b"e",
    b"s",
    b"u",
    b"ccollections\nOrderedDict\n",
    b"ctorch\nFloatStorage\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch._utils\n_rebuild_parameter\n",
    b"ctorch\nSize\n",
    b"Q",
    b"R",
    b"b",
    b".",
];

#[test]
fn a_file_that_multiplies_what_it_holds_is_refused_or_stays_small() {
    let bin = |pickle: &[u8]| {
        let mut file = genuine("formats/bin/pytorch_model.bin");
        let len = pickle.len().min(1219);
        file[64..64 + len].copy_from_slice(&pickle[..len]);
        opens(&[("pytorch_model.bin", file)], &CatalogOptions::default())
    };
    // Tuples of tuples of one another: 2^300 items, if anything copied them.
    let doubled = [&b"\x80\x02)"[..], &b"q\0h\0\x86".repeat(200)].concat();
    assert!(bin(&doubled).is_none());
    // One list, given to an OrderedDict again and again.
    let pairs = [&b"\x80\x02]q\0("[..], &b"]K\x01aK\x02a".repeat(40), b"e"].concat();
    let again = [&pairs[..], &b"ccollections\nOrderedDict\nh\0\x85R".repeat(20)].concat();
    assert!(bin(&again).is_none());
    // A dict that holds itself.
    assert!(bin(b"\x80\x02}q\0X\x01\0\0\0ah\0s.").is_none());
}
