//! The weight store: where each weight of a model is, and how it gets there.

mod cast;
mod gather;
mod grouped;
pub mod held;
pub mod init;
pub mod keys;
pub mod layout;
pub mod loader;
mod made;
pub mod plan;
pub mod resolve;
pub mod round;
pub mod small;
pub mod spec;
pub mod store;
pub(crate) mod upload;
#[cfg(test)]
mod upload_tests;

use std::collections::BTreeSet;

use crate::checkpoint::Order;
use crate::tensor::Dtype;

/// Why a checkpoint's tensors can't become a model's weights.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The model needs a tensor that the checkpoint lacks.
    #[error("{repo}: the checkpoint has no tensor {tensor}, which {module} needs")]
    Missing {
        /// `org/name`
        repo: String,
        /// The tensor's name.
        tensor: String,
        /// The weight that it is part of.
        module: String,
    },
    /// A tensor's shape is not what the config says.
    #[error("{repo}: {tensor} has shape {found:?}, and by config.json it should have {expected:?}")]
    Shape {
        /// `org/name`
        repo: String,
        /// The tensor's name.
        tensor: String,
        /// In the checkpoint.
        found: Vec<usize>,
        /// By the config.
        expected: Vec<usize>,
    },
    /// The same of all such tensors, when a model is loaded.
    #[error(
        "{repo}: tensors of other shapes than the config says: {}. \
         Load with ignore_mismatched_sizes to have them initialised anew",
        list(tensors)
    )]
    Mismatched {
        /// `org/name`
        repo: String,
        /// Each tensor's name, its shape in the checkpoint, and its shape by the config.
        tensors: Vec<(String, Vec<usize>, Vec<usize>)>,
    },
    /// Weights that were to replace a model's are not those of such a model.
    #[error("{repo}: error(s) in loading state_dict for {class}: {}", incompatible(missing_keys, unexpected_keys))]
    Incompatible {
        /// `org/name`
        repo: String,
        /// The model's class.
        class: String,
        /// The model's, which the checkpoint lacks.
        missing_keys: BTreeSet<String>,
        /// The checkpoint's, which the model lacks.
        unexpected_keys: BTreeSet<String>,
    },
    /// A tensor that would have to be initialised is larger than any file.
    #[error("{repo}: the config asks for a {tensor} of shape {shape:?}, which is too large")]
    TooLarge {
        /// `org/name`
        repo: String,
        /// The tensor's name.
        tensor: String,
        /// By the config.
        shape: Vec<usize>,
    },
    /// A tensor that is to be read by itself is as large as a weight.
    #[error("{repo}: {tensor} has {bytes} bytes, and at most {most} are read without a model")]
    NotSmall {
        /// `org/name`
        repo: String,
        /// The tensor's name.
        tensor: String,
        /// Its size.
        bytes: u64,
        /// The largest that is read.
        most: u64,
    },
    /// A tensor's elements can't be computed with.
    #[error("{repo}: {tensor} has dtype {found}, which can't be cast to the floating types that weights are kept in")]
    Dtype {
        /// `org/name`
        repo: String,
        /// The tensor's name.
        tensor: String,
        /// In the checkpoint.
        found: Dtype,
    },
    /// Tensors that lie in one weight are not quantised alike; or a model's that is there, and the one that is to replace it.
    #[error("{repo}: {tensor} is not quantised as {module} is, with which it is computed")]
    Grouped {
        /// `org/name`
        repo: String,
        /// The tensor's name.
        tensor: String,
        /// The weight that it is part of.
        module: String,
    },
    /// A tensor's elements lie in an order that isn't supported.
    #[error("{repo}: {tensor} of shape {shape:?} {}. Save it again with tensor.contiguous()", described(found))]
    Order {
        /// `org/name`
        repo: String,
        /// The tensor's name.
        tensor: String,
        /// As torch has it.
        shape: Vec<usize>,
        /// In the checkpoint.
        found: Order,
    },
    /// A block's weights could not be brought in, for a reason that has been reported before.
    #[error("the weights of {block} could not be loaded: {message}")]
    Failed {
        /// The module's name.
        block: String,
        /// Why.
        message: String,
        /// The reason's own code.
        code: &'static str,
    },
}

impl WeightsError {
    /// The stable code that JavaScript sees.
    pub fn code(&self) -> &'static str {
        match self {
            WeightsError::Missing { .. } => "MISSING_WEIGHT",
            WeightsError::Shape { .. } | WeightsError::Mismatched { .. } => "MISMATCHED_WEIGHT",
            WeightsError::Incompatible { .. } => "INCOMPATIBLE_KEYS",
            WeightsError::TooLarge { .. } => "CONFIG_INVALID",
            WeightsError::NotSmall { .. } => "TOO_LARGE",
            WeightsError::Dtype { .. } => "UNSUPPORTED_DTYPE",
            WeightsError::Order { .. } => "UNSUPPORTED_ORDER",
            WeightsError::Grouped { .. } => "UNSUPPORTED_QUANTIZATION",
            WeightsError::Failed { code, .. } => code,
        }
    }
}

fn list(tensors: &[(String, Vec<usize>, Vec<usize>)]) -> String {
    few(tensors.iter().map(|(name, found, expected)| format!("{name} {found:?}, not {expected:?}")))
}

fn incompatible(missing: &BTreeSet<String>, unexpected: &BTreeSet<String>) -> String {
    let part = |what, keys: &BTreeSet<String>| {
        (!keys.is_empty()).then(|| format!("{what} key(s): {}", few(keys.iter().cloned())))
    };
    [part("missing", missing), part("unexpected", unexpected)].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// The first few of them: a wrong config concerns hundreds.
fn few(mut entries: impl ExactSizeIterator<Item = String>) -> String {
    const MOST: usize = 8;
    let mut shown: Vec<String> = entries.by_ref().take(MOST).collect();
    if entries.len() > 0 {
        shown.push(format!("and {} more", entries.len()));
    }
    shown.join(", ")
}

fn described(order: &Order) -> String {
    match order {
        Order::Strided(strides) => format!("is saved with strides {strides:?}, neither row by row nor transposed"),
        Order::Chunked => "is saved in chunks, as Flax saves more than 1 GiB".to_owned(),
        Order::RowMajor | Order::ColumnMajor => "is saved in another order than was planned for".to_owned(),
    }
}
