//! The ops, each computed when it is called.

use super::attention::{Tokens, append, attend, softcap};
use super::lanes::{F32x4, dot, map};
use super::memory::{Memory, stride};
use super::product::{Outcome, product};
use super::short_convolution::{Taps, convolve};
use super::{CpuError, Matrix};
use crate::Result;
use crate::config::Activation;
use crate::tensor::ops::{
    Attention, AttentionKind, LayerNorm, Linear, Number, Ops, Pool, QkNorm, RmsNorm, Route, Rows, ShortConvolution,
    Tensor, WeightId,
};

/// The tokens that run together.
#[derive(Debug, Clone, Copy, Default)]
pub struct Running<'a> {
    /// Their ids.
    pub ids: &'a [u32],
    /// Their types; empty where the model has none.
    pub types: &'a [u32],
    /// Their positions, where the model has a table of such.
    pub position_ids: &'a [u32],
    /// Their rows, where the caller gives some, without padding.
    pub features: &'a [f32],
    /// The first one's position.
    pub position: usize,
    /// How many tokens an encoder has read.
    pub memory: usize,
    /// Of each token, (cosine, sine) pairs of every table.
    pub angles: &'a [f32],
    /// The tokens that are routed to the expert that runs, if one does: then there are as many ids.
    pub routes: &'a [Route],
}

/// Runs a block over weights that are there.
pub struct Executor<'a> {
    memory: &'a mut Memory,
    weights: &'a dyn Fn(WeightId) -> Option<&'a Matrix>,
    running: Running<'a>,
}

impl<'a> Executor<'a> {
    /// An executor of one block.
    pub fn new(
        memory: &'a mut Memory,
        weights: &'a dyn Fn(WeightId) -> Option<&'a Matrix>,
        running: Running<'a>,
    ) -> Executor<'a> {
        Executor { memory, weights, running }
    }

    fn weight(&self, id: WeightId) -> Result<&'a Matrix, CpuError> {
        (self.weights)(id).ok_or_else(|| CpuError::refused(format!("with weight {}, which isn't there", id.0)))
    }

    /// A vector of at least `width` elements.
    fn vector(&self, id: WeightId, width: usize) -> Result<&'a [f32], CpuError> {
        let wrong = || CpuError::refused(format!("with weight {} as a vector of {width}", id.0));
        self.weight(id)?.vector().get(..width).ok_or_else(wrong)
    }

    fn make(&mut self, width: usize, rows: Rows) -> Result<(Tensor, Vec<f32>), CpuError> {
        self.memory.make(width, rows, self.running.ids.len())
    }

    /// Does the product of x into `y`.
    fn multiply(&mut self, x: Tensor, linear: &Linear, y: &mut [f32], add: bool) -> Result<(), CpuError> {
        let w = self.weight(linear.weight)?;
        if w.cols != x.width || w.rows != linear.outputs {
            let what = format!("{} × {} by a weight of {} × {}", linear.outputs, x.width, w.rows, w.cols);
            return Err(CpuError::refused(what));
        }
        let bias = linear.bias.map(|bias| self.vector(bias, linear.outputs)).transpose()?;
        let input = self.memory.take(x);
        let outcome = Outcome { bias, add };
        let done = product(w, &input, y, stride(linear.outputs), outcome, &mut self.memory.scratch);
        self.memory.put(x, input);
        done
    }

    /// The RMSNorm of all of x's rows, or of its last one.
    fn rms_norm_of(&mut self, x: Tensor, norm: &RmsNorm, rows: Rows) -> Result<Tensor> {
        let (y, mut values) = self.make(x.width, rows)?;
        self.normalise(last_of(self.memory.values(x), values.len()), &mut values, x.width, norm, false)?;
        self.memory.put(y, values);
        Ok(y)
    }

    /// The LayerNorm of all of x's rows, or of its last one.
    fn layer_norm_of(&mut self, x: Tensor, norm: &LayerNorm, rows: Rows) -> Result<Tensor> {
        let weight = self.vector(norm.weight, x.width)?;
        let bias = norm.bias.map(|bias| self.vector(bias, x.width)).transpose()?;
        let (y, mut values) = self.make(x.width, rows)?;
        let from = last_of(self.memory.values(x), values.len());
        let stride = stride(x.width).max(1);
        for (x_row, y_row) in from.chunks_exact(stride).zip(values.chunks_exact_mut(stride)) {
            layer_norm_row(x_row.get(..x.width).unwrap_or_default(), y_row, weight, bias, norm.eps);
        }
        self.memory.put(y, values);
        Ok(y)
    }

    /// Copies elements of x's rows, from `first` on, to a new tensor's: of the rows of all tokens, or of those in `tokens`.
    fn copy_columns(&mut self, x: Tensor, first: usize, width: usize, tokens: Option<&[Route]>) -> Result<Tensor> {
        let (y, mut values) = self.make(width, x.rows)?;
        let from = self.memory.values(x);
        for (row, y) in values.chunks_exact_mut(stride(width).max(1)).enumerate() {
            let row = tokens.map_or(Some(row), |routes| Some(routes.get(row)?.token as usize));
            let at = row.map(|row| row * stride(x.width) + first);
            let x = at.and_then(|at| from.get(at..at + width));
            let x = x.ok_or_else(|| CpuError::refused(format!("a row of {width} that isn't there")))?;
            y.iter_mut().zip(x).for_each(|(y, x)| *y = *x);
        }
        self.memory.put(y, values);
        Ok(y)
    }

    /// Normalises rows of `x` into `y`, adding to what is there where `add` says so.
    fn normalise(&self, x: &[f32], y: &mut [f32], width: usize, norm: &RmsNorm, add: bool) -> Result<(), CpuError> {
        let weight = self.vector(norm.weight, width)?;
        let stride = stride(width).max(1);
        for (x, y) in x.chunks_exact(stride).zip(y.chunks_exact_mut(stride)) {
            normalise_row(x.get(..width).unwrap_or_default(), y, weight, norm.eps, add);
        }
        Ok(())
    }
}

