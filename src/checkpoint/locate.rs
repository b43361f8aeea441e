//! Which of a repo's files hold the weights, in transformers' order.

use super::CheckpointError;
use crate::Result;
use crate::hub::{HubError, Repo};

/// Which of a repo's checkpoints is wanted: arguments of transformers' `from_pretrained`, by its names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CatalogOptions {
    /// `"fp16"`: `model.fp16.safetensors` in place of `model.safetensors`. Flax's files have no variants.
    pub variant: Option<String>,
    /// `Some(true)`: nothing but safetensors; `Some(false)`: PyTorch's own files instead; `None`: the first there is.
    pub use_safetensors: Option<bool>,
    /// Flax's files in place of all others.
    pub from_flax: bool,
}

/// How a file's tensors are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Safetensors,
    Torch,
    Flax,
}

impl Format {
    /// The format of a shard, by its name's ending, as transformers tells them apart.
    pub fn of(path: &str) -> Format {
        match path.rsplit_once('.') {
            Some((_, "safetensors")) => Format::Safetensors,
            Some((_, "msgpack")) => Format::Flax,
            _ => Format::Torch,
        }
    }
}

/// A file that a checkpoint may start from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Candidate {
    /// Everything in one file.
    Single(String),
    /// An index that names shards.
    Index(String),
}

const SAFETENSORS: &str = "model.safetensors";
const TORCH: &str = "pytorch_model.bin";
const FLAX: &str = "flax_model.msgpack";

impl CatalogOptions {
    /// The first that the repo has is taken.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        let names: &[&str] = match (self.from_flax, self.use_safetensors) {
            (true, _) => &[FLAX],
            (false, Some(true)) => &[SAFETENSORS],
            (false, Some(false)) => &[TORCH],
            (false, None) => &[SAFETENSORS, TORCH],
        };
        let both = |name: &&str| {
            [Candidate::Single(self.file(name)), Candidate::Index(self.file(&format!("{name}.index.json")))]
        };
        names.iter().flat_map(both).collect()
    }

    /// The name with the variant before its ending.
    fn file(&self, name: &str) -> String {
        match (&self.variant, name.rsplit_once('.')) {
            (Some(variant), Some((stem, ending))) if !self.from_flax => format!("{stem}.{variant}.{ending}"),
            _ => name.to_owned(),
        }
    }

    /// What transformers says where a repo has none of them, with its hints at what the repo has instead.
    pub(super) async fn not_found(&self, repo: &dyn Repo) -> Result<CheckpointError> {
        let named = |looked_for: Vec<String>, hint: String| CheckpointError::NotFound {
            repo: repo.id().to_owned(),
            looked_for,
            hint,
        };
        let index = |name| self.file(&format!("{name}.index.json"));
        if self.from_flax {
            return Ok(named(vec![FLAX.to_owned(), index(FLAX)], ".".to_owned()));
        }
        if self.use_safetensors == Some(true) {
            let hint = " and thus cannot be loaded with `safetensors`. Please do not set `use_safetensors=True`.";
            return Ok(named(vec![self.file(SAFETENSORS), index(SAFETENSORS)], hint.to_owned()));
        }
        if has(repo, FLAX).await? {
            let hint =
                " but there is a file for Flax weights. Use `from_flax=True` to load this model from those weights.";
            return Ok(named(vec![self.file(TORCH)], hint.to_owned()));
        }
        if let Some(variant) = &self.variant
            && (has(repo, TORCH).await? || (self.use_safetensors.is_none() && has(repo, SAFETENSORS).await?))
        {
            let hint = format!(
                " but there is a file without the variant {variant}. Use `variant=None` to load this model from those \
                 weights."
            );
            return Ok(named(vec![self.file(TORCH)], hint));
        }
        Ok(named(vec![self.file(TORCH), self.file(SAFETENSORS)], ".".to_owned()))
    }
}

/// The indices of sharded checkpoints, the preferred format's first.
pub(super) fn indices(prefer_safe: bool) -> [&'static str; 2] {
    let mut both = ["model.safetensors.index.json", "pytorch_model.bin.index.json"];
    if !prefer_safe {
        both.reverse();
    }
    both
}

async fn has(repo: &dyn Repo, path: &str) -> Result<bool> {
    match repo.read_prefix(path, 1).await {
        Ok(_) => Ok(true),
        Err(HubError::EntryNotFound { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(options: &CatalogOptions) -> Vec<String> {
        let name = |candidate| match candidate {
            Candidate::Single(name) | Candidate::Index(name) => name,
        };
        options.candidates().into_iter().map(name).collect()
    }

    #[test]
    fn the_order_is_transformers() {
        let all =
            ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];
        let of = |use_safetensors| CatalogOptions { use_safetensors, ..Default::default() };
        assert_eq!(names(&of(None)), all);
        assert_eq!(names(&of(Some(true))), all[..2]);
        assert_eq!(names(&of(Some(false))), all[2..]);
        let fp16 = CatalogOptions { variant: Some("fp16".to_owned()), ..Default::default() };
        assert_eq!(
            names(&fp16),
            [
                "model.fp16.safetensors",
                "model.safetensors.index.fp16.json",
                "pytorch_model.fp16.bin",
                "pytorch_model.bin.index.fp16.json"
            ]
        );
        let flax = CatalogOptions { from_flax: true, ..fp16 };
        assert_eq!(names(&flax), ["flax_model.msgpack", "flax_model.msgpack.index.json"]);
    }
}
