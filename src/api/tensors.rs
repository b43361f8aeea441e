//! Single tensors of a checkpoint, for JavaScript.

use wasm_bindgen::prelude::*;

use super::array::array;
use super::error::thrown;
use super::load::checkpoint;
use super::options::Options;
use super::source;
use crate::weights::small::read_small;

#[wasm_bindgen]
extern "C" {
    /// Where a repo is, how to reach it, and which of its files are the checkpoint's.
    #[wasm_bindgen(typescript_type = "object | undefined")]
    pub type JsTensorOptions;
}

/// A small tensor of a repo's checkpoint as `{ dims, data }`, `undefined` where there is none of that name.
///
/// Throws with the codes of [`read_small`].
#[wasm_bindgen]
pub async fn read_tensor(source: JsValue, name: &str, options: JsTensorOptions) -> Result<JsValue, JsValue> {
    let options = Options::new("read_tensor", &options);
    let repo = source::open(&source, &options, &options.abort()?).await?.repo;
    let Some(found) = read_small(&*repo, &checkpoint(&options)?, name).await.map_err(thrown)? else {
        return Ok(JsValue::UNDEFINED);
    };
    Ok(array(&found.shape, &found.data)?.into())
}
