//! One piece of a file.

use std::ops::Range;

/// A piece of a file. In a browser it stays in JavaScript's memory until it is written to the GPU; memory that was lent
/// for it goes back when the last chunk that lies there is dropped.
#[cfg(target_arch = "wasm32")]
#[derive(Debug, Clone)]
pub struct Chunk {
    bytes: js_sys::Uint8Array,
    lent: Option<std::rc::Rc<super::lending::Lent>>,
}

/// A piece of a file.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk(Vec<u8>);

impl Chunk {
    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All the bytes, copied.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len()];
        self.copy_to(&mut bytes);
        bytes
    }

    /// The same bytes in memory of their own.
    pub fn to_owned_chunk(&self) -> Chunk {
        #[cfg(target_arch = "wasm32")]
        return self.bytes.slice(0, self.bytes.length()).into();
        #[cfg(not(target_arch = "wasm32"))]
        self.clone()
    }

    /// `range` cut to what there is.
    fn clamp(&self, range: Range<usize>) -> Range<usize> {
        let start = range.start.min(self.len());
        start..range.end.clamp(start, self.len())
    }
}

#[cfg(target_arch = "wasm32")]
impl Chunk {
    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.bytes.length() as usize
    }

    /// The bytes in `range`, cut to what there is: a view of the same memory.
    pub fn slice(&self, range: Range<usize>) -> Chunk {
        let range = self.clamp(range);
        // A typed array's length is a u32 in wasm32's bindings, and `clamp` keeps both ends within it.
        Chunk { bytes: self.bytes.subarray(range.start as u32, range.end as u32), lent: self.lent.clone() }
    }

    /// Copies as many bytes as both hold to the start of `out`, and says how many.
    pub fn copy_to(&self, out: &mut [u8]) -> usize {
        let n = self.len().min(out.len());
        if let Some(out) = out.get_mut(..n) {
            self.slice(0..n).bytes.copy_to(out);
        }
        n
    }

    /// The bytes where they lie, which others may take once the chunk is dropped.
    pub fn as_js(&self) -> &js_sys::Uint8Array {
        &self.bytes
    }

    /// Bytes in memory that was lent for them.
    pub(super) fn lent(bytes: js_sys::Uint8Array, lent: super::lending::Lent) -> Chunk {
        Chunk { bytes, lent: Some(std::rc::Rc::new(lent)) }
    }
}

#[cfg(target_arch = "wasm32")]
impl From<js_sys::Uint8Array> for Chunk {
    fn from(bytes: js_sys::Uint8Array) -> Self {
        Chunk { bytes, lent: None }
    }
}

#[cfg(target_arch = "wasm32")]
impl From<Vec<u8>> for Chunk {
    fn from(bytes: Vec<u8>) -> Self {
        js_sys::Uint8Array::from(bytes.as_slice()).into()
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Chunk {
    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The bytes in `range`, cut to what there is.
    pub fn slice(&self, range: Range<usize>) -> Chunk {
        Chunk(self.0.get(self.clamp(range)).unwrap_or_default().to_vec())
    }

    /// Copies as many bytes as both hold to the start of `out`, and says how many.
    pub fn copy_to(&self, out: &mut [u8]) -> usize {
        let n = self.len().min(out.len());
        if let (Some(to), Some(from)) = (out.get_mut(..n), self.0.get(..n)) {
            to.copy_from_slice(from);
        }
        n
    }

    /// The bytes where they lie.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl From<Vec<u8>> for Chunk {
    fn from(bytes: Vec<u8>) -> Self {
        Chunk(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_stay_within_the_chunk() {
        let chunk = Chunk::from(vec![1, 2, 3, 4]);
        assert_eq!(chunk.slice(1..3).to_vec(), [2, 3]);
        assert_eq!(chunk.slice(2..9).to_vec(), [3, 4]);
        assert!(chunk.slice(7..9).is_empty());
        let (start, end) = (3, 1);
        assert!(chunk.slice(start..end).is_empty());
    }

    #[test]
    fn copies_what_fits() {
        let chunk = Chunk::from(vec![1, 2, 3]);
        let mut out = [0; 2];
        assert_eq!(chunk.copy_to(&mut out), 2);
        assert_eq!(out, [1, 2]);
        let mut out = [9; 4];
        assert_eq!(chunk.copy_to(&mut out), 3);
        assert_eq!(out, [1, 2, 3, 9]);
    }
}