/// The last `len` values.
fn last_of(values: &[f32], len: usize) -> &[f32] {
    values.get(values.len().saturating_sub(len)..).unwrap_or_default()
}

fn layer_norm_row(x: &[f32], y: &mut [f32], weight: &[f32], bias: Option<&[f32]>, eps: f32) {
    let width = x.len().max(1) as f64;
    // The sums are float64, which costs nothing beside the products.
    let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / width;
    let variance = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / width;
    let (mean, scale) = (mean as f32, (1.0 / (variance + f64::from(eps)).sqrt()) as f32);
    for ((y, x), weight) in y.iter_mut().zip(x).zip(weight) {
        *y = (x - mean) * scale * weight;
    }
    y.iter_mut().zip(bias.unwrap_or_default()).for_each(|(y, bias)| *y += bias);
}

fn normalise_row(x: &[f32], y: &mut [f32], weight: &[f32], eps: f32, add: bool) {
    let scale = inverse_rms(x, eps);
    for ((y, x), weight) in y.iter_mut().zip(x).zip(weight) {
        let normed = x * scale * weight;
        *y = if add { *y + normed } else { normed };
    }
}

fn inverse_rms(x: &[f32], eps: f32) -> f32 {
    1.0 / (dot(x, x) / x.len().max(1) as f32 + eps).sqrt()
}

