//! What Python read from the checkpoints that Python wrote: `tests/goldens/formats.py`.

use std::cell::RefCell;
use std::ops::Range;

use ::safetensors::SafeTensors;
use futures_util::future::LocalBoxFuture;
use pollster::block_on;

use super::*;
use crate::hub::{ByteStream, DirectoryRepo, HubError, MemoryRepo, Prefix, Repo};
use crate::tensor::Dtype;
use crate::{Error, Result};

fn folder(name: &str) -> String {
    format!("{}/tests/goldens/formats/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn file(path: &str) -> Vec<u8> {
    std::fs::read(folder(path)).unwrap()
}

fn open_with(repo: &dyn Repo, options: &CatalogOptions) -> Result<Catalog> {
    block_on(Catalog::open(repo, options))
}

fn open(repo: &dyn Repo) -> Result<Catalog> {
    open_with(repo, &CatalogOptions::default())
}

/// A tensor's elements row by row, whatever their order in the file.
fn contiguous(repo: &dyn Repo, catalog: &Catalog, name: &str) -> Vec<u8> {
    let info = &catalog.tensors[name];
    let path = &catalog.files[info.file].path;
    let bytes = block_on(async { repo.open(path, info.range.clone()).await.unwrap().collect().await.unwrap() });
    match &info.order {
        Order::RowMajor => bytes,
        Order::ColumnMajor => {
            let (rows, cols, size) = (info.shape[0], info.shape[1], info.dtype.size().unwrap() as usize);
            let element = |i: usize| &bytes[i * size..][..size];
            (0..rows * cols).flat_map(|i| element(i % cols * rows + i / cols).to_vec()).collect()
        }
        order => panic!("{name}: {order:?}"),
    }
}

fn dtype(name: &str) -> Dtype {
    Dtype::from_name(name).unwrap()
}

/// Every expected tensor is there with Python's dtype, shape and bytes.
fn equals(repo: &dyn Repo, catalog: &Catalog, expected: &[u8]) {
    let expected = SafeTensors::deserialize(expected).unwrap();
    for (name, view) in expected.iter() {
        let info = catalog.tensors.get(name).unwrap_or_else(|| panic!("no {name}"));
        assert_eq!((info.dtype, &info.shape[..]), (dtype(&view.dtype().to_string()), view.shape()), "{name}");
        assert_eq!(contiguous(repo, catalog, name), view.data(), "{name}");
    }
}

/// As `equals`, and there is nothing else.
fn equals_all(repo: &dyn Repo, catalog: &Catalog, expected: &[u8]) {
    equals(repo, catalog, expected);
    assert_eq!(catalog.tensors.len(), SafeTensors::deserialize(expected).unwrap().len());
}

#[test]
fn every_format_holds_the_same_model() {
    let expected = file("reference/model.safetensors");
    let flax = CatalogOptions { from_flax: true, ..Default::default() };
    for (name, options, files) in [
        ("reference", CatalogOptions::default(), 1),
        ("bin", CatalogOptions::default(), 1),
        ("bin-plain-dict", CatalogOptions::default(), 1),
        ("bin-sharded", CatalogOptions::default(), 3),
        ("flax", flax.clone(), 1),
        ("flax-sharded", flax, 3),
    ] {
        let repo = DirectoryRepo::new(folder(name));
        let catalog = open_with(&repo, &options).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(catalog.files.len(), files, "{name}");
        equals_all(&repo, &catalog, &expected);
    }
}

#[test]
fn variants() {
    let expected = file("fp16-single/expected.safetensors");
    for name in ["fp16-single", "fp16-sharded"] {
        let repo = DirectoryRepo::new(folder(name));
        for use_safetensors in [None, Some(true), Some(false)] {
            let options = CatalogOptions { variant: Some("fp16".to_owned()), use_safetensors, from_flax: false };
            let catalog = open_with(&repo, &options).unwrap();
            let ending = if use_safetensors == Some(false) { ".bin" } else { ".safetensors" };
            assert!(catalog.files.iter().all(|file| file.path.ends_with(ending)), "{:?}", catalog.files);
            equals_all(&repo, &catalog, &expected);
        }
    }
}

#[test]
fn what_is_missing_is_said_in_transformers_words() {
    let of = |files: &[&str], options: &CatalogOptions| {
        let mut repo = MemoryRepo::new("a/b");
        files.iter().for_each(|path| repo.insert(*path, *b"x"));
        open_with(&repo, options).unwrap_err().to_string()
    };
    let default = CatalogOptions::default();
    let fp16 = CatalogOptions { variant: Some("fp16".to_owned()), ..Default::default() };
    let safe = CatalogOptions { use_safetensors: Some(true), ..Default::default() };
    let flax = CatalogOptions { from_flax: true, ..Default::default() };
    let start = "a/b does not appear to have a file named ";
    for (files, options, said) in [
        (&[][..], &default, "pytorch_model.bin or model.safetensors."),
        (
            &["flax_model.msgpack"],
            &default,
            "pytorch_model.bin but there is a file for Flax weights. Use `from_flax=True` to load this model from those \
             weights.",
        ),
        (&[], &fp16, "pytorch_model.fp16.bin or model.fp16.safetensors."),
        (
            &["pytorch_model.bin"],
            &fp16,
            "pytorch_model.fp16.bin but there is a file without the variant fp16. Use `variant=None` to load this model \
             from those weights.",
        ),
        (
            &["pytorch_model.bin"],
            &safe,
            "model.safetensors or model.safetensors.index.json and thus cannot be loaded with `safetensors`. Please do \
             not set `use_safetensors=True`.",
        ),
        (&["model.safetensors"], &flax, "flax_model.msgpack or flax_model.msgpack.index.json."),
    ] {
        assert_eq!(of(files, options), format!("{start}{said}"));
    }
}

#[test]
fn views_and_shared_storages() {
    let repo = DirectoryRepo::new(folder("state-dict"));
    let catalog = open_with(&repo, &CatalogOptions { use_safetensors: Some(false), ..Default::default() }).unwrap();
    equals(&repo, &catalog, &file("state-dict/expected.safetensors"));
    let tensor = |name: &str| &catalog.tensors[name];
    assert_eq!(tensor("tied").range, tensor("shared").range);
    assert_eq!(tensor("rows_of_shared").range.start, tensor("shared").range.start + 2 * 4 * 4);
    for name in ["transposed", "transposed_slice", "float16_transposed"] {
        assert_eq!(tensor(name).order, Order::ColumnMajor, "{name}");
    }
    assert_eq!(tensor("every_second_column").order, Order::Strided(vec![8, 2]));
    assert!(matches!(&tensor("expanded").order, Order::Strided(strides) if strides[0] == 0));
    assert!(!catalog.tensors.contains_key("epoch") && !catalog.tensors.contains_key("nested"));
}

#[test]
fn flax_trees() {
    let repo = DirectoryRepo::new(folder("flax-tree"));
    let flax = CatalogOptions { from_flax: true, ..Default::default() };
    let catalog = open_with(&repo, &flax).unwrap();
    equals(&repo, &catalog, &file("flax-tree/expected.safetensors"));
    let conv = &catalog.tensors["conv.weight"];
    // [height, width, in, out] = [2, 3, 4, 5] in the file.
    assert_eq!((&conv.shape[..], &conv.order), (&[5, 4, 2, 3][..], &Order::Strided(vec![1, 5, 60, 20])));
    let conv = &catalog.tensors["conv1d.weight"];
    assert_eq!((&conv.shape[..], &conv.order), (&[5, 4, 3][..], &Order::Strided(vec![1, 5, 20])));

    let catalog = open_with(&DirectoryRepo::new(folder("flax-chunked")), &flax).unwrap();
    let order = |name: &str| &catalog.tensors[name].order;
    assert_eq!(order("small.weight"), &Order::RowMajor);
    assert_eq!((order("one.weight"), &catalog.tensors["one.weight"].shape[..]), (&Order::Chunked, &[3, 4][..]));
    assert_eq!((order("two.weight"), &catalog.tensors["two.weight"].shape[..]), (&Order::Chunked, &[4, 3][..]));
}

#[test]
fn every_dtype_of_safetensors() {
    let repo = DirectoryRepo::new(folder("dtypes"));
    let catalog = open(&repo).unwrap();
    equals_all(&repo, &catalog, &file("dtypes/model.safetensors"));
    let float4 = &catalog.tensors["float4_e2m1fn_x2"];
    assert_eq!((float4.dtype, &float4.shape[..], float4.bytes()), (Dtype::F4, &[4, 12][..], 24));

    // Python writes no float6; the crate does.
    let bytes = [0; 6];
    let all = Dtype::ALL
        .map(|dtype| (dtype.name().to_owned(), serde_json::from_str(&format!("{:?}", dtype.name())).unwrap()));
    let view = |dtype: ::safetensors::Dtype| {
        let shape = vec![8 * bytes.len() / dtype.bitsize()];
        ::safetensors::tensor::TensorView::new(dtype, shape.clone(), &bytes[..shape[0] * dtype.bitsize() / 8]).unwrap()
    };
    let file = ::safetensors::serialize(all.map(|(name, dtype)| (name, view(dtype))), None).unwrap();
    let mut repo = MemoryRepo::new("a/b");
    repo.insert("model.safetensors", file.clone());
    equals_all(&repo, &open(&repo).unwrap(), &file);
}

#[test]
fn what_is_no_state_dict_is_refused_by_name() {
    for (name, said) in [
        ("legacy", "PyTorch before 1.6"),
        ("torchscript", "TorchScript archive"),
        ("nested", "\"model_state_dict\" (a dict), \"epoch\" (an int)"),
        ("module", "torch.nn.modules.linear.Linear"),
    ] {
        let error = open(&DirectoryRepo::new(folder(name))).unwrap_err();
        assert_eq!(error.code(), "CHECKPOINT_TORCH", "{name}: {error}");
        assert!(error.to_string().contains("pytorch_model.bin"), "{error}");
        assert!(error.to_string().contains(said), "{name}: {error}");
    }
}

/// A repo that notes what is asked of it.
struct Counting(MemoryRepo, RefCell<Vec<u64>>);

impl Repo for Counting {
    fn id(&self) -> &str {
        self.0.id()
    }

    fn read<'a>(&'a self, path: &'a str, max_bytes: u64) -> LocalBoxFuture<'a, Result<Vec<u8>, HubError>> {
        self.0.read(path, max_bytes)
    }

    fn read_prefix<'a>(&'a self, path: &'a str, max_bytes: u64) -> LocalBoxFuture<'a, Result<Prefix, HubError>> {
        let read = self.0.read_prefix(path, max_bytes);
        Box::pin(async {
            let prefix = read.await?;
            self.1.borrow_mut().push(prefix.bytes.len() as u64);
            Ok(prefix)
        })
    }

    fn open<'a>(
        &'a self,
        path: &'a str,
        range: Range<u64>,
    ) -> LocalBoxFuture<'a, Result<Box<dyn ByteStream>, HubError>> {
        self.1.borrow_mut().push(range.end - range.start);
        self.0.open(path, range)
    }
}

