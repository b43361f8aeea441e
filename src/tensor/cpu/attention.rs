//! Attention over a layer's cache: head by head, the keys and values that a head needs being widened once.

use super::lanes::{F32x4, add_scaled, dot, map};
use super::relative::Biases;
use super::{CpuError, resize};
use crate::tensor::ops::{Attention, AttentionKind, Relative};

/// The largest float16: what is larger is cut to it on its way into the cache.
const MOST: f32 = 65504.0;

/// A layer's keys and values as float16, `[position][kv head][element]`.
#[derive(Default)]
pub(super) struct Cache {
    pub keys: Vec<u16>,
    pub values: Vec<u16>,
}

/// Memory that attentions use again and again.
#[derive(Default)]
pub struct Scratch {
    keys: Vec<f32>,
    values: Vec<f32>,
    query: Vec<f32>,
    scores: Vec<f32>,
    biases: Biases,
    /// The weights of each attention, `[tokens][heads][keys]`, where they are wanted.
    pub shown: Option<Vec<Vec<f32>>>,
}

/// The tokens that run.
#[derive(Clone, Copy)]
pub struct Tokens<'a> {
    /// How many.
    pub count: usize,
    /// The first one's position.
    pub position: usize,
    /// How many tokens an encoder has read.
    pub memory: usize,
    /// Of each token, (cosine, sine) pairs of every table.
    pub angles: &'a [f32],
}

/// Writes the keys, rotated, and the values of the tokens to the cache; `qkv` has rows of `stride`, `[queries | keys | values]`,
/// with queries of so many heads.
///
/// # Errors
/// [`CpuError`] where the cache has no room for the tokens, or there is none for the scratch.
pub fn append(
    attention: &Attention,
    tokens: Tokens<'_>,
    cache: &mut Cache,
    qkv: (&[f32], usize),
    heads: usize,
    scratch: &mut Scratch,
) -> Result<(), CpuError> {
    let Attention { kv_heads, head_dim, .. } = *attention;
    check_room(attention, cache, tokens.position + tokens.count)?;
    resize(&mut scratch.query, head_dim, "attention")?;
    for token in 0..tokens.count {
        for kv in 0..kv_heads {
            let at = ((tokens.position + token) * kv_heads + kv) * head_dim;
            rotate(attention, tokens, token, head_of(qkv, head_dim, token, heads + kv), 1.0, &mut scratch.query);
            keep(&scratch.query, cache.keys.get_mut(at..at + head_dim).unwrap_or_default());
            let value = head_of(qkv, head_dim, token, heads + kv_heads + kv);
            keep(value, cache.values.get_mut(at..at + head_dim).unwrap_or_default());
        }
    }
    Ok(())
}

fn check_room(attention: &Attention, cache: &Cache, positions: usize) -> Result<(), CpuError> {
    let Attention { heads, kv_heads, head_dim, .. } = *attention;
    let len = positions * kv_heads * head_dim;
    if cache.keys.len() < len || cache.values.len() < len || heads % kv_heads.max(1) != 0 {
        return Err(CpuError::refused(format!("attention of {positions} positions in layer {}", attention.layer)));
    }
    Ok(())
}

/// A head of a token's row.
fn head_of((qkv, stride): (&[f32], usize), head_dim: usize, token: usize, head: usize) -> &[f32] {
    let at = token * stride + head * head_dim;
    qkv.get(at..at + head_dim).unwrap_or_default()
}

