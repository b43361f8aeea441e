//! What the CPU keeps beside the weights: activations, and the key and value cache of the layers that run on it.

use super::attention::{self, Cache};
use super::product::Scratch;
use super::short_convolution;
use super::{CpuError, resize};
use crate::tensor::ops::{Rows, Tensor};

/// The distance of an activation's rows: the weights', so that products need no rest.
pub(super) fn stride(width: usize) -> usize {
    width.next_multiple_of(super::Matrix::LINE)
}

/// Memory that runs of tokens use again and again.
#[derive(Default)]
pub struct Memory {
    /// By the tensors' ids; those of a block that is done are used again.
    tensors: Vec<Vec<f32>>,
    /// Tensors that are in use.
    used: usize,
    pub(super) caches: Vec<Cache>,
    pub(super) scratch: Scratch,
    pub(super) attention: attention::Scratch,
    pub(super) convolution: short_convolution::Scratch,
}

impl Memory {
    /// Makes room in a layer's cache for so many positions of `width` elements. What is there stays.
    ///
    /// # Errors
    /// [`CpuError::OutOfMemory`]
    pub fn reserve(&mut self, layer: usize, positions: usize, width: usize) -> Result<(), CpuError> {
        while self.caches.len() <= layer {
            self.caches.push(Cache::default());
        }
        if let Some(cache) = self.caches.get_mut(layer) {
            let len = positions.saturating_mul(width);
            for half in [&mut cache.keys, &mut cache.values] {
                if half.len() < len {
                    resize(half, len, "the key and value cache")?;
                }
            }
        }
        Ok(())
    }

    /// Keeps `x` alone, as a block's input.
    pub fn carry(&mut self, x: Tensor) -> Tensor {
        if x.id < self.tensors.len() {
            self.tensors.swap(0, x.id);
        }
        self.used = 1;
        Tensor { id: 0, ..x }
    }

    /// Gives every tensor up.
    pub fn clear(&mut self) {
        self.used = 0;
    }

    /// A tensor of these rows, which have no padding.
    ///
    /// # Errors
    /// [`CpuError::OutOfMemory`]
    pub fn insert(&mut self, rows: &[f32], width: usize, tokens: usize) -> Result<Tensor, CpuError> {
        let (tensor, mut values) = self.make(width, Rows::All, tokens)?;
        for (to, row) in values.chunks_exact_mut(stride(width).max(1)).zip(rows.chunks_exact(width.max(1))) {
            to.iter_mut().zip(row).for_each(|(to, value)| *to = *value);
        }
        self.put(tensor, values);
        Ok(tensor)
    }

    /// Writes a layer's cache from its first position on: float16, as they lie there.
    pub fn fill_cache(&mut self, layer: usize, keys: &[u8], values: &[u8]) {
        if let Some(cache) = self.caches.get_mut(layer) {
            for (own, bytes) in [(&mut cache.keys, keys), (&mut cache.values, values)] {
                let halves = bytes.as_chunks::<2>().0.iter().map(|half| u16::from_le_bytes(*half));
                own.iter_mut().zip(halves).for_each(|(own, half)| *own = half);
            }
        }
    }

    /// A layer's keys and values, as many positions of each as it has room for.
    pub fn cache_mut(&mut self, layer: usize) -> Option<[&mut [u16]; 2]> {
        self.caches.get_mut(layer).map(|cache| [cache.keys.as_mut_slice(), cache.values.as_mut_slice()])
    }

    /// Whether attentions are to leave their weights for [`Memory::shown`].
    pub fn show(&mut self, wanted: bool) {
        self.attention.shown = wanted.then(Vec::new);
    }

    /// Takes the weights of the attentions that have run since the last call, `[tokens][heads][keys]` each, where they are wanted.
    pub fn take_shown(&mut self) -> Vec<Vec<f32>> {
        self.attention.shown.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// A row of a tensor, without its padding.
    pub fn row(&self, x: Tensor, row: usize) -> &[f32] {
        let at = row * stride(x.width);
        self.values(x).get(at..at + x.width).unwrap_or_default()
    }

    /// Bytes of all of it.
    pub fn bytes(&self) -> u64 {
        let floats: usize = self.tensors.iter().map(Vec::capacity).sum();
        let halves: usize = self.caches.iter().map(|cache| cache.keys.capacity() + cache.values.capacity()).sum();
        (floats * 4 + halves * 2) as u64
    }

    /// A tensor's rows, [`stride`] apart.
    pub(super) fn values(&self, x: Tensor) -> &[f32] {
        self.tensors.get(x.id).map(Vec::as_slice).unwrap_or_default()
    }

    /// Takes a tensor's rows out, to be written beside others.
    pub(super) fn take(&mut self, x: Tensor) -> Vec<f32> {
        self.tensors.get_mut(x.id).map(std::mem::take).unwrap_or_default()
    }

    /// Puts them back.
    pub(super) fn put(&mut self, x: Tensor, values: Vec<f32>) {
        if let Some(place) = self.tensors.get_mut(x.id) {
            *place = values;
        }
    }

    /// A new tensor of `rows` rows, taken out, all zero.
    pub(super) fn make(&mut self, width: usize, rows: Rows, tokens: usize) -> Result<(Tensor, Vec<f32>), CpuError> {
        let tensor = Tensor { id: self.used, width, rows };
        self.used += 1;
        if self.tensors.len() < self.used {
            self.tensors.push(Vec::new());
        }
        let rows = if rows == Rows::One { 1 } else { tokens };
        let mut values = self.take(tensor);
        values.clear();
        resize(&mut values, rows.saturating_mul(stride(width)), "an activation")?;
        Ok((tensor, values))
    }
}