/// torch's archive `bin/` with another storage of zeros, of `size` bytes, behind each of its own.
fn stretched(size: usize) -> Vec<u8> {
    testing::rewrite(&file("bin/pytorch_model.bin"), |entries| {
        let storages = entries.iter().filter(|entry| entry.name.contains("/data/")).count();
        let zeros = (0..storages)
            .map(|i| testing::ZipEntry { name: format!("pytorch_model/data/more-{i}"), data: vec![0; size] });
        let more: Vec<_> = zeros.collect();
        let mut all = Vec::new();
        let mut more = more.into_iter();
        for entry in std::mem::take(entries) {
            let storage = entry.name.contains("/data/");
            all.push(entry);
            all.extend(storage.then(|| more.next()).flatten());
        }
        *entries = all;
    })
}

#[test]
fn one_tensor_of_a_large_bin_takes_few_bytes() {
    let mut repo = MemoryRepo::new("a/b");
    let file_of_4_mb = stretched(400_000);
    let size = file_of_4_mb.len() as u64;
    repo.insert("pytorch_model.bin", file_of_4_mb);
    let repo = Counting(repo, RefCell::default());
    let catalog = open(&repo).unwrap();
    let norm = contiguous(&repo, &catalog, "model.norm.weight");
    assert_eq!(norm.len(), 24 * 4);
    // The start, the end, and the tensor.
    let requests = repo.1.take();
    assert_eq!(requests.len(), 3, "{requests:?}");
    assert!(requests.iter().sum::<u64>() < 170_000 && size > 4_000_000, "{requests:?} of {size}");
    equals_all(&repo, &catalog, &file("reference/model.safetensors"));
}

