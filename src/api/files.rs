//! Small files of a repo beside its checkpoint, for JavaScript.

use futures_util::future::join_all;
use js_sys::Array;
use wasm_bindgen::prelude::*;

use super::error::{thrown, with_code};
use super::options::Options;
use super::source;
use crate::hub::HubError;

/// Configs of a few hundred bytes are what is read.
const MAX_BYTES: u64 = 1 << 20;

#[wasm_bindgen]
extern "C" {
    /// Where a repo is and how to reach it.
    #[wasm_bindgen(typescript_type = "object | undefined")]
    pub type JsFilesOptions;
}

/// Texts of a repo's files, all at one commit; `undefined` for those that it lacks.
///
/// Throws with the hub's codes.
#[wasm_bindgen]
pub async fn read_files(source: JsValue, paths: Vec<String>, options: JsFilesOptions) -> Result<Array, JsValue> {
    let options = Options::new("read_files", &options);
    let repo = source::open(&source, &options, &options.abort()?).await?.repo;
    let read = paths.iter().map(|path| {
        let repo = &repo;
        async move {
            match repo.read(path, MAX_BYTES).await {
                Ok(bytes) => {
                    let wrong = |_| with_code("CONFIG_INVALID", &format!("{}: {path} is not UTF-8 text", repo.id()));
                    String::from_utf8(bytes).map(JsValue::from).map_err(wrong)
                }
                Err(HubError::EntryNotFound { .. }) => Ok(JsValue::UNDEFINED),
                Err(error) => Err(thrown(error)),
            }
        }
    });
    join_all(read).await.into_iter().collect()
}
