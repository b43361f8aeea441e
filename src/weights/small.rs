//! A tensor read by itself, without a model: what a checkpoint has beside its weights, such as a scale, or the few that a module
//! behind a model has.

use super::{WeightsError, cast};
use crate::Result;
use crate::checkpoint::{Catalog, CatalogOptions, Order};
use crate::hub::Repo;
use crate::tensor::cpu::decode;

/// Larger ones come in with a model, piece by piece.
const MAX_BYTES: u64 = 64 << 20;

/// A tensor of a checkpoint as float32.
#[derive(Debug, Clone, PartialEq)]
pub struct SmallTensor {
    /// As torch has it; no dimensions: a scalar.
    pub shape: Vec<usize>,
    /// The elements in row-major order.
    pub data: Vec<f32>,
}

/// The tensor that a repo's checkpoint has under exactly this name; `None` where it has none.
///
/// # Errors
/// `TOO_LARGE` for one of more than 64 MiB, `UNSUPPORTED_DTYPE`, `UNSUPPORTED_ORDER`; whatever is wrong with repo and
/// checkpoint.
pub async fn read_small(repo: &dyn Repo, options: &CatalogOptions, name: &str) -> Result<Option<SmallTensor>> {
    let catalog = Catalog::open(repo, options).await?;
    let Some((info, file)) = catalog.tensors.get(name).and_then(|info| Some((info, catalog.files.get(info.file)?)))
    else {
        return Ok(None);
    };
    let (repo_id, tensor, shape) = (repo.id().to_owned(), name.to_owned(), info.shape.clone());
    if info.bytes() > MAX_BYTES {
        return Err(WeightsError::NotSmall { repo: repo_id, tensor, bytes: info.bytes(), most: MAX_BYTES }.into());
    }
    if !cast::castable(info.dtype) {
        return Err(WeightsError::Dtype { repo: repo_id, tensor, found: info.dtype }.into());
    }
    if info.order != Order::RowMajor {
        return Err(WeightsError::Order { repo: repo_id, tensor, shape, found: info.order.clone() }.into());
    }
    let bytes = repo.open(&file.path, info.range.clone()).await?.collect().await?;
    let mut data = Vec::new();
    decode(info.dtype, &bytes, &mut data);
    Ok(Some(SmallTensor { shape, data }))
}