impl Ops for Executor<'_> {
    fn embed(&mut self, table: WeightId, width: usize, scale: f32) -> Result<Tensor> {
        let table = self.weight(table)?;
        let (x, mut values) = self.make(width, Rows::All)?;
        if table.cols != width {
            return Err(CpuError::refused(format!("embeddings of {width} by a table of {}", table.cols)).into());
        }
        for (id, row) in self.running.ids.iter().zip(values.chunks_exact_mut(stride(width).max(1))) {
            // As on the GPU, where an id without a row leaves zeros.
            table.widen(*id as usize, row)?;
            map(row, |x| x * F32x4::splat(scale));
        }
        self.memory.put(x, values);
        Ok(x)
    }

    fn add_rows(&mut self, x: Tensor, table: WeightId, by: Number) -> Result<Tensor> {
        let table = self.weight(table)?;
        let Running { ids, types, position_ids, .. } = self.running;
        let (numbers, first) = match by {
            Number::Position { first } => (position_ids, first),
            Number::TokenType => (types, 0),
        };
        let row_of = |token: usize| Some(first + *numbers.get(token)? as usize);
        if table.cols != x.width || (0..ids.len()).any(|token| row_of(token).is_none_or(|row| row >= table.rows)) {
            let (tokens, width) = (ids.len(), x.width);
            let what = format!("{tokens} rows of {width} added from a table of {} × {}", table.rows, table.cols);
            return Err(CpuError::refused(what).into());
        }
        let (one, mut added) = self.make(x.width, Rows::One)?;
        let mut values = self.memory.take(x);
        for (token, row) in values.chunks_exact_mut(stride(x.width).max(1)).enumerate() {
            table.widen(row_of(token).unwrap_or_default(), &mut added)?;
            row.iter_mut().zip(&added).for_each(|(x, added)| *x += added);
        }
        self.memory.put(x, values);
        self.memory.put(one, added);
        Ok(x)
    }

    fn features(&mut self, width: usize) -> Result<Tensor> {
        let given = self.running.features;
        if given.len() != self.running.ids.len() * width {
            let what = format!("{} numbers for {} rows of {width}", given.len(), self.running.ids.len());
            return Err(CpuError::refused(what).into());
        }
        Ok(self.memory.insert(given, width, self.running.ids.len())?)
    }

    fn unfold(&mut self, x: Tensor) -> Result<Tensor> {
        let width = x.width;
        let (y, mut values) = self.make(3 * width, Rows::All)?;
        let from = self.memory.values(x);
        let row = |at: usize| from.get(at * stride(width)..at * stride(width) + width).unwrap_or_default();
        for (token, y) in values.chunks_exact_mut(stride(3 * width).max(1)).enumerate() {
            for k in 0..3 {
                // Before the first row there are zeros.
                let Some(at) = (2 * token + k).checked_sub(1) else { continue };
                y.iter_mut().skip(k).step_by(3).zip(row(at)).for_each(|(y, x)| *y = *x);
            }
        }
        self.memory.put(y, values);
        Ok(y)
    }

    fn replace_first(&mut self, x: Tensor, row: WeightId) -> Result<Tensor> {
        let row = self.vector(row, x.width)?;
        let mut values = self.memory.take(x);
        values.iter_mut().zip(row).for_each(|(x, row)| *x = *row);
        self.memory.put(x, values);
        Ok(x)
    }

    fn pool(&mut self, x: Tensor, pool: Pool) -> Result<Tensor> {
        let (y, mut values) = self.make(x.width, Rows::One)?;
        let tokens = self.running.ids.len();
        let (first, count) = match pool {
            Pool::First => (0, 1),
            Pool::Last => (tokens.saturating_sub(1), 1),
            Pool::Mean => (0, tokens),
        };
        for row in self.memory.values(x).chunks_exact(stride(x.width).max(1)).skip(first).take(count) {
            values.iter_mut().zip(row).for_each(|(y, x)| *y += x);
        }
        values.iter_mut().for_each(|y| *y /= count as f32);
        self.memory.put(y, values);
        Ok(y)
    }

    fn rms_norm(&mut self, x: Tensor, norm: &RmsNorm) -> Result<Tensor> {
        self.rms_norm_of(x, norm, x.rows)
    }

    fn rms_norm_last(&mut self, x: Tensor, norm: &RmsNorm) -> Result<Tensor> {
        self.rms_norm_of(x, norm, Rows::One)
    }

    fn add_rms_norm(&mut self, y: Tensor, x: Tensor, norm: &RmsNorm) -> Result<Tensor> {
        let mut values = self.memory.take(y);
        let done = self.normalise(self.memory.values(x), &mut values, x.width, norm, true);
        self.memory.put(y, values);
        Ok(done.map(|()| y)?)
    }

    fn layer_norm(&mut self, x: Tensor, norm: &LayerNorm) -> Result<Tensor> {
        self.layer_norm_of(x, norm, x.rows)
    }

    fn layer_norm_last(&mut self, x: Tensor, norm: &LayerNorm) -> Result<Tensor> {
        self.layer_norm_of(x, norm, Rows::One)
    }

    fn beside(&mut self, a: Tensor, b: Tensor) -> Result<Tensor> {
        let (y, mut values) = self.make(a.width + b.width, a.rows)?;
        let rows = |x: Tensor| self.memory.values(x).chunks_exact(stride(x.width).max(1));
        for ((y, a_row), b_row) in values.chunks_exact_mut(stride(y.width).max(1)).zip(rows(a)).zip(rows(b)) {
            let both = a_row.iter().take(a.width).chain(b_row.iter().take(b.width));
            y.iter_mut().zip(both).for_each(|(y, x)| *y = *x);
        }
        self.memory.put(y, values);
        Ok(y)
    }

    fn columns(&mut self, x: Tensor, first: usize, width: usize) -> Result<Tensor> {
        self.copy_columns(x, first, width, None)
    }

    fn routed(&mut self, x: Tensor, first: usize, width: usize) -> Result<Tensor> {
        self.copy_columns(x, first, width, Some(self.running.routes))
    }

    fn add_routed(&mut self, y: Tensor, x: Tensor) -> Result<Tensor> {
        let mut values = self.memory.take(y);
        let rows = self.memory.values(x).chunks_exact(stride(x.width).max(1));
        for (route, x_row) in self.running.routes.iter().zip(rows) {
            let at = route.token as usize * stride(y.width);
            let to = values.get_mut(at..at + x.width).unwrap_or_default();
            to.iter_mut().zip(x_row).for_each(|(y, x)| *y += route.weight * x);
        }
        self.memory.put(y, values);
        Ok(y)
    }

    fn linear(&mut self, x: Tensor, linear: &Linear) -> Result<Tensor> {
        let (y, mut values) = self.make(linear.outputs, x.rows)?;
        self.multiply(x, linear, &mut values, false)?;
        self.memory.put(y, values);
        Ok(y)
    }

    fn add_linear(&mut self, y: Tensor, x: Tensor, linear: &Linear) -> Result<Tensor> {
        let mut values = self.memory.take(y);
        let done = self.multiply(x, linear, &mut values, true);
        self.memory.put(y, values);
        Ok(done.map(|()| y)?)
    }

    fn gate(&mut self, x: Tensor, f: Activation) -> Result<Tensor> {
        let width = x.width / 2;
        let (y, mut values) = self.make(width, x.rows)?;
        let rows = self.memory.values(x).chunks_exact(stride(x.width).max(1));
        for (x, y) in rows.zip(values.chunks_exact_mut(stride(width).max(1))) {
            let (gate, up) = x.split_at(width.min(x.len()));
            let y = y.get_mut(..width).unwrap_or_default();
            y.iter_mut().zip(gate).for_each(|(y, gate)| *y = *gate);
            activate(y, f);
            y.iter_mut().zip(up).for_each(|(y, up)| *y *= up);
        }
        self.memory.put(y, values);
        Ok(y)
    }

    fn activate(&mut self, x: Tensor, f: Activation) -> Result<Tensor> {
        let mut values = self.memory.take(x);
        // Of zero, which the padding is, each is zero.
        activate(&mut values, f);
        self.memory.put(x, values);
        Ok(x)
    }

    fn softcap(&mut self, x: Tensor, cap: f32) -> Result<Tensor> {
        let mut values = self.memory.take(x);
        softcap(&mut values, cap);
        self.memory.put(x, values);
        Ok(x)
    }

    fn scale(&mut self, x: Tensor, by: f32) -> Result<Tensor> {
        let mut values = self.memory.take(x);
        map(&mut values, |x| x * F32x4::splat(by));
        self.memory.put(x, values);
        Ok(x)
    }

    fn qk_norm(&mut self, qkv: Tensor, norm: &QkNorm) -> Result<Tensor> {
        let mut values = self.memory.take(qkv);
        let (q, k) = (norm.heads * norm.head_dim, norm.kv_heads * norm.head_dim);
        let of = |norm_of: &RmsNorm, all: usize| -> Result<_, CpuError> {
            let width = if norm.each { norm.head_dim } else { all };
            Ok((self.vector(norm_of.weight, width)?, width.max(1), norm_of.eps))
        };
        let (q_norm, k_norm) = (of(&norm.q, q)?, of(&norm.k, k)?);
        for row in values.chunks_exact_mut(stride(qkv.width).max(1)) {
            let (queries, rest) = row.split_at_mut(q.min(row.len()));
            let keys = rest.get_mut(..k).unwrap_or_default();
            for (part, (weight, width, eps)) in [(queries, q_norm), (keys, k_norm)] {
                for x in part.chunks_exact_mut(width) {
                    let scale = inverse_rms(x, eps);
                    x.iter_mut().zip(weight).for_each(|(x, weight)| *x *= scale * weight);
                }
            }
        }
        self.memory.put(qkv, values);
        Ok(qkv)
    }

    fn remember(&mut self, kv: Tensor, attention: &Attention) -> Result<()> {
        let Running { ids, position, memory, angles, .. } = self.running;
        let tokens = Tokens { count: ids.len(), position, memory, angles };
        let missing = || CpuError::refused(format!("layer {}, which has no cache", attention.layer));
        let input = self.memory.take(kv);
        let cache = self.memory.caches.get_mut(attention.layer).ok_or_else(missing)?;
        let done = append(attention, tokens, cache, (&input, stride(kv.width)), 0, &mut self.memory.attention);
        self.memory.put(kv, input);
        Ok(done?)
    }

    fn attention(&mut self, qkv: Tensor, attention: &Attention) -> Result<Tensor> {
        let width = attention.heads * attention.head_dim;
        let table = attention.relative.map(|relative| {
            let sides = if attention.kind == AttentionKind::Causal { 1 } else { 2 };
            self.vector(relative.table, sides * relative.buckets.count * attention.heads)
        });
        let table = table.transpose()?.unwrap_or_default();
        let (y, mut values) = self.make(width, qkv.rows)?;
        let Running { ids, position, memory, angles, .. } = self.running;
        let tokens = Tokens { count: ids.len(), position, memory, angles };
        let missing = || CpuError::refused(format!("layer {}, which has no cache", attention.layer));
        let input = self.memory.take(qkv);
        let cache = self.memory.caches.get_mut(attention.layer).ok_or_else(missing)?;
        let (from, to) = ((input.as_slice(), stride(qkv.width)), (values.as_mut_slice(), stride(width)));
        attend(attention, tokens, cache, from, to, table, &mut self.memory.attention)?;
        self.memory.put(qkv, input);
        self.memory.put(y, values);
        Ok(y)
    }

    fn short_convolution(&mut self, bcx: Tensor, convolution: &ShortConvolution) -> Result<Tensor> {
        let ShortConvolution { layer, width, taps, weight, bias } = *convolution;
        let bias = bias.map(|bias| self.vector(bias, width)).transpose()?.unwrap_or_default();
        let taps = Taps { weight: self.vector(weight, width * taps)?, count: taps, bias };
        let (y, mut values) = self.make(width, bcx.rows)?;
        let missing = || CpuError::refused(format!("layer {layer}, which has no cache"));
        let input = self.memory.take(bcx);
        let cache = self.memory.caches.get_mut(layer).ok_or_else(missing)?;
        let (from, to) = ((input.as_slice(), stride(bcx.width)), (values.as_mut_slice(), stride(width)));
        let tokens = (self.running.ids.len(), self.running.position);
        convolve(taps, cache, width, tokens, from, to, &mut self.memory.convolution)?;
        self.memory.put(bcx, input);
        self.memory.put(y, values);
        Ok(y)
    }
}

