//! A repo from whatever JavaScript calls one.

use std::rc::Rc;

use wasm_bindgen::JsValue;

use super::error::thrown;
use super::options::Options;
use crate::hub::{Abort, HubRepo, Repo, Traffic};

/// A repo whose files can be read.
pub struct Opened {
    /// The files.
    pub repo: Rc<dyn Repo>,
    /// What has gone over the network for it.
    pub traffic: Rc<Traffic>,
}

/// Opens the repo that `source` names.
///
/// Throws with the hub's codes.
pub async fn open(source: &JsValue, options: &Options<'_>, abort: &Abort) -> Result<Opened, JsValue> {
    let id = source.as_string().unwrap_or_default();
    let repo = HubRepo::pin(&id, options.hub()?, abort.clone()).await.map_err(thrown)?;
    let traffic = repo.traffic();
    Ok(Opened { repo: Rc::new(repo), traffic })
}
