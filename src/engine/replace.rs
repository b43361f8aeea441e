//! Other weights for a model that is there: what torch's `load_state_dict` does.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::Engine;
use super::background::Sources;
use super::load::weight_files;
use crate::Result;
use crate::checkpoint::Catalog;
use crate::hub::Repo;
use crate::weights::WeightsError;

/// What the model and the checkpoint have not in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IncompatibleKeys {
    /// The model's, which keep their weights.
    pub missing_keys: BTreeSet<String>,
    /// The checkpoint's, which are left out.
    pub unexpected_keys: BTreeSet<String>,
}

impl Engine {
    /// Takes the weights that `checkpoint` has, under exactly the model's names, from `repo`. They come in as at the
    /// first load; a pass that is under way ends first.
    ///
    /// # Errors
    /// `INCOMPATIBLE_KEYS` where `strict` and one side lacks what the other has; `MISMATCHED_WEIGHT`. The model then
    /// keeps all its weights.
    pub async fn load_weights(
        &self,
        repo: Rc<dyn Repo>,
        checkpoint: Catalog,
        strict: bool,
    ) -> Result<IncompatibleKeys> {
        self.alive()?;
        let checkpoint = checkpoint.group(repo.id(), self.quantization)?;
        let keys = self.model.keys();
        let named = |name: &String| checkpoint.tensors.contains_key(name);
        let found = IncompatibleKeys {
            missing_keys: keys.shapes.keys().filter(|name| !named(name)).cloned().collect(),
            unexpected_keys: checkpoint.tensors.keys().filter(|n| !keys.shapes.contains_key(*n)).cloned().collect(),
        };
        if strict && found != IncompatibleKeys::default() {
            let IncompatibleKeys { missing_keys, unexpected_keys } = found;
            let (repo, class) = (repo.id().to_owned(), self.class.clone());
            return Err(WeightsError::Incompatible { repo, class, missing_keys, unexpected_keys }.into());
        }
        let other_shape = checkpoint.tensors.iter().filter_map(|(name, info)| {
            let expected = keys.shapes.get(name).filter(|expected| **expected != info.shape)?;
            Some((name.clone(), info.shape.clone(), expected.clone()))
        });
        let tensors: Vec<_> = other_shape.collect();
        if !tensors.is_empty() {
            return Err(WeightsError::Mismatched { repo: repo.id().to_owned(), tensors }.into());
        }

        let runner = self.runner();
        let mut session = runner.session.lock().await;
        let mut sources = {
            let sources = self.sources.borrow();
            Sources { files: sources.files.clone(), catalog: sources.catalog.clone() }
        };
        let first = sources.files.len();
        sources.files.extend(weight_files(&repo, &checkpoint));
        for (name, mut info) in checkpoint.tensors {
            // One of a tied pair stands for both.
            let owner = keys.tied.iter().find(|(tied, _)| *tied == name).map_or(&name, |(_, owner)| owner);
            if let Some(own) = sources.catalog.tensors.get_mut(owner) {
                info.file += first;
                *own = info;
            }
        }
        let (layouts, offload) = (&runner.layouts, &runner.offload);
        let gpu = runner.gpu.as_ref().map(|on| &on.gpu);
        let planned = (&sources, sources.plan(&*self.model, layouts)?);
        let loader = self.background.loader(gpu, &*self.model, layouts, offload, planned, None).await?;
        session.cached.clear();
        if let Some(session) = &mut session.gpu {
            session.unlink();
        }
        runner.set_loader(loader);
        *self.sources.borrow_mut() = sources;
        Ok(found)
    }
}
