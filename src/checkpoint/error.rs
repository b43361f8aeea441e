//! What can be wrong with a checkpoint's files.

use super::{FlaxFault, TorchFault};
use crate::tensor::Dtype;

/// Why a checkpoint can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The repo has none of the files that weights come in.
    #[error("{repo} does not appear to have a file named {}{hint}", looked_for.join(" or "))]
    NotFound {
        /// `org/name`
        repo: String,
        /// What was looked for, as transformers names it.
        looked_for: Vec<String>,
        /// The sentence's end, which may say what to do.
        hint: String,
    },
    /// A safetensors file's header is not what the format says.
    #[error("{repo}: {path} is not a valid safetensors file: {fault}")]
    Header {
        /// `org/name`
        repo: String,
        /// The file's path in the repo.
        path: String,
        /// What is wrong.
        fault: HeaderFault,
    },
    /// A PyTorch file is not what `torch.save` writes for a state dict.
    #[error("{repo}: {path} can't be loaded as a PyTorch checkpoint: {fault}")]
    Torch {
        /// `org/name`
        repo: String,
        /// The file's path in the repo.
        path: String,
        /// What is wrong.
        fault: TorchFault,
    },
    /// A Flax file is not what `flax.serialization` writes.
    #[error("{repo}: {path} can't be loaded as a Flax checkpoint: {fault}")]
    Flax {
        /// `org/name`
        repo: String,
        /// The file's path in the repo.
        path: String,
        /// What is wrong.
        fault: FlaxFault,
    },
    /// An index is not what the format says, or its shards don't hold what it says.
    #[error("{repo}: {path} is not a valid checkpoint index: {fault}")]
    Index {
        /// `org/name`
        repo: String,
        /// The index's path in the repo.
        path: String,
        /// What is wrong.
        fault: IndexFault,
    },
    /// An index names a shard that the repo lacks.
    #[error("{repo}: {index} says that {tensor} is in {shard}, but the repo has no such file")]
    MissingShard {
        /// `org/name`
        repo: String,
        /// The index's path in the repo.
        index: String,
        /// The file that isn't there.
        shard: String,
        /// A tensor that should be in it.
        tensor: String,
    },
    /// The tensors of a quantised layer don't fit together.
    #[error("{repo}: {module} is not quantised as config.json says: {fault}")]
    Grouped {
        /// `org/name`
        repo: String,
        /// The layer.
        module: String,
        /// What is wrong.
        fault: String,
    },
}

impl CheckpointError {
    /// The stable code that JavaScript sees.
    pub fn code(&self) -> &'static str {
        match self {
            CheckpointError::NotFound { .. } => "CHECKPOINT_NOT_FOUND",
            CheckpointError::Header { .. } => "CHECKPOINT_HEADER",
            CheckpointError::Torch { .. } => "CHECKPOINT_TORCH",
            CheckpointError::Flax { .. } => "CHECKPOINT_FLAX",
            CheckpointError::Index { .. } => "CHECKPOINT_INDEX",
            CheckpointError::MissingShard { .. } => "CHECKPOINT_MISSING_SHARD",
            CheckpointError::Grouped { .. } => "CHECKPOINT_QUANTIZED",
        }
    }

    /// The files that are not what they should be, as far as anybody can tell.
    pub(super) fn files(&self) -> Vec<&str> {
        match self {
            CheckpointError::NotFound { .. } | CheckpointError::Grouped { .. } => Vec::new(),
            CheckpointError::Header { path, .. }
            | CheckpointError::Torch { path, .. }
            | CheckpointError::Flax { path, .. } => vec![path],
            CheckpointError::Index { path, fault: IndexFault::MissingTensor { shard, .. }, .. } => vec![path, shard],
            CheckpointError::Index { path, .. } => vec![path],
            CheckpointError::MissingShard { index, shard, .. } => vec![index, shard],
        }
    }
}

