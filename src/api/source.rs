//! A repo from whatever JavaScript calls one.

use std::rc::Rc;

use wasm_bindgen::JsValue;

use super::error::thrown;
use super::options::Options;
use crate::hub::cache::{self, CacheStats};
use crate::hub::{Abort, Repo, Traffic};

/// A repo whose files can be read.
pub struct Opened {
    /// The files.
    pub repo: Rc<dyn Repo>,
    /// What has gone over the network for it.
    pub traffic: Rc<Traffic>,
    /// What has come from the cache, and gone to it.
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
    let id = source.as_string().unwrap_or_default();
    let opened = cache::open(&id, options.hub()?, options.cache()?, abort.clone()).await.map_err(thrown)?;
    Ok(Opened { repo: opened.repo, traffic: opened.traffic, cache: opened.cache })
}
