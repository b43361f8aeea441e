//! The contract between models and devices: the ops that a forward pass is written in.
//!
//! A model calls these ops once for each of its blocks; what a call does is the executor's affair. The GPU records
//! dispatches and replays them for every token. Fused ops have a default in terms of the plain ones, which an executor
//! overrides where it has something better; their meaning is the default's.

use crate::Result;
use crate::config::Activation;

pub use super::relative::Relative;

/// A weight by its place in the model's list; which device has it is the weight store's affair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WeightId(pub usize);

/// Which of the tokens that run together a tensor has rows for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rows {
    /// A row for each token.
    All,
    /// One row, which is of one token or of all of them together.
    One,
}

/// An activation: f32, `[rows, width]`. Valid within the block that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tensor {
    pub(crate) id: usize,
    pub(crate) width: usize,
    pub(crate) rows: Rows,
}

/// `y = x·Wᵀ + b`, W being `[outputs, inputs]` as in torch.
#[derive(Debug, Clone, Copy)]
pub struct Linear {
    /// `[outputs, inputs]`, or `[2·outputs, inputs]` where gates lie before ups
    pub weight: WeightId,
    /// `[outputs]`
    pub bias: Option<WeightId>,
    /// Elements of a row of x.
    pub inputs: usize,
    /// Elements of a row of y.
    pub outputs: usize,
}

/// `x / sqrt(mean(x²) + eps) · weight`
#[derive(Debug, Clone, Copy)]
pub struct RmsNorm {
    /// `[width]`
    pub weight: WeightId,
    /// Added to the mean square.
    pub eps: f32,
}

/// `(x - mean(x)) / sqrt(mean((x - mean(x))²) + eps) · weight + bias`, the means being over a row's elements
#[derive(Debug, Clone, Copy)]
pub struct LayerNorm {
    /// `[width]`
    pub weight: WeightId,
    /// `[width]`
    pub bias: Option<WeightId>,
    /// Added to the variance, which is divided by the width.
    pub eps: f32,
}

/// Which rotations a layer's queries and keys get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotary {
    /// Which of the model's tables of angles.
    pub table: usize,
    /// How many tables the model has.
    pub tables: usize,
    /// The first elements of a head, so many, are rotated: a multiple of 4.
    pub dim: usize,
    /// Whether an element's partner is its neighbour, rather than the one half of them away.
    pub neighbours: bool,
}

/// Self-attention over a layer's cache.
#[derive(Debug, Clone, Copy)]
pub struct Attention {
    /// Which cache.
    pub layer: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Elements of a head; a multiple of 4.
    pub head_dim: usize,
    /// Multiplies the scores.
    pub scale: f32,
    /// A score s becomes `softcap · tanh(s / softcap)`.
    pub softcap: Option<f32>,
    /// To which tokens a token attends.
    pub kind: AttentionKind,
    /// Causal: a token attends to so many positions, the last of which is its own. Else: to so many on either side, and its
    /// own. Without it, to all.
    pub window: Option<usize>,
    /// How queries and keys are rotated; without it they aren't.
    pub rotary: Option<Rotary>,
    /// What scores get by how far the key is from the query's token.
    pub relative: Option<Relative>,
}

/// To which tokens a token attends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttentionKind {
    /// Those before it, and itself.
    Causal,
    /// All that run.
    Bidirectional,
    /// Those that an encoder has read, whose keys and values [`Ops::remember`] has put into the cache.
    Cross,
}

/// A gated convolution over a token and a few before it, each channel by itself.
#[derive(Debug, Clone, Copy)]
pub struct ShortConvolution {
    /// Which cache: of each position, products of the first half of the channels lie in its keys, those of the second in its values.
    pub layer: usize,
    /// Channels: a multiple of 8.
    pub width: usize,
    /// Tokens that are seen, the last of which is the row's own.
    pub taps: usize,
    /// `[width, taps]`
    pub weight: WeightId,
    /// `[width]`
    pub bias: Option<WeightId>,
}

/// RMSNorm of queries and of keys: of each head by itself, or of all heads as one row.
#[derive(Debug, Clone, Copy)]
pub struct QkNorm {
    /// `[width]`, or `[heads * head_dim]`
    pub q: RmsNorm,
    /// `[width]`, or `[kv_heads * head_dim]`
    pub k: RmsNorm,
    /// Query heads.
    pub heads: usize,
    /// Key heads.
    pub kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Whether each head is normalised by itself.
    pub each: bool,
}

/// A number that a token has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// Its position, counted from `first` on.
    Position {
        /// The number of the first position.
        first: usize,
    },
    /// To which of the input's texts it belongs.
    TokenType,
}

/// How a row for all tokens is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    /// It is the first token's.
    First,
    /// It is the last token's.
    Last,
    /// It is their mean.
    Mean,
}

/// A token that is routed to an expert.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Route {
    /// Its place among the tokens that run.
    pub token: u32,
    /// By what the expert's output is multiplied for it.
    pub weight: f32,
}

/// The ops. Every method fails only where the call itself is wrong for the device.
pub trait Ops {
    /// Rows of `table` (`[vocabulary, width]`) by the ids of the tokens that run, times `scale`.
    fn embed(&mut self, table: WeightId, width: usize, scale: f32) -> Result<Tensor>;

    /// Rows of `width` numbers that whoever runs the ops gives, one for each token that runs: patches of an image, say.
    fn features(&mut self, width: usize) -> Result<Tensor>;

    /// What a convolution over rows reads: `[tokens, 3 · width]` from the `[rows, width]` of a run of twice as many tokens. For
    /// token t and channel c, element `3c + k` is `x[2t + k - 1][c]`, or 0 where there is no such row.
    fn unfold(&mut self, x: Tensor) -> Result<Tensor>;

