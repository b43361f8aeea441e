//! What a checkpoint holds and where: read from its headers alone, a few kilobytes a file.

use std::collections::BTreeMap;
use std::ops::Range;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::entry::{Entry, Header, Order};
use super::locate::{Candidate, CatalogOptions, Format};
use super::{CheckpointError, GroupedTensors, IndexFault, entry, flax, index, locate, safetensors, torch};
use crate::hub::{HubError, Repo};
use crate::tensor::Dtype;
use crate::{Error, Result};

/// Browsers open this many connections to one origin.
const CONCURRENT_HEADERS: usize = 6;

/// One file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointFile {
    /// The path in the repo.
    pub path: String,
    /// Bytes in all, where the transport told.
    pub size: Option<u64>,
}

/// Where one tensor is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its element type in the file.
    pub dtype: Dtype,
    /// As torch has it, whatever the order in the file. No dimensions: a scalar.
    pub shape: Vec<usize>,
    /// How its elements follow one another.
    pub order: Order,
    /// Index into [`Catalog::files`].
    pub file: usize,
    /// Bytes from the start of that file: from its first element to its last. As many as `shape` and `dtype` make where
    /// `order` is [`Order::RowMajor`] or [`Order::ColumnMajor`]. Tensors may share bytes.
    pub range: Range<u64>,
    /// Where its elements are integers with scales, those: several tensors of the file. Then `dtype` is what they mean, and `range` the
    /// integers'.
    pub grouped: Option<Box<GroupedTensors>>,
}

impl TensorInfo {
    /// A tensor that lies row by row from byte `start` on. `None` where its size is no number of bytes.
    pub fn row_major(dtype: Dtype, shape: Vec<usize>, file: usize, start: u64) -> Option<TensorInfo> {
        let dims: Vec<u64> = shape.iter().map(|dim| *dim as u64).collect();
        let end = start.checked_add(entry::bytes(dtype, &dims)?)?;
        Some(tensor_info(file, Entry { dtype, shape, order: Order::RowMajor, range: start..end }))
    }

    /// Bytes in the file.
    pub fn bytes(&self) -> u64 {
        self.range.end - self.range.start
    }
}

/// All tensors of a checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    /// The files that the tensors are in, in the order of their names.
    pub files: Vec<CheckpointFile>,
    /// By the name in the checkpoint.
    pub tensors: BTreeMap<String, TensorInfo>,
    /// The headers' `__metadata__`, together; of two values for one key the first file's.
    pub metadata: BTreeMap<String, String>,
}

impl Catalog {
    /// Finds the checkpoint's files in `repo` and reads their headers.
    ///
    /// Fails with [`CheckpointError`] where there is none or where a file breaks its format, and with [`HubError`] where
    /// the repo can't be reached.
    pub async fn open(repo: &dyn Repo, options: &CatalogOptions) -> Result<Catalog> {
        forget_broken(repo, Self::find(repo, options).await).await
    }

    async fn find(repo: &dyn Repo, options: &CatalogOptions) -> Result<Catalog> {
        for candidate in options.candidates() {
            let found = match &candidate {
                Candidate::Single(path) => Self::open_single(repo, path).await,
                Candidate::Index(path) => Self::open_sharded(repo, path).await,
            };
            match found {
                Err(Error::Hub(HubError::EntryNotFound { .. })) => {}
                found => return found,
            }
        }
        Err(options.not_found(repo).await?.into())
    }

    /// Finds a sharded checkpoint, as transformers' `load_sharded_checkpoint` does: by its index alone.
    ///
    /// Fails as [`Catalog::open`] does.
    pub async fn open_index(repo: &dyn Repo, prefer_safe: bool) -> Result<Catalog> {
        forget_broken(repo, Self::find_index(repo, prefer_safe).await).await
    }

    async fn find_index(repo: &dyn Repo, prefer_safe: bool) -> Result<Catalog> {
        let indices = locate::indices(prefer_safe);
        for path in &indices {
            match Self::open_sharded(repo, path).await {
                Err(Error::Hub(HubError::EntryNotFound { .. })) => {}
                found => return found,
            }
        }
        let looked_for = indices.map(str::to_owned).to_vec();
        Err(CheckpointError::NotFound { repo: repo.id().to_owned(), looked_for, hint: ".".to_owned() }.into())
    }

    async fn open_single(repo: &dyn Repo, path: &str) -> Result<Catalog> {
        let (file, header) = read_file(repo, path).await?;
        let tensors = header.tensors.into_iter();
        let tensors = tensors.map(|(name, entry)| (name, tensor_info(0, entry))).collect();
        Catalog { files: vec![file], tensors, metadata: header.metadata }.into_torch_names(repo, path)
    }

