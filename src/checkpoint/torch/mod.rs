//! What `torch.save` writes since PyTorch 1.6: a zip archive of `data.pkl`, which says what tensors there are, and one
//! entry for each storage. The directory and the pickle are read; storages are left where they lie.

mod error;
mod pickle;
mod zip;

use std::collections::BTreeMap;
use std::ops::Range;

pub use error::TorchFault;

use self::pickle::Tensor;
use self::zip::ZipEntry;
use super::entry::{Entry, Header, Order, dims, span};
use super::window::Window;
use super::{CheckpointError, CheckpointFile, FIRST_BYTES};
use crate::hub::{HubError, Repo};
use crate::tensor::Dtype;
use crate::{Error, Result};

/// No checkpoint's pickle is near this: it has a hundred bytes a tensor.
const MAX_PICKLE: u64 = 25_000_000;
/// What the format before 1.6 begins with: protocol 2, and a magic number as a long.
const LEGACY: [u8; 14] = *b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

/// Reads what the file's own headers say: its start, its end, and the pickle where it lies in neither.
pub(super) async fn read(repo: &dyn Repo, path: &str) -> Result<(CheckpointFile, Header)> {
    let prefix = repo.read_prefix(path, FIRST_BYTES).await?;
    let file_size = prefix.file_size;
    let fault =
        |fault| Error::from(CheckpointError::Torch { repo: repo.id().to_owned(), path: path.to_owned(), fault });
    if prefix.bytes.starts_with(&LEGACY) {
        return Err(fault(TorchFault::Legacy));
    }
    if !prefix.bytes.starts_with(&zip::LOCAL) {
        return Err(fault(TorchFault::NotTorch));
    }
    let size = file_size.ok_or_else(|| fault(TorchFault::UnknownSize))?;
    let mut window = Window::new(repo, path, prefix.bytes);
    let tensors = archive(&mut window, size).await.map_err(|error| match error {
        Failure::Torch(torch) => fault(torch),
        // The file is shorter than it was said to be.
        Failure::Other(Error::Hub(HubError::RangeNotSatisfiable { .. })) => {
            fault(TorchFault::Zip { reason: "it was cut short" })
        }
        Failure::Other(error) => error,
    })?;
    Ok((CheckpointFile { path: path.to_owned(), size: file_size }, Header { tensors, metadata: BTreeMap::new() }))
}

/// A fault of the file's, which wants the file's name, or anything else.
enum Failure {
    Torch(TorchFault),
    Other(Error),
}

impl From<TorchFault> for Failure {
    fn from(fault: TorchFault) -> Self {
        Failure::Torch(fault)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Other(error)
    }
}

async fn archive(window: &mut Window<'_>, size: u64) -> Result<BTreeMap<String, Entry>, Failure> {
    let tail = window.read(size.saturating_sub(zip::TAIL)..size).await?;
    let directory = zip::directory(tail, size)?;
    let entries = zip::entries(window.read(directory.clone()).await?, directory.start)?;
    // All names begin with the archive's own.
    let root = entries.keys().find_map(|name| name.split_once('/')).map_or("", |(root, _)| root).to_owned();
    if entries.contains_key(&format!("{root}/constants.pkl")) {
        return Err(TorchFault::TorchScript.into());
    }
    let byteorder = format!("{root}/byteorder");
    if let Some(entry) = entries.get(&byteorder)
        && contents(window, &byteorder, entry, 16).await? == b"big"
    {
        return Err(TorchFault::BigEndian.into());
    }
    let name = format!("{root}/data.pkl");
    let entry = entries.get(&name).ok_or_else(|| TorchFault::MissingEntry { entry: name.clone() })?;
    let state_dict = pickle::state_dict(contents(window, &name, entry, MAX_PICKLE).await?)?;

    let mut storages = BTreeMap::new();
    let mut tensors = BTreeMap::new();
    for (name, tensor) in state_dict {
        let key = &tensor.storage.key;
        let bytes = match storages.get(key) {
            Some(bytes) => Range::clone(bytes),
            None => {
                let bytes = storage(window, &format!("{root}/data/{key}"), &entries).await?;
                storages.insert(key.clone(), bytes.clone());
                bytes
            }
        };
        let entry = place(&name, &tensor, bytes)?;
        tensors.insert(name, entry);
    }
    Ok(tensors)
}

/// An entry's data.
async fn contents<'w>(window: &'w mut Window<'_>, name: &str, entry: &ZipEntry, max: u64) -> Result<&'w [u8], Failure> {
    if !entry.stored {
        return Err(TorchFault::Compressed { entry: name.to_owned() }.into());
    }
    if entry.size > max {
        return Err(TorchFault::TooLarge { what: "data.pkl", bytes: entry.size, max }.into());
    }
    let begin = data(window, entry).await?;
    Ok(window.read(begin..begin + entry.size).await?)
}

/// Where an entry's data begins.
async fn data(window: &mut Window<'_>, entry: &ZipEntry) -> Result<u64, Failure> {
    match entry.aligned_data() {
        Some(begin) => Ok(begin),
        None => Ok(entry.data(window.read(entry.header..entry.header + zip::LOCAL_LEN).await?)?),
    }
}

/// The bytes of a storage's entry.
async fn storage(
    window: &mut Window<'_>,
    path: &str,
    entries: &BTreeMap<String, ZipEntry>,
) -> Result<Range<u64>, Failure> {
    let entry = entries.get(path).ok_or_else(|| TorchFault::MissingEntry { entry: path.to_owned() })?;
    if !entry.stored {
        return Err(TorchFault::Compressed { entry: path.to_owned() }.into());
    }
    let begin = data(window, entry).await?;
    Ok(begin..begin + entry.size)
}

/// A tensor in its storage, which lies in `bytes` of the file.
fn place(name: &str, tensor: &Tensor, bytes: Range<u64>) -> Result<Entry, TorchFault> {
    let overflow = || TorchFault::Overflow { tensor: name.to_owned() };
    let storage = &tensor.storage;
    let storage_bytes = storage.dtype.map_or(Some(1), Dtype::size).and_then(|size| size.checked_mul(storage.numel));
    let storage_bytes = storage_bytes.ok_or_else(overflow)?;
    let given = bytes.end - bytes.start;
    if storage_bytes > given {
        let (tensor, storage) = (name.to_owned(), storage.key.to_string());
        return Err(TorchFault::OutOfEntry { tensor, storage, needed: storage_bytes, given });
    }
    let size = tensor.dtype.size().ok_or_else(overflow)?;
    let shape = dims(&tensor.shape).ok_or_else(overflow)?;
    let span = span(&shape, &tensor.strides).ok_or_else(overflow)?;
    let needed = tensor.offset.checked_add(span).ok_or_else(overflow)?;
    let numel = storage_bytes / size;
    if needed > numel {
        let (tensor, storage) = (name.to_owned(), storage.key.to_string());
        return Err(TorchFault::OutOfStorage { tensor, storage, needed, numel });
    }
    // Both are within the entry now.
    let start = bytes.start + tensor.offset * size;
    let order = Order::of(&shape, &tensor.strides);
    Ok(Entry { dtype: tensor.dtype, shape, order, range: start..start + span * size })
}
