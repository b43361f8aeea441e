//! The weight store: where each weight of a model is, and how it gets there.

pub mod init;
pub mod keys;
pub mod layout;
pub mod loader;
pub mod plan;
pub mod resolve;
pub mod spec;
pub mod store;
mod upload;

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
    /// A tensor's elements can't be computed with.
    #[error("{repo}: {tensor} has dtype {found}; weights can be F32, F16 or BF16")]
    Dtype {
        /// `org/name`
        repo: String,
        /// The tensor's name.
        tensor: String,
        /// In the checkpoint.
        found: Dtype,
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
            WeightsError::TooLarge { .. } => "CONFIG_INVALID",
            WeightsError::Dtype { .. } => "UNSUPPORTED_DTYPE",
            WeightsError::Failed { code, .. } => code,
        }
    }
}

/// The first few of them: a wrong config misshapes hundreds.
fn list(tensors: &[(String, Vec<usize>, Vec<usize>)]) -> String {
    const MOST: usize = 8;
    let shown = tensors.iter().take(MOST).map(|(name, found, expected)| format!("{name} {found:?}, not {expected:?}"));
    let more = tensors.len().saturating_sub(MOST);
    let more = (more > 0).then(|| format!("and {more} more"));
    shown.chain(more).collect::<Vec<_>>().join("; ")
}