    async fn open_sharded(repo: &dyn Repo, path: &str) -> Result<Catalog> {
        let json = repo.read(path, index::MAX_INDEX).await?;
        let fail = |fault| CheckpointError::Index { repo: repo.id().to_owned(), path: path.to_owned(), fault };
        let weight_map = index::parse(&json).map_err(fail)?;
        let mut by_shard: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (tensor, shard) in &weight_map {
            by_shard.entry(shard).or_default().push(tensor);
        }
        let headers = stream::iter(&by_shard).map(|(shard, tensors)| async move {
            read_file(repo, shard).await.map_err(|error| match error {
                Error::Hub(HubError::EntryNotFound { .. }) => CheckpointError::MissingShard {
                    repo: repo.id().to_owned(),
                    index: path.to_owned(),
                    shard: (*shard).to_owned(),
                    tensor: tensors.first().copied().unwrap_or_default().to_owned(),
                }
                .into(),
                error => error,
            })
        });
        let headers: Vec<_> = headers.buffered(CONCURRENT_HEADERS).try_collect().await?;
        let mut catalog = Catalog::default();
        for ((file, mut header), (shard, tensors)) in headers.into_iter().zip(by_shard) {
            for tensor in tensors {
                let entry = header.tensors.remove(tensor).ok_or_else(|| {
                    fail(IndexFault::MissingTensor { tensor: tensor.to_owned(), shard: shard.to_owned() })
                })?;
                catalog.tensors.insert(tensor.to_owned(), tensor_info(catalog.files.len(), entry));
            }
            catalog.files.push(file);
            for (key, value) in header.metadata {
                catalog.metadata.entry(key).or_insert(value);
            }
        }
        catalog.into_torch_names(repo, path)
    }

    /// Gives a Flax checkpoint, which starts from `path`, torch's names and axes.
    fn into_torch_names(mut self, repo: &dyn Repo, path: &str) -> Result<Catalog> {
        if self.files.iter().any(|file| Format::of(&file.path) == Format::Flax) {
            let fail = |fault| CheckpointError::Flax { repo: repo.id().to_owned(), path: path.to_owned(), fault };
            self.tensors = flax::to_torch(self.tensors).map_err(fail)?;
        }
        Ok(self)
    }
}

/// Has the repo forget the files that an error is about: a cache must not keep what can't be used.
async fn forget_broken(repo: &dyn Repo, found: Result<Catalog>) -> Result<Catalog> {
    if let Err(Error::Checkpoint(error)) = &found {
        for path in error.files() {
            repo.forget(path).await;
        }
    }
    found
}

fn tensor_info(file: usize, entry: Entry) -> TensorInfo {
    let Entry { dtype, shape, order, range } = entry;
    TensorInfo { dtype, shape, order, file, range, grouped: None }
}

