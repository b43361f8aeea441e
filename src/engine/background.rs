//! How weights come in beside the caller's work, and from where.

use std::cell::RefCell;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;

use super::offload::Offload;
use crate::Result;
use crate::checkpoint::Catalog;
use crate::hub::Abort;
use crate::models::Model;
use crate::tensor::cpu::Crew;
use crate::tensor::gpu::device::Gpu;
use crate::weights::layout::Layout;
use crate::weights::loader::{Home, Loader, Parts, Progress, Spawn, WeightFile};
use crate::weights::plan::{self, Fetch};
use crate::weights::store::Store;

/// Where every weight of a model comes from.
#[derive(Clone)]
pub(super) struct Sources {
    /// As the catalog numbers them.
    pub files: Vec<WeightFile>,
    /// By the model's names.
    pub catalog: Catalog,
}

impl Sources {
    /// The requests that bring all weights in.
    pub(super) fn plan(&self, model: &dyn Model, layouts: &[Layout]) -> Result<Vec<Vec<Fetch>>> {
        let repo = self.files.first().map(|file| file.repo.id()).unwrap_or_default();
        Ok(plan::plan(repo, &self.catalog, model.weights(), layouts, model.blocks())?)
    }
}

/// Whether what has gone to such a home stays there.
pub(super) type Stays = fn(Home) -> bool;

/// Another loader of the same weights, which has made way, and what of it stays where it is.
pub(super) struct Before<'a> {
    pub loader: &'a Loader,
    pub stays: Stays,
}

/// Hires threads that compute beside this one: at most once for a model, when a part of it is first to live in CPU memory. `None`: there
/// are none to be had.
pub type Hire = Rc<dyn Fn() -> LocalBoxFuture<'static, Option<Rc<Crew>>>>;

/// How weights come in beside the caller's work.
pub(super) struct Background {
    pub spawn: Spawn,
    pub hire: Option<Hire>,
    pub crew: RefCell<Option<Rc<Crew>>>,
    pub progress: Option<Rc<dyn Fn(Progress)>>,
    pub abort: Abort,
    pub prefetch: bool,
}

impl Background {
    /// The threads that compute beside this one, if there are some.
    async fn crew(&self) -> Option<Rc<Crew>> {
        let hired = self.crew.borrow().clone();
        if hired.is_some() {
            return hired;
        }
        let hired = self.hire.as_ref()?().await;
        self.crew.replace(hired.clone());
        hired
    }

    /// Sets out to bring all weights in by `fetches`; what `before` has of them and `stays` need not come, and the rest of it is
    /// given back.
    pub(super) async fn loader(
        &self,
        gpu: Option<&Gpu>,
        model: &dyn Model,
        layouts: &Rc<Vec<Layout>>,
        offload: &Offload,
        (sources, fetches): (&Sources, Vec<Vec<Fetch>>),
        before: Option<Before<'_>>,
    ) -> Result<Loader> {
        let crew = if offload.computes_on_cpu() { self.crew().await } else { None };
        let loader = Loader::new(Parts {
            gpu: gpu.cloned(),
            files: sources.files.clone(),
            blocks: model.blocks().to_vec(),
            fetches,
            store: Store::new(model.weights(), layouts.clone(), crew),
            homes: (0..model.blocks().len()).map(|block| offload.home(block)).collect(),
            spawn: self.spawn.clone(),
            progress: self.progress.clone(),
            abort: self.abort.clone(),
        })
        .await?;
        if let Some(Before { loader: before, stays }) = before {
            loader.take_over(before, stays);
            before.clear();
        }
        if self.prefetch {
            // An expert comes when a token is first routed to it.
            let passed_by_all = |block: &usize| !model.is_expert(*block);
            offload.staying().into_iter().filter(passed_by_all).for_each(|block| loader.request(block));
        }
        Ok(loader)
    }
}