/// What is wrong with a safetensors header. Offsets are in bytes after the header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderFault {
    /// Not even the header's length is there.
    #[error("it has {file_size} bytes, less than the 8 of a header's length")]
    NoLength {
        /// Bytes in the file.
        file_size: u64,
    },
    /// The header is larger than any client accepts.
    #[error("it claims a header of {length} bytes; at most {max} are accepted")]
    TooLong {
        /// The header's claimed length.
        length: u64,
        /// The limit.
        max: u64,
    },
    /// The file ends within the header.
    #[error("it ends within its header of {length} bytes")]
    Truncated {
        /// The header's claimed length.
        length: u64,
    },
    /// The header is not UTF-8.
    #[error("the header is not UTF-8")]
    NotUtf8,
    /// The header is not JSON of the right form.
    #[error("the header is malformed: {reason}")]
    Malformed {
        /// What the parser said.
        reason: String,
    },
    /// Two entries of one name: readers would disagree on which to take.
    #[error("two entries are named {name:?}")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// An element type that safetensors doesn't have.
    #[error("tensor {tensor:?} is of dtype {dtype:?}, which is not one of safetensors'")]
    Dtype {
        /// The tensor's name.
        tensor: String,
        /// Its dtype as the header has it.
        dtype: String,
    },
    /// The shape's size in bytes is beyond any number.
    #[error("tensor {tensor:?} has an impossibly large shape {shape:?}")]
    Overflow {
        /// The tensor's name.
        tensor: String,
        /// Its shape.
        shape: Vec<u64>,
    },
    /// Shape and dtype want another number of bytes than the offsets give.
    #[error("tensor {tensor:?} of dtype {dtype} and shape {shape:?} needs {needed} bytes, its offsets give {given}")]
    Size {
        /// The tensor's name.
        tensor: String,
        /// Its element type.
        dtype: Dtype,
        /// Its shape.
        shape: Vec<u64>,
        /// What they make.
        needed: u64,
        /// What the offsets make.
        given: u64,
    },
    /// Elements of less than a byte that don't fill their last one.
    #[error(
        "tensor {tensor:?} of dtype {dtype} and shape {shape:?} has {bits} bits, which is no whole number of bytes"
    )]
    Misaligned {
        /// The tensor's name.
        tensor: String,
        /// Its element type.
        dtype: Dtype,
        /// Its shape.
        shape: Vec<u64>,
        /// What they make.
        bits: u64,
    },
    /// A gap between two tensors, or an overlap.
    #[error("tensor {tensor:?} has offsets {begin}..{end}, but the tensor before it ends at {expected}")]
    Offsets {
        /// The tensor's name.
        tensor: String,
        /// Where it begins.
        begin: u64,
        /// Where it ends.
        end: u64,
        /// Where it should begin.
        expected: u64,
    },
    /// The last tensor's end is not the file's.
    #[error("its tensors end at byte {expected}, but it has {file_size} bytes: it was cut short or is another file")]
    FileSize {
        /// Where the last tensor ends, from the start of the file.
        expected: u64,
        /// Bytes in the file.
        file_size: u64,
    },
}

/// What is wrong with an index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IndexFault {
    /// It is not JSON of the right form.
    #[error("{reason}")]
    Malformed {
        /// What the parser said.
        reason: String,
    },
    /// The weight map has no entries.
    #[error("its weight_map is empty")]
    Empty,
    /// Two entries of one name.
    #[error("its weight_map has two entries named {tensor:?}")]
    Duplicate {
        /// The name.
        tensor: String,
    },
    /// A shard outside the index's own folder.
    #[error("it says that {tensor:?} is in {shard:?}, which is not a file beside it")]
    ShardName {
        /// The tensor.
        tensor: String,
        /// The shard's name as given.
        shard: String,
    },
    /// The shard is there, the tensor isn't.
    #[error("it says that {tensor:?} is in {shard}, which has no such tensor")]
    MissingTensor {
        /// The tensor.
        tensor: String,
        /// The shard.
        shard: String,
    },
}