/// Writes each token's attended values to `y`, rows of `y_stride`; `qkv` has rows of `stride`, `[queries | keys | values]`, or
/// queries alone where the cache has what is attended to. `table` is that of the attention's [`Relative`], if it has one.
///
/// # Errors
/// [`CpuError`] where the cache has no room for the tokens, or there is none for the scratch.
pub fn attend(
    attention: &Attention,
    tokens: Tokens<'_>,
    cache: &mut Cache,
    qkv: (&[f32], usize),
    y: (&mut [f32], usize),
    table: &[f32],
    scratch: &mut Scratch,
) -> Result<(), CpuError> {
    let Attention { heads, kv_heads, head_dim, kind, .. } = *attention;
    let positions = if kind == AttentionKind::Cross { tokens.memory } else { tokens.position + tokens.count };
    check_room(attention, cache, positions)?;
    if kind != AttentionKind::Cross {
        append(attention, tokens, cache, qkv, heads, scratch)?;
    }
    let (y, y_stride) = y;
    let head = |token: usize, head: usize| head_of(qkv, head_dim, token, head);
    resize(&mut scratch.query, head_dim, "attention")?;
    let is_causal = kind == AttentionKind::Causal;
    // Of a window there is one only where tokens attend to each other.
    let window = attention.window.filter(|_| kind != AttentionKind::Cross);
    let floor_of = |position: usize| match window {
        None => 0,
        Some(window) if is_causal => (position + 1).saturating_sub(window),
        Some(window) => position.saturating_sub(window),
    };
    let end_of = |position: usize| match window {
        _ if is_causal => position + 1,
        None => positions,
        Some(window) => (position + 1).saturating_add(window).min(positions),
    };
    let first = floor_of(tokens.position);
    resize(&mut scratch.scores, positions - first, "attention")?;
    let shared_by = heads / kv_heads.max(1);
    if let Some(all) = &mut scratch.shown {
        let mut shown = Vec::new();
        let len = tokens.count.saturating_mul(heads).saturating_mul(positions);
        resize(&mut shown, len, "attention weights")?;
        all.push(shown);
    }
    if let Some(Relative { buckets, .. }) = attention.relative {
        let behind = if is_causal { 0 } else { tokens.count.saturating_sub(1) };
        scratch.biases.measure(buckets, (positions - first).saturating_sub(1), behind, !is_causal)?;
    }
    for kv in 0..kv_heads {
        if attention.relative.is_some() {
            scratch.biases.take(table, heads, kv * shared_by..(kv + 1) * shared_by)?;
        }
        widen(&cache.keys, kv, attention, first..positions, &mut scratch.keys)?;
        widen(&cache.values, kv, attention, first..positions, &mut scratch.values)?;
        for token in 0..tokens.count {
            let position = tokens.position + token;
            let seen = floor_of(position) - first..end_of(position) - first;
            let lines = seen.start * head_dim..seen.end * head_dim;
            let keys = scratch.keys.get(lines.clone()).unwrap_or_default();
            let values = scratch.values.get(lines).unwrap_or_default();
            let scores = scratch.scores.get_mut(..seen.len()).unwrap_or_default();
            for query_head in kv * shared_by..(kv + 1) * shared_by {
                rotate(attention, tokens, token, head(token, query_head), attention.scale, &mut scratch.query);
                for (score, key) in scores.iter_mut().zip(keys.chunks_exact(head_dim)) {
                    *score = dot(&scratch.query, key);
                }
                if let Some(cap) = attention.softcap {
                    softcap(scores, cap);
                }
                if attention.relative.is_some() {
                    scratch.biases.add(query_head % shared_by, position - floor_of(position), scores);
                }
                softmax(scores);
                if let Some(shown) = scratch.shown.as_mut().and_then(|all| all.last_mut()) {
                    let row = (token * heads + query_head) * positions;
                    let to = shown.get_mut(row + first + seen.start..row + first + seen.end);
                    to.unwrap_or_default().iter_mut().zip(&*scores).for_each(|(to, weight)| *to = *weight);
                }
                let at = token * y_stride + query_head * head_dim;
                let y = y.get_mut(at..at + head_dim).unwrap_or_default();
                y.fill(0.0);
                for (weight, value) in scores.iter().zip(values.chunks_exact(head_dim)) {
                    add_scaled(y, *weight, value);
                }
            }
        }
    }
    Ok(())
}

/// Writes a head to `out`, rotated and times `scale`.
fn rotate(attention: &Attention, tokens: Tokens<'_>, token: usize, head: &[f32], scale: f32, out: &mut [f32]) {
    let Some(rotary) = attention.rotary else {
        out.iter_mut().zip(head).for_each(|(out, x)| *out = x * scale);
        return;
    };
    let half = rotary.dim / 2;
    let at = (token * rotary.tables + rotary.table) * half;
    let angles = tokens.angles.as_chunks::<2>().0.get(at..at + half).unwrap_or_default();
    if rotary.neighbours {
        let (turned, rest) = head.split_at(rotary.dim.min(head.len()));
        let (out_turned, out) = out.split_at_mut(turned.len());
        let pairs = turned.as_chunks::<2>().0.iter().zip(angles);
        for (out, ([a, b], [cos, sin])) in out_turned.as_chunks_mut::<2>().0.iter_mut().zip(pairs) {
            *out = [(a * cos - b * sin) * scale, (b * cos + a * sin) * scale];
        }
        out.iter_mut().zip(rest).for_each(|(out, x)| *out = x * scale);
        return;
    }
    let (first, rest) = head.split_at(half.min(head.len()));
    let (second, rest) = rest.split_at(half.min(rest.len()));
    let (out_first, out) = out.split_at_mut(first.len());
    let (out_second, out) = out.split_at_mut(second.len());
    let pairs = first.iter().zip(second).zip(angles);
    for ((out_a, out_b), ((a, b), [cos, sin])) in out_first.iter_mut().zip(out_second).zip(pairs) {
        *out_a = (a * cos - b * sin) * scale;
        *out_b = (b * cos + a * sin) * scale;
    }
    out.iter_mut().zip(rest).for_each(|(out, x)| *out = x * scale);
}

/// Appends values to a cache, as float16.
pub(super) fn keep(values: &[f32], own: &mut [u16]) {
    let half = |value: f32| half::f16::from_f32(value.clamp(-MOST, MOST)).to_bits();
    own.iter_mut().zip(values).for_each(|(own, value)| *own = half(*value));
}

/// One head's lines of these positions, one after the other.
fn widen(
    cache: &[u16],
    head: usize,
    attention: &Attention,
    positions: std::ops::Range<usize>,
    out: &mut Vec<f32>,
) -> Result<(), CpuError> {
    let (dim, pitch) = (attention.head_dim, attention.kv_heads * attention.head_dim);
    resize(out, positions.len() * dim, "attention")?;
    let lines = cache.get(positions.start * pitch..positions.end * pitch).unwrap_or_default();
    for (out, line) in out.chunks_exact_mut(dim.max(1)).zip(lines.chunks_exact(pitch.max(1))) {
        super::matrix::widen(line.get(head * dim..).unwrap_or_default(), out, F32x4::from_f16);
    }
    Ok(())
}

fn softmax(scores: &mut [f32]) {
    let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let top4 = F32x4::splat(top);
    map(scores, |score| (score - top4).exp());
    let total: f32 = scores.iter().sum();
    let factor = F32x4::splat(1.0 / total);
    map(scores, |weight| weight * factor);
}

/// x ← cap · tanh(x / cap)
pub fn softcap(x: &mut [f32], cap: f32) {
    x.iter_mut().for_each(|x| *x = cap * (*x / cap).tanh());
}
