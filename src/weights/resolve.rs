//! A model's tensors, each with where its bytes come from: the checkpoint, or an initialisation.

use super::WeightsError;
use super::init::NewWeights;
use super::keys::{LoadingInfo, ModelKeys};
use super::spec::WeightSpecs;
use crate::checkpoint::{Catalog, TensorInfo};

/// A checkpoint as the model calls its tensors, with nothing missing and nothing of another shape.
pub struct Resolved {
    /// By the model's names. New weights are in the file after its last one.
    pub catalog: Catalog,
    /// What the checkpoint lacks.
    pub new: NewWeights,
    /// What loading came to.
    pub info: LoadingInfo,
}

/// Finds every tensor of `specs` in `catalog`, or initialises it by `seed`.
///
/// # Errors
/// [`WeightsError::Mismatched`] for tensors of another shape, unless `ignore_mismatched_sizes`.
pub fn resolve(
    repo: &str,
    keys: &ModelKeys,
    specs: &WeightSpecs,
    catalog: Catalog,
    ignore_mismatched_sizes: bool,
    seed: u64,
) -> Result<Resolved, WeightsError> {
    let Catalog { files, mut tensors, metadata } = catalog;
    let shapes = tensors.iter().map(|(name, info)| (name.as_str(), info.shape.as_slice()));
    let matched = keys.match_with(shapes);
    if !ignore_mismatched_sizes && !matched.info.mismatched_keys.is_empty() {
        let tensors = matched.info.mismatched_keys.into_iter().collect();
        return Err(WeightsError::Mismatched { repo: repo.to_owned(), tensors });
    }
    let mut new = NewWeights::new(seed);
    let mut found = Catalog { metadata, ..Catalog::default() };
    for (name, shape, init) in specs.tensors() {
        // Several weights may be made of one tensor.
        if found.tensors.contains_key(name) {
            continue;
        }
        let alias = || keys.tied.iter().find(|(_, of)| of == name).and_then(|(alias, _)| matched.sources.get(alias));
        let source = matched.sources.get(name).or_else(alias);
        let info = match source.and_then(|source| tensors.remove(source)) {
            Some(info) => info,
            None => new.add(name, shape.clone(), init, files.len()).ok_or_else(|| WeightsError::TooLarge {
                repo: repo.to_owned(),
                tensor: name.to_owned(),
                shape,
            })?,
        };
        found.tensors.insert(name.to_owned(), info);
    }
    found.files = files;
    Ok(Resolved { catalog: found, new, info: matched.info })
}

/// Whether the checkpoint has tensors of its own for the head's projection and the embedding that are to be one: then they
/// differ, and tying them would lose one. A format that writes shared tensors once for each name has both in the same place.
pub fn unties(keys: &ModelKeys, catalog: &Catalog) -> bool {
    let matched = keys.match_with(catalog.tensors.iter().map(|(name, info)| (name.as_str(), info.shape.as_slice())));
    let place = |name| -> Option<&TensorInfo> { catalog.tensors.get(matched.sources.get(name)?) };
    let both = keys.head.as_ref().and_then(|(name, source)| Some((place(name)?, place(source)?)));
    both.is_some_and(|(a, b)| (a.file, &a.range) != (b.file, &b.range))
}
