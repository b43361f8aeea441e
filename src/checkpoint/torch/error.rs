//! What can be wrong with a file that `torch.save` wrote, or seems to have written.

/// What is wrong with a PyTorch checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TorchFault {
    /// Neither a zip archive nor anything else that torch writes.
    #[error("it is no zip archive, which torch.save writes since PyTorch 1.6")]
    NotTorch,
    /// The format before PyTorch 1.6.
    #[error(
        "it is in the format of PyTorch before 1.6, which can't be read in parts. Save it again: \
         torch.save(torch.load(path, weights_only=True), path), or as safetensors"
    )]
    Legacy,
    /// An archive with code in it.
    #[error(
        "it is a TorchScript archive, which holds code. Save its state dict instead: \
         torch.save(torch.jit.load(path).state_dict(), path)"
    )]
    TorchScript,
    /// Where the archive's directory is depends on the file's size.
    #[error("the endpoint doesn't tell its size, without which the end of a zip archive can't be found")]
    UnknownSize,
    /// The archive's own structures are damaged.
    #[error("its zip archive is damaged: {reason}")]
    Zip {
        /// What doesn't hold.
        reason: &'static str,
    },
    /// The directory or the pickle is larger than any checkpoint's.
    #[error("its {what} has {bytes} bytes; at most {max} are accepted")]
    TooLarge {
        /// `zip directory` or `data.pkl`
        what: &'static str,
        /// Its size.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// torch only ever stores.
    #[error("its entry {entry:?} is compressed: its tensors can't be read in parts. Save it again with torch.save")]
    Compressed {
        /// The entry's name.
        entry: String,
    },
    /// The archive lacks an entry.
    #[error("its archive has no entry {entry:?}")]
    MissingEntry {
        /// The entry's name.
        entry: String,
    },
    /// Saved by a machine of the other byte order.
    #[error("its numbers are big-endian. Load it with torch and save it again on a little-endian machine")]
    BigEndian,
    /// The pickle asks for something that no state dict needs; loading it may run code.
    #[error(
        "its pickle asks for {global}, which loading weights doesn't need and which is therefore refused, as \
         torch.load(weights_only=True) does. Save the model's state_dict() alone, or as safetensors"
    )]
    Global {
        /// `module.name`
        global: String,
    },
    /// The pickle is not a state dict's.
    #[error("its pickle can't be read: byte {at}: {reason}")]
    Pickle {
        /// Bytes into the pickle.
        at: usize,
        /// What doesn't hold.
        reason: String,
    },
    /// No tensor at the pickle's top level.
    #[error(
        "its top level holds no tensors, but {found}. transformers reads a plain state dict only: save the \
         state dict that is inside as the file's whole content"
    )]
    NoTensors {
        /// What is there instead.
        found: String,
    },
    /// A tensor reaches beyond its storage.
    #[error("tensor {tensor:?} needs elements up to {needed} of storage {storage:?}, which has {numel}")]
    OutOfStorage {
        /// The tensor's name.
        tensor: String,
        /// The storage's key.
        storage: String,
        /// Elements that the storage must have.
        needed: u64,
        /// Elements that it has.
        numel: u64,
    },
    /// A storage is larger than its entry in the archive.
    #[error("storage {storage:?} of tensor {tensor:?} should have {needed} bytes, but its entry has {given}")]
    OutOfEntry {
        /// The tensor's name.
        tensor: String,
        /// The storage's key.
        storage: String,
        /// Bytes that it must have.
        needed: u64,
        /// Bytes that the entry has.
        given: u64,
    },
    /// Numbers beyond any file.
    #[error("tensor {tensor:?} has an impossibly large shape or offset")]
    Overflow {
        /// The tensor's name.
        tensor: String,
    },
}
