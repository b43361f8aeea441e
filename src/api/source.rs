//! A repo from whatever JavaScript calls one.

use std::rc::Rc;

use wasm_bindgen::JsValue;

use super::error::thrown;
use super::options::Options;
use crate::hub::cache::{self, CacheStats};
use crate::hub::{Abort, FilesRepo, HubRepo, Repo, Traffic};

/// A repo whose files can be read.
pub struct Opened {
    /// The files.
    pub repo: Rc<dyn Repo>,
    /// What has gone over the network for it.
    #[cfg_attr(not(feature = "engine"), allow(dead_code))]
    pub traffic: Rc<Traffic>,
    /// What has come from the cache, and gone to it.
    #[cfg_attr(not(feature = "engine"), allow(dead_code))]
    pub cache: Rc<CacheStats>,
}

impl Opened {
    /// One that needs no network.
    pub fn local(repo: impl Repo + 'static) -> Opened {
        Opened { repo: Rc::new(repo), traffic: Rc::default(), cache: Rc::default() }
    }
}

/// Opens the repo that `source` names.
///
/// Throws with the hub's codes.
pub async fn open(source: &JsValue, options: &Options<'_>, abort: &Abort) -> Result<Opened, JsValue> {
    let hub = options.hub()?;
    let Some(id) = source.as_string() else {
        let folder = hub.subfolder.filter(|folder| !folder.is_empty());
        let expected = "a repo id, a URL, a folder or files";
        return FilesRepo::from_js(source, folder).map(Opened::local).ok_or_else(|| options.wrong("source", expected));
    };
    if id.contains("://") {
        let repo = HubRepo::at_url(&id, hub, abort.clone()).map_err(thrown)?;
        let traffic = repo.traffic();
        return Ok(Opened { traffic, ..Opened::local(repo) });
    }
    let opened = cache::open(&id, hub, options.cache()?, abort.clone()).await.map_err(thrown)?;
    Ok(Opened { repo: opened.repo, traffic: opened.traffic, cache: opened.cache })
}
