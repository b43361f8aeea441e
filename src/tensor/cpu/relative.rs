//! What scores get by how far the key is from the query's token.

use std::ops::Range;

use super::{CpuError, resize};
use crate::tensor::relative::Buckets;

/// The biases of some heads, by the place of a key relative to that of a query's token.
#[derive(Default)]
pub(super) struct Biases {
    /// The bucket of each place, from the farthest before to the farthest behind.
    buckets: Vec<usize>,
    /// Of each head, the bias of each place.
    values: Vec<f32>,
    /// How many places come before the token's own.
    before: usize,
}

impl Biases {
    /// Finds the buckets of keys up to `before` places before a token and up to `behind` behind it. `sides`: those behind have
    /// buckets of their own; else none is looked at.
    pub fn measure(&mut self, buckets: Buckets, before: usize, behind: usize, sides: bool) -> Result<(), CpuError> {
        self.before = before;
        let other = |distance| if sides { buckets.count + buckets.of(distance) } else { 0 };
        let places = (0..=before).rev().map(|distance| buckets.of(distance)).chain((1..=behind).map(other));
        resize(&mut self.buckets, before + 1 + behind, "attention")?;
        self.buckets.iter_mut().zip(places).for_each(|(to, bucket)| *to = bucket);
        Ok(())
    }

    /// Takes those of these heads, of so many, from `table`: `[buckets, heads]`.
    pub fn take(&mut self, table: &[f32], heads: usize, of: Range<usize>) -> Result<(), CpuError> {
        let places = self.buckets.len().max(1);
        resize(&mut self.values, places * of.len(), "attention")?;
        for (values, head) in self.values.chunks_exact_mut(places).zip(of) {
            for (value, bucket) in values.iter_mut().zip(&self.buckets) {
                *value = table.get(bucket * heads + head).copied().unwrap_or_default();
            }
        }
        Ok(())
    }

    /// Adds those of the `nth` head taken to a token's scores, the first of which is that of a key so many places before it.
    pub fn add(&self, nth: usize, before: usize, scores: &mut [f32]) {
        let at = nth * self.buckets.len() + self.before.saturating_sub(before);
        let own = self.values.get(at..).unwrap_or_default();
        scores.iter_mut().zip(own).for_each(|(score, bias)| *score += bias);
    }
}
