//! Where one tensor lies in its file, and how.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::tensor::Dtype;

/// How a tensor's elements follow one another in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// The last dimension's neighbours lie side by side.
    RowMajor,
    /// Of two dimensions: the first's neighbours lie side by side, as in Flax's kernels and in torch's transposed views.
    ColumnMajor,
    /// Elements from one index to the next, for each dimension: neither of the others.
    Strided(Vec<u64>),
    /// In pieces with other bytes between them, as Flax writes arrays of more than 1 GiB.
    Chunked,
}

impl Order {
    /// What `strides`, in elements, are for `shape`. The stride of a dimension of one doesn't matter.
    pub(super) fn of(shape: &[usize], strides: &[u64]) -> Order {
        if shape.contains(&0) || in_steps(shape.iter().zip(strides).rev()) {
            Order::RowMajor
        } else if shape.len() == 2 && in_steps(shape.iter().zip(strides)) {
            Order::ColumnMajor
        } else {
            Order::Strided(strides.to_vec())
        }
    }
}

/// Whether each dimension's stride is the product of those before it.
fn in_steps<'a>(dims: impl Iterator<Item = (&'a usize, &'a u64)>) -> bool {
    let mut next = 1u64;
    for (dim, stride) in dims {
        if *dim != 1 && *stride != next {
            return false;
        }
        next = next.saturating_mul(*dim as u64);
    }
    true
}

/// Elements from the first to the last of a tensor with these strides, both included.
pub(super) fn span(shape: &[usize], strides: &[u64]) -> Option<u64> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().zip(strides).try_fold(1u64, |span, (dim, stride)| {
        stride.checked_mul(*dim as u64 - 1).and_then(|step| span.checked_add(step))
    })
}

/// Bytes of a tensor without gaps: a whole number, or nothing.
pub(super) fn bytes(dtype: Dtype, shape: &[u64]) -> Option<u64> {
    let elements = shape.iter().try_fold(1u64, |elements, dim| elements.checked_mul(*dim))?;
    let bits = elements.checked_mul(dtype.bits())?;
    bits.is_multiple_of(8).then_some(bits / 8)
}

/// A shape whose dimensions fit this machine's addresses.
pub(super) fn dims(shape: &[u64]) -> Option<Vec<usize>> {
    shape.iter().map(|dim| usize::try_from(*dim).ok()).collect()
}

/// The type that torch and numpy call `name`.
pub(super) fn dtype_named(name: &str) -> Option<Dtype> {
    Some(match name {
        "int64" => Dtype::I64,
        "int32" => Dtype::I32,
        "int16" => Dtype::I16,
        "int8" => Dtype::I8,
        "uint8" => Dtype::U8,
        "uint16" => Dtype::U16,
        "uint32" => Dtype::U32,
        "uint64" => Dtype::U64,
        "bool" => Dtype::Bool,
        "complex64" => Dtype::C64,
        "float8_e4m3fn" => Dtype::F8E4M3,
        "float8_e5m2" => Dtype::F8E5M2,
        "float8_e8m0fnu" => Dtype::F8E8M0,
        "float8_e4m3fnuz" => Dtype::F8E4M3Fnuz,
        "float8_e5m2fnuz" => Dtype::F8E5M2Fnuz,
        name => return Dtype::from_torch(name),
    })
}

/// Where one tensor is in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub order: Order,
    /// From the start of the file.
    pub range: Range<u64>,
}

/// What a file's own headers say of its tensors, checked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub tensors: BTreeMap<String, Entry>,
    pub metadata: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders() {
        for (shape, strides, order) in [
            (&[][..], &[][..], Order::RowMajor),
            (&[3, 4], &[4, 1], Order::RowMajor),
            (&[3, 4], &[1, 3], Order::ColumnMajor),
            (&[1, 4], &[9, 1], Order::RowMajor),
            (&[4, 1], &[1, 9], Order::RowMajor),
            (&[4, 1], &[2, 1], Order::Strided(vec![2, 1])),
            (&[0, 4], &[7, 7], Order::RowMajor),
            (&[3, 4], &[8, 2], Order::Strided(vec![8, 2])),
            (&[3, 4], &[5, 1], Order::Strided(vec![5, 1])),
            (&[3, 4], &[0, 1], Order::Strided(vec![0, 1])),
            (&[2, 3, 4], &[12, 4, 1], Order::RowMajor),
            (&[2, 3, 4], &[1, 2, 6], Order::Strided(vec![1, 2, 6])),
        ] {
            assert_eq!(Order::of(shape, strides), order, "{shape:?} {strides:?}");
        }
    }

    #[test]
    fn spans_are_checked() {
        assert_eq!(span(&[3, 4], &[4, 1]), Some(12));
        assert_eq!(span(&[3, 4], &[1, 10]), Some(33));
        assert_eq!(span(&[0, usize::MAX], &[u64::MAX, 1]), Some(0));
        assert_eq!(span(&[3], &[u64::MAX]), None);
        assert_eq!(bytes(Dtype::F6E2M3, &[4]), Some(3));
        assert_eq!(bytes(Dtype::F6E2M3, &[3]), None);
        assert_eq!(bytes(Dtype::F64, &[u64::MAX]), None);
    }
}