    /// x with its first row replaced by a vector of `[width]`; `x` is used up.
    fn replace_first(&mut self, x: Tensor, row: WeightId) -> Result<Tensor>;

    /// `x[t] + table[number of t]` for each token t of those that run. `table` is `[numbers, width]`, and whoever runs the ops
    /// sees to it that no token's number lies beyond it. `x` is used up.
    fn add_rows(&mut self, x: Tensor, table: WeightId, by: Number) -> Result<Tensor>;

    /// Normalises each row.
    fn rms_norm(&mut self, x: Tensor, norm: &RmsNorm) -> Result<Tensor>;

    /// Normalises the last token's row alone, as the head needs it.
    fn rms_norm_last(&mut self, x: Tensor, norm: &RmsNorm) -> Result<Tensor>;

    /// `y + rms_norm(x)`; `y` is used up.
    fn add_rms_norm(&mut self, y: Tensor, x: Tensor, norm: &RmsNorm) -> Result<Tensor>;

    /// Normalises each row: `[rows, width]` from `[rows, width]`.
    fn layer_norm(&mut self, x: Tensor, norm: &LayerNorm) -> Result<Tensor>;

    /// Normalises the last token's row alone: `[1, width]` from `[rows, width]`.
    fn layer_norm_last(&mut self, x: Tensor, norm: &LayerNorm) -> Result<Tensor>;

    /// One row from those of all tokens: `[1, width]` from `[rows, width]`.
    fn pool(&mut self, x: Tensor, pool: Pool) -> Result<Tensor>;

    /// `[rows, a.width + b.width]`: each row of a, and behind it that of b.
    fn beside(&mut self, a: Tensor, b: Tensor) -> Result<Tensor>;

    /// The elements from `first` on of each row: `[rows, width]` from `[rows, first + width or more]`.
    fn columns(&mut self, x: Tensor, first: usize, width: usize) -> Result<Tensor>;

    /// The same of a row for each token that is routed to the expert that runs, in their order: `[routed, width]`. Ops on what
    /// comes of it run over these rows alone.
    fn routed(&mut self, x: Tensor, first: usize, width: usize) -> Result<Tensor>;

    /// `y[t] + weight of t · x[n]` where t is the nth token that is routed to the expert: of y, which has a row for each token
    /// that ran before, the first elements of a row, as many as x has. `y` is used up.
    fn add_routed(&mut self, y: Tensor, x: Tensor) -> Result<Tensor>;

    /// A projection.
    fn linear(&mut self, x: Tensor, linear: &Linear) -> Result<Tensor>;

    /// `y + linear(x)`; `y` is used up.
    fn add_linear(&mut self, y: Tensor, x: Tensor, linear: &Linear) -> Result<Tensor>;

    /// `f(gate) · up`, x holding gates and then ups.
    fn gate(&mut self, x: Tensor, f: Activation) -> Result<Tensor>;

    /// `f(x)` of each element; `x` is used up.
    fn activate(&mut self, x: Tensor, f: Activation) -> Result<Tensor>;

    /// `cap · tanh(x / cap)`; `x` is used up.
    fn softcap(&mut self, x: Tensor, cap: f32) -> Result<Tensor>;

    /// `by · x`; `x` is used up.
    fn scale(&mut self, x: Tensor, by: f32) -> Result<Tensor>;

    /// Normalises queries and keys; `qkv`, which holds queries, keys and values, is used up.
    fn qk_norm(&mut self, qkv: Tensor, norm: &QkNorm) -> Result<Tensor>;

    /// Puts `kv`, which holds the keys and values of all tokens that run, into the cache of a [`AttentionKind::Cross`].
    fn remember(&mut self, kv: Tensor, attention: &Attention) -> Result<()>;

    /// Rotates queries and keys, appends keys and values to the cache, attends. `qkv` holds queries, keys and values; queries
    /// alone where the cache has what is attended to.
    fn attention(&mut self, qkv: Tensor, attention: &Attention) -> Result<Tensor>;

    /// `y[t] = c[t] · (Σₖ weight[k] · (b · x)[t + k + 1 - taps] + bias)`: `[rows, width]` from the `[b | c | x]` of `bcx`, before the
    /// first token being zeros. The products b · x are appended to the cache.
    fn short_convolution(&mut self, bcx: Tensor, convolution: &ShortConvolution) -> Result<Tensor>;

    /// `attention(qk_norm(qkv))`
    fn qk_norm_attention(&mut self, qkv: Tensor, norm: &QkNorm, attention: &Attention) -> Result<Tensor> {
        let qkv = self.qk_norm(qkv, norm)?;
        self.attention(qkv, attention)
    }

    /// `linear(rms_norm(x))`
    fn norm_linear(&mut self, x: Tensor, norm: &RmsNorm, linear: &Linear) -> Result<Tensor> {
        let normed = self.rms_norm(x, norm)?;
        self.linear(normed, linear)
    }

    /// `activate(linear(x))`
    fn activated_linear(&mut self, x: Tensor, linear: &Linear, f: Activation) -> Result<Tensor> {
        let y = self.linear(x, linear)?;
        self.activate(y, f)
    }

    /// `gate(linear(x))`, `gate_up` giving gates and then ups.
    fn gated_linear(&mut self, x: Tensor, gate_up: &Linear, f: Activation) -> Result<Tensor> {
        let both = self.linear(x, gate_up)?;
        self.gate(both, f)
    }

    /// `gate(linear(rms_norm(x)))`, `gate_up` giving gates and then ups.
    fn norm_gated_linear(&mut self, x: Tensor, norm: &RmsNorm, gate_up: &Linear, f: Activation) -> Result<Tensor> {
        let both = self.norm_linear(x, norm, gate_up)?;
        self.gate(both, f)
    }
}