fn activate(x: &mut [f32], f: Activation) {
    let one = F32x4::splat(1.0);
    let zero = F32x4::splat(0.0);
    let sigmoid = |x: F32x4, by: f32| x / (one + (zero - x * F32x4::splat(by)).exp());
    match f {
        Activation::Silu => map(x, |x| sigmoid(x, 1.0)),
        Activation::QuickGelu => map(x, |x| sigmoid(x, 1.702)),
        // x · (1 + tanh(u)) / 2 is x · sigmoid(2u).
        Activation::GeluTanh => map(x, |x| {
            let cube = x * x * x;
            let u = F32x4::splat(2.0 * 0.797_884_6) * (x + F32x4::splat(0.044_715) * cube);
            x / (one + (zero - u).exp())
        }),
        Activation::Gelu => {
            x.iter_mut().for_each(|x| *x = 0.5 * *x * (1.0 + erf(*x * std::f32::consts::FRAC_1_SQRT_2)))
        }
        Activation::Relu => map(x, |x| x.max(zero)),
        Activation::Relu2 => map(x, |x| x.max(zero) * x.max(zero)),
        Activation::Tanh => x.iter_mut().for_each(|x| *x = x.tanh()),
    }
}

/// Abramowitz and Stegun 7.1.26: at most 1.5e-7 off.
fn erf(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let poly = t * (0.254_829_6 + t * (-0.284_496_74 + t * (1.421_413_7 + t * (-1.453_152 + t * 1.061_405_4))));
    (1.0 - poly * (-x * x).exp()).copysign(x)
}
