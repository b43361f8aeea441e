//! Which element types become a weight's, and what the cast kernel (`shaders/cast.wgsl`) calls them.

use crate::tensor::Dtype;

/// What the cast kernel calls an element type of the checkpoint's; `None` for those that torch doesn't cast to floats
/// either, or whose elements share bytes.
pub(super) const fn number(dtype: Dtype) -> Option<u32> {
    Some(match dtype {
        Dtype::F32 => 0,
        Dtype::F16 => 1,
        Dtype::BF16 => 2,
        Dtype::F64 => 3,
        Dtype::F8E4M3 => 4,
        Dtype::F8E5M2 => 5,
        Dtype::F8E8M0 => 6,
        Dtype::F8E4M3Fnuz => 7,
        Dtype::F8E5M2Fnuz => 8,
        Dtype::Bool => 9,
        Dtype::U8 => 10,
        Dtype::I8 => 11,
        Dtype::U16 => 12,
        Dtype::I16 => 13,
        Dtype::U32 => 14,
        Dtype::I32 => 15,
        Dtype::U64 => 16,
        Dtype::I64 => 17,
        Dtype::C64 | Dtype::F4 | Dtype::F6E2M3 | Dtype::F6E3M2 => return None,
    })
}

/// Whether a weight can be made of elements of this type. transformers casts whatever floats and integers a checkpoint
/// has to the model's own type (`_materialize_copy`).
pub const fn castable(dtype: Dtype) -> bool {
    number(dtype).is_some()
}