#[test]
fn archives_that_torch_did_not_lay_out() {
    // Python's zipfile pads nothing: where data begins is in the local headers alone.
    let mut repo = MemoryRepo::new("a/b");
    repo.insert("pytorch_model.bin", testing::packed(&file("bin/pytorch_model.bin")));
    let catalog = open(&repo).unwrap();
    equals_all(&repo, &catalog, &file("reference/model.safetensors"));

    let zip64 = testing::zip64(&file("bin/pytorch_model.bin"));
    let mut repo = MemoryRepo::new("a/b");
    repo.insert("pytorch_model.bin", zip64);
    equals_all(&repo, &open(&repo).unwrap(), &file("reference/model.safetensors"));
}

#[test]
fn big_endian_and_missing_storages() {
    let error = |edit: &dyn Fn(&mut Vec<testing::ZipEntry>)| {
        let mut repo = MemoryRepo::new("a/b");
        repo.insert("pytorch_model.bin", testing::rewrite(&file("bin/pytorch_model.bin"), |entries| edit(entries)));
        match open(&repo).unwrap_err() {
            Error::Checkpoint(CheckpointError::Torch { fault, .. }) => fault,
            error => panic!("{error}"),
        }
    };
    let named = |entries: &mut Vec<testing::ZipEntry>, name: &str| {
        entries.iter().position(|entry| entry.name == format!("pytorch_model/{name}")).unwrap()
    };
    let big = error(&|entries| {
        let at = named(entries, "byteorder");
        entries[at].data = b"big".to_vec();
    });
    assert_eq!(big, TorchFault::BigEndian);
    let missing = error(&|entries| {
        let at = named(entries, "data/3");
        entries.remove(at);
    });
    assert_eq!(missing, TorchFault::MissingEntry { entry: "pytorch_model/data/3".to_owned() });
    let cut = error(&|entries| {
        let at = named(entries, "data/3");
        entries[at].data.pop();
    });
    assert!(matches!(cut, TorchFault::OutOfEntry { needed: 1152, given: 1151, .. }), "{cut}");
    let no_pickle = error(&|entries| drop(entries.remove(0)));
    assert_eq!(no_pickle, TorchFault::MissingEntry { entry: "pytorch_model/data.pkl".to_owned() });
}
