//! Flax's names and axes as torch's, by transformers 4's `load_flax_weights_in_pytorch_model`.

use std::collections::BTreeMap;

use super::FlaxFault;
use crate::checkpoint::entry::Order;
use crate::checkpoint::{TensorInfo, flax};

/// Renames the arrays of a whole checkpoint, whose names are paths with slashes, and gives kernels torch's axes.
///
/// transformers leaves a kernel as it is where the model has a parameter of just that name. No architecture here has one.
pub(crate) fn to_torch(arrays: BTreeMap<String, TensorInfo>) -> Result<BTreeMap<String, TensorInfo>, FlaxFault> {
    // With statistics beside the parameters, the tree's first level tells them apart.
    let collections = arrays.keys().any(|path| path.starts_with("batch_stats/"));
    let mut tensors = BTreeMap::new();
    for (path, info) in arrays {
        let inner = if collections { path.split_once('/').map_or("", |(_, inner)| inner) } else { &path };
        let (module, last) = inner.rsplit_once('/').map_or((None, inner), |(module, last)| (Some(module), last));
        let (last, info) = match last {
            "kernel" => ("weight", transposed(info)),
            "scale" | "embedding" => ("weight", info),
            last if last.contains("mean") => ("running_mean", info),
            last if last.contains("var") => ("running_var", info),
            last => (last, info),
        };
        let name = module.map_or_else(|| last.to_owned(), |module| format!("{}.{last}", module.replace('/', ".")));
        if tensors.insert(name, info).is_some() {
            return Err(flax::FlaxFault::Duplicate { array: path });
        }
    }
    Ok(tensors)
}

/// A kernel `[..., in, out]` with torch's axes: a convolution's `[height, width, in, out]` as `[out, in, height, width]`,
/// any other's in reverse.
fn transposed(mut info: TensorInfo) -> TensorInfo {
    let stored = info.shape.clone();
    let strides = stored.iter().rev().scan(1u64, |next, dim| {
        let stride = *next;
        *next = next.saturating_mul(*dim as u64);
        Some(stride)
    });
    let mut axes: Vec<(usize, u64)> = stored.iter().rev().copied().zip(strides).collect();
    // In reverse they are out, in, width, height.
    if let [_, _, width, height] = axes.as_mut_slice() {
        std::mem::swap(width, height);
    }
    let (shape, strides): (Vec<_>, Vec<_>) = axes.into_iter().unzip();
    if info.order == Order::RowMajor {
        info.order = Order::of(&shape, &strides);
    }
    info.shape = shape;
    info
}