async fn read_file(repo: &dyn Repo, path: &str) -> Result<(CheckpointFile, Header)> {
    match Format::of(path) {
        Format::Safetensors => safetensors::read(repo, path).await,
        Format::Torch => torch::read(repo, path).await,
        Format::Flax => flax::read(repo, path).await,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FIRST_BYTES, HeaderFault, header};
    use super::*;
    use crate::hub::MemoryRepo;
    use ::safetensors::tensor::{Dtype as StDtype, TensorView, serialize};
    use pollster::block_on;

    const INDEX: &str = "model.safetensors.index.json";
    const SHARDS: [&str; 2] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];

    /// A genuine file with one BF16 `[2, 2]` for each name; the bytes count up from `first`.
    fn file(names: &[&str], first: u8) -> Vec<u8> {
        let data: Vec<u8> = (first..).take(names.len() * 8).collect();
        let views = data.chunks(8).map(|bytes| TensorView::new(StDtype::BF16, vec![2, 2], bytes).unwrap());
        serialize(names.iter().zip(views), Some([("format".to_owned(), "pt".to_owned())].into())).unwrap()
    }

    fn repo(files: &[(&str, &[u8])]) -> MemoryRepo {
        let mut repo = MemoryRepo::new("a/b");
        for (path, bytes) in files {
            repo.insert(*path, *bytes);
        }
        repo
    }

    fn open(repo: &MemoryRepo) -> Result<Catalog> {
        block_on(Catalog::open(repo, &CatalogOptions::default()))
    }

    fn bytes_of(repo: &MemoryRepo, catalog: &Catalog, tensor: &str) -> Vec<u8> {
        let info = &catalog.tensors[tensor];
        let path = &catalog.files[info.file].path;
        block_on(async { repo.open(path, info.range.clone()).await.unwrap().collect().await.unwrap() })
    }

    #[test]
    fn one_file() {
        let repo = repo(&[("model.safetensors", &file(&["x", "y"], 0)), (INDEX, b"never read")]);
        let catalog = open(&repo).unwrap();
        assert_eq!(catalog.files.len(), 1);
        assert_eq!(catalog.metadata["format"], "pt");
        assert_eq!((catalog.tensors["x"].dtype, catalog.tensors["x"].bytes()), (Dtype::BF16, 8));
        assert_eq!(bytes_of(&repo, &catalog, "y"), [8, 9, 10, 11, 12, 13, 14, 15]);
    }

    #[test]
    fn shards() {
        let json = format!(r#"{{"weight_map":{{"x":"{0}","y":"{1}","z":"{1}"}}}}"#, SHARDS[0], SHARDS[1]);
        let (one, two) = (file(&["x"], 0), file(&["y", "z", "unnamed"], 100));
        let repo = repo(&[(INDEX, json.as_bytes()), (SHARDS[0], &one), (SHARDS[1], &two)]);
        let catalog = open(&repo).unwrap();
        assert_eq!(catalog.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), SHARDS);
        assert_eq!(catalog.files[1].size, Some(two.len() as u64));
        assert_eq!(catalog.tensors.keys().collect::<Vec<_>>(), ["x", "y", "z"]);
        assert_eq!(bytes_of(&repo, &catalog, "x")[0], 0);
        let reference = ::safetensors::SafeTensors::deserialize(&two).unwrap();
        assert_eq!(bytes_of(&repo, &catalog, "z"), reference.tensor("z").unwrap().data());
    }

    #[test]
    fn a_header_longer_than_the_first_request() {
        let names: Vec<String> = (0..2000).map(|i| format!("model.layers.{i}.self_attn.q_proj.weight")).collect();
        let data = [0; 2];
        let views = names.iter().map(|name| (name, TensorView::new(StDtype::F16, vec![1], &data).unwrap()));
        let file = serialize(views, None).unwrap();
        assert!(header::length(&file).unwrap() > FIRST_BYTES);
        let catalog = open(&repo(&[("model.safetensors", &file)])).unwrap();
        assert_eq!(catalog.tensors.len(), 2000);
        let cut = &file[..FIRST_BYTES as usize + 10];
        let error = open(&repo(&[("model.safetensors", cut)])).unwrap_err();
        assert!(matches!(
            error,
            Error::Checkpoint(CheckpointError::Header { fault: HeaderFault::Truncated { .. }, .. })
        ));
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = open(&repo(&[])).unwrap_err();
        assert_eq!(error.code(), "CHECKPOINT_NOT_FOUND");
        let said = "a/b does not appear to have a file named pytorch_model.bin or model.safetensors.";
        assert_eq!(error.to_string(), said);

        let json = format!(r#"{{"weight_map":{{"x":"{0}","y":"{1}"}}}}"#, SHARDS[0], SHARDS[1]);
        let one = file(&["x"], 0);
        let error = open(&repo(&[(INDEX, json.as_bytes()), (SHARDS[0], &one)])).unwrap_err();
        assert_eq!(error.code(), "CHECKPOINT_MISSING_SHARD");
        for part in ["a/b", INDEX, SHARDS[1], "y"] {
            assert!(error.to_string().contains(part), "{error}");
        }

        let error = open(&repo(&[(INDEX, json.as_bytes()), (SHARDS[0], &one), (SHARDS[1], &one)])).unwrap_err();
        assert_eq!(error.code(), "CHECKPOINT_INDEX");
        assert!(error.to_string().contains("\"y\"") && error.to_string().contains(SHARDS[1]), "{error}");
    }

    #[test]
    fn truncated_files_are_said() {
        let whole = file(&["x", "y"], 0);
        for (len, said) in
            [(0, "it has 0 bytes"), (7, "it has 7 bytes"), (20, "within its header"), (whole.len() - 1, "cut short")]
        {
            let error = open(&repo(&[("model.safetensors", &whole[..len])])).unwrap_err();
            assert_eq!(error.code(), "CHECKPOINT_HEADER");
            let text = error.to_string();
            assert!(text.contains("a/b: model.safetensors") && text.contains(said), "{text}");
        }
    }
}
