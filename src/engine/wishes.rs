//! What is wished of the devices: where weights live, and in which precision.

use super::room::Room;
use crate::Result;
use crate::checkpoint::Catalog;
use crate::models::Model;
use crate::placement::{Device, DeviceMap, MaxMemory};
use crate::tensor::Dtype;
use crate::tensor::gpu::device::Gpu;
use crate::tensor::gpu::kernel::Storage;
use crate::weights::layout::{Kept, Layout};
use crate::weights::round::Rounding;

/// The precision in which weights are kept on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightDtype {
    /// Half precision: bfloat16 checkpoints stay bfloat16 where the device lacks `shader-f16`, everything else becomes
    /// float16.
    #[default]
    Half,
    /// The config's; where it names none, that of the checkpoint's first tensor of a floating type.
    Auto,
    /// float16
    Float16,
    /// bfloat16
    Bfloat16,
    /// float32
    Float32,
}

/// Where weights live: as a map says, or as it is inferred for the memory that there is.
#[derive(Debug, Clone, Default)]
pub struct Placement {
    /// Modules and their devices; none: inferred.
    pub device_map: Option<DeviceMap>,
    /// Bytes that each device takes: a GPU's are of all that the model has there, CPU memory's of weights. None: all are on the GPU, or
    /// in CPU memory where there is no WebGPU.
    pub max_memory: Option<MaxMemory>,
    /// The device that computes what isn't on the GPU: accelerate's `execution_device`. None: whichever is faster, layer
    /// by layer and call by call.
    pub execution_device: Option<Device>,
    /// Fail where there is no WebGPU, rather than go on without.
    pub requires_gpu: bool,
}

impl Placement {
    /// Whether the GPU has a part in it.
    pub(super) fn wants_gpu(&self) -> bool {
        self.execution_device == Some(Device::Gpu) || self.names_gpu().unwrap_or(true)
    }

    /// Whether it asks for a GPU, whatever that is.
    pub(super) fn insists_on_gpu(&self) -> bool {
        self.requires_gpu || self.execution_device == Some(Device::Gpu) || self.names_gpu() == Some(true)
    }

    /// Whether it says that there is something on the GPU, where it says anything.
    fn names_gpu(&self) -> Option<bool> {
        match (&self.device_map, self.max_memory) {
            (Some(map), _) => Some(map.iter().any(|(_, device)| device == Device::Gpu)),
            (None, Some(max_memory)) => Some(max_memory.gpu.is_some_and(|bytes| bytes > 0)),
            (None, None) => None,
        }
    }

    /// The same with so few bytes on a device, where it was not said which module is where; `None`: it was, or it has no more.
    pub(super) fn with_less(&self, device: Device, bytes: u64) -> Option<Placement> {
        let given = self.max_memory.unwrap_or(MaxMemory { gpu: Some(u64::MAX), cpu: Some(u64::MAX) });
        let (has, less) = match device {
            Device::Gpu => (given.gpu, MaxMemory { gpu: Some(bytes), ..given }),
            _ => (given.cpu, MaxMemory { cpu: Some(bytes), ..given }),
        };
        let has_less = has.is_some_and(|most| most <= bytes);
        (self.device_map.is_none() && !has_less).then(|| Placement { max_memory: Some(less), ..self.clone() })
    }

    /// Whether it can do without WebGPU where there is none.
    pub(super) fn does_without(&self) -> bool {
        !self.requires_gpu && self.execution_device != Some(Device::Gpu) && self.device_map.is_none()
    }
}

/// How weights are to lie on a device, and which.
#[derive(Clone)]
pub(super) struct Wishes {
    pub dtype: WeightDtype,
    /// Which matrices are rounded to integers.
    pub rounding: Option<Rounding>,
    pub placement: Placement,
    /// What room is kept for on the GPU beside weights.
    pub room: Room,
}

/// Chooses each weight's storage: matrices as asked, vectors in float32.
pub(super) fn lay_out(model: &dyn Model, catalog: &Catalog, gpu: Option<&Gpu>, wishes: &Wishes) -> Result<Vec<Layout>> {
    let (asked, rounding) = (wishes.dtype, wishes.rounding.as_ref());
    let capabilities = gpu.map(Gpu::capabilities);
    let f16 = if capabilities.is_some_and(|gpu| gpu.shader_f16) { Storage::F16 } else { Storage::F16Packed };
    let of = |dtype: Option<Dtype>| match (asked, dtype) {
        (WeightDtype::Float32 | WeightDtype::Auto, _) => Storage::F32,
        (WeightDtype::Bfloat16, _) => Storage::Bf16,
        // Widening a bfloat16 is a shift; unpacking a float16 without shader-f16 is much more.
        (WeightDtype::Half, Some(Dtype::BF16)) if f16 == Storage::F16Packed => Storage::Bf16,
        _ => f16,
    };
    let layout = |(_, spec): (_, &crate::weights::spec::WeightSpec)| {
        let first = spec.pieces.first().and_then(|piece| catalog.tensors.get(&piece.tensor));
        let dtype = first.map(|tensor| tensor.dtype);
        let storage = match first.and_then(|tensor| tensor.grouped.as_deref()) {
            Some(tensors) => Kept::Grouped(tensors.grouped),
            None => match rounding.and_then(|rounding| rounding.of(spec, catalog)) {
                Some(grouped) => Kept::Rounded(grouped),
                None => Kept::Floats(if spec.is_vector() { Storage::F32 } else { of(dtype) }),
            },
        };
        match capabilities {
            Some(capabilities) => Ok(Layout::new(spec, storage, capabilities)?),
            None => Ok(Layout::on_cpu(spec, storage)),
        }
    };
    model.weights().iter().map(layout).collect()
}
