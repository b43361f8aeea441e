//! Which of a repo's files hold the weights, in transformers' order.

/// A file that a checkpoint may start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Candidate {
    /// Everything in one safetensors file.
    Safetensors(&'static str),
    /// An index that names safetensors shards.
    SafetensorsIndex(&'static str),
}

/// The first that the repo has is taken.
pub(super) const CANDIDATES: [Candidate; 2] =
    [Candidate::Safetensors("model.safetensors"), Candidate::SafetensorsIndex("model.safetensors.index.json")];

impl Candidate {
    pub(super) fn path(self) -> &'static str {
        match self {
            Candidate::Safetensors(path) | Candidate::SafetensorsIndex(path) => path,
        }
    }
}
