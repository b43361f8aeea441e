//! What can be wrong with a file that `flax.serialization` wrote, or seems to have written.

/// What is wrong with a Flax checkpoint. Bytes are counted from the file's start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FlaxFault {
    /// The bytes are not msgpack of the right form.
    #[error("byte {at}: {reason}")]
    Malformed {
        /// Where.
        at: u64,
        /// What doesn't hold.
        reason: &'static str,
    },
    /// Reading it in parts needs to know where it ends.
    #[error("the endpoint doesn't tell its size")]
    UnknownSize,
    /// The file ends within what it began.
    #[error("it ends at byte {file_size}, but byte {needed} is still part of it: it was cut short")]
    Truncated {
        /// Bytes in the file.
        file_size: u64,
        /// Bytes that there should be at least.
        needed: u64,
    },
    /// An array of a type that Layerline doesn't have.
    #[error("array {array:?} is of dtype {dtype:?}, which is not supported")]
    Dtype {
        /// The array's path in the tree.
        array: String,
        /// Its dtype as numpy calls it.
        dtype: String,
    },
    /// Shape and dtype want another number of bytes than there are.
    #[error("array {array:?} of shape {shape:?} needs {needed} bytes, but has {given}")]
    Size {
        /// The array's path in the tree.
        array: String,
        /// Its shape.
        shape: Vec<u64>,
        /// What shape and dtype make; `u64::MAX` where that is beyond any number.
        needed: u64,
        /// What there is.
        given: u64,
    },
    /// Two arrays of one name: readers would disagree on which to take.
    #[error("two arrays are named {array:?}")]
    Duplicate {
        /// The array's path in the tree.
        array: String,
    },
    /// More arrays, or maps in maps, than any model has.
    #[error("it has more arrays, or maps more deeply nested, than any model")]
    TooLarge,
}
