//! The GPU's execution of the ops: a block becomes a list of dispatches that name their buffers.
//!
//! Nothing here touches a device, so that what a block costs can be counted, and the kernels it needs compiled, before
//! any weight is there. [`super::program`] ties the names to buffers.

mod attention;
mod product;

use std::collections::HashSet;

use product::VecArgs;

use super::device::GpuError;
use super::dispatch::{Activations, BufferName, Dispatch, Grid, Shape, stride};
use super::kernel::{Constant, Kernel, Reduction, Source, Tuning};
use crate::Result;
use crate::config::Activation;
use crate::tensor::ops::{
    Attention, AttentionKind, LayerNorm, Linear, Number, Ops, Pool, QkNorm, RmsNorm, Rows, ShortConvolution, Tensor,
    WeightId,
};
use crate::weights::layout::Layout;

/// Logits that one workgroup of argmax looks through; each leaves a candidate of 8 bytes.
pub const ARGMAX_SPAN: usize = 2048;

/// The numbers by which `activations.wgsl` knows the activations.
fn activation_number(f: Activation) -> u32 {
    match f {
        Activation::Silu => 0,
        Activation::GeluTanh => 1,
        Activation::Gelu => 2,
        Activation::QuickGelu => 3,
        Activation::Relu => 4,
        Activation::Tanh => 5,
        Activation::Relu2 => 6,
    }
}

/// For how many tokens the dispatches are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// One: matrix-vector kernels, with norms and gates fused into them.
    Decode,
    /// Many: tiled matrix kernels.
    Prefill,
}

/// Records blocks.
pub struct Recorder<'a> {
    mode: Mode,
    tuning: &'a Tuning,
    layouts: &'a [Layout],
    activations: &'a mut Activations,
    /// Places that this block uses.
    used: HashSet<usize>,
    most_rows: Option<usize>,
    /// Where the rows that the caller gives are to be.
    features: Option<Tensor>,
    /// What shows the weights of the block's attentions.
    shown: Vec<(AttentionKind, Dispatch)>,
    dispatches: Vec<Dispatch>,
}

/// What is done to each element.
#[derive(Clone, Copy)]
enum Change {
    /// It is capped: `cap · tanh(x / cap)`.
    Cap(f32),
    /// It is multiplied.
    Scale(f32),
    /// It is activated.
    Activate(Activation),
}

impl<'a> Recorder<'a> {
    /// Records for a model whose weights lie as `layouts` says.
    pub fn new(mode: Mode, tuning: &'a Tuning, layouts: &'a [Layout], activations: &'a mut Activations) -> Self {
        Recorder {
            mode,
            tuning,
            layouts,
            activations,
            used: HashSet::new(),
            most_rows: None,
            features: None,
            shown: Vec::new(),
            dispatches: Vec::new(),
        }
    }

    /// What has been recorded since the last call; the next block may reuse the activations.
    pub fn take(&mut self) -> Vec<Dispatch> {
        self.used.clear();
        self.most_rows = None;
        std::mem::take(&mut self.dispatches)
    }

    /// Where what has been recorded reads the rows that its caller gives, if it does.
    pub fn features_read(&self) -> Option<Tensor> {
        self.features
    }

    /// What shows the weights of the block's attentions when the block has run, in their order, where many tokens run:
    /// `[tokens][heads][keys]` go to [`BufferName::AttentionWeights`].
    pub fn take_shown(&mut self) -> Vec<(AttentionKind, Dispatch)> {
        std::mem::take(&mut self.shown)
    }

    /// The hidden state that block `index - 1` left, as the next block's input.
    pub fn carry(&mut self, x: Tensor) -> Tensor {
        self.used.insert(x.id);
        x
    }

    /// The index of the largest of `logits`' last row becomes the next token.
    pub fn argmax(&mut self, logits: Tensor) {
        let groups = logits.width.div_ceil(ARGMAX_SPAN);
        for (gather, count, grid) in [(false, logits.width, groups), (true, groups, 1)] {
            self.push(
                Kernel {
                    source: Source::Argmax,
                    storage: None,
                    reduction: None,
                    constants: vec![
                        Constant::U32("WORKGROUP", 256),
                        Constant::U32("SPAN", ARGMAX_SPAN as u32),
                        Constant::Bool("GATHER", gather),
                    ],
                },
                vec![count as u32],
                vec![BufferName::Activation(logits.id), BufferName::Candidates, BufferName::Ids],
                Grid::Fixed(grid as u32),
            );
        }
    }

    /// What is recorded from here to the block's end runs on at most so many tokens at a time.
    pub fn limit_rows(&mut self, most: usize) {
        self.most_rows = Some(most);
    }

    fn allocate(&mut self, width: usize, rows: Rows) -> Tensor {
        let shape = Shape { width, rows, most: self.most_rows };
        let mut nth = 0;
        let id = loop {
            let id = self.activations.place(shape, nth);
            if self.used.insert(id) {
                break id;
            }
            nth += 1;
        };
        Tensor { id, width, rows }
    }

    fn layout(&self, id: WeightId) -> Result<&'a Layout> {
        let refused = || GpuError::Refused { what: "an op", message: format!("there is no weight {}", id.0) };
        Ok(self.layouts.get(id.0).ok_or_else(refused)?)
    }

    fn push(&mut self, kernel: Kernel, params: Vec<u32>, buffers: Vec<BufferName>, grid: Grid) {
        self.dispatches.push(Dispatch { kernel, params, buffers, grid });
    }

    fn one_row(&self, x: Tensor) -> bool {
        x.rows == Rows::One || self.mode == Mode::Decode
    }

    fn per_token(&self, x: u32) -> Grid {
        Grid::PerTokens { x, tokens: 1 }
    }

    fn workgroup(&self) -> Constant {
        Constant::U32("WORKGROUP", self.tuning.workgroup)
    }

    /// Rows of a table by the tokens' ids are written to x, or those by other numbers of theirs are added to it.
    fn rows_of(&mut self, table: WeightId, x: Tensor, scale: f32, add: Option<Number>) -> Result<()> {
        let layout = self.layout(table)?;
        if layout.grouped.is_some() {
            let what = "looking up rows of a quantised table";
            let message = "only linear layers may be quantised".to_owned();
            return Err(GpuError::Refused { what, message }.into());
        }
        let quads = (layout.stride / 4) as u32;
        let (ids, first) = match add {
            None => (BufferName::Ids, 0),
            Some(Number::Position { first }) => (BufferName::PositionIds, first as u32),
            Some(Number::TokenType) => (BufferName::TokenTypes, 0),
        };
        for (index, part) in layout.parts.iter().enumerate() {
            self.push(
                Kernel {
                    source: Source::Embed,
                    storage: Some(layout.storage),
                    reduction: None,
                    constants: vec![
                        self.workgroup(),
                        Constant::U32("FIRST", first),
                        Constant::Bool("ADD", add.is_some()),
                    ],
                },
                vec![part.rows as u32, quads, part.first as u32, scale.to_bits()],
                vec![BufferName::Weight(table, index), ids, BufferName::Activation(x.id), BufferName::Step],
                self.per_token(quads.div_ceil(self.tuning.workgroup)),
            );
        }
        Ok(())
    }

    /// Elements of x's rows, `width` of them from `first` on, are written to y's from `to` on: of all rows, or of those of the
    /// tokens that are routed to the expert that runs.
    fn copy_columns(&mut self, [x, y]: [Tensor; 2], [first, to, width]: [usize; 3], routed: bool) {
        let constants = vec![self.workgroup(), Constant::Bool("ROUTED", routed)];
        self.push(
            Kernel { source: Source::Columns, storage: None, reduction: None, constants },
            vec![width as u32, stride(x.width) as u32, stride(y.width) as u32, first as u32, to as u32],
            vec![
                BufferName::Activation(x.id),
                BufferName::Activation(y.id),
                BufferName::Step,
                if routed { BufferName::Routes } else { BufferName::Step },
            ],
            self.per_token((width as u32).div_ceil(self.tuning.workgroup)),
        );
    }

    fn layer_norm_of(&mut self, x: Tensor, norm: &LayerNorm, last: bool) -> Tensor {
        let y = self.allocate(x.width, if last { Rows::One } else { x.rows });
        let kernel = Kernel {
            source: Source::LayerNorm,
            storage: None,
            reduction: Some(Reduction::Workgroup),
            constants: vec![
                self.workgroup(),
                Constant::U32("LANES", self.tuning.workgroup),
                Constant::Bool("LAST", last),
                Constant::Bool("BIAS", norm.bias.is_some()),
            ],
        };
        self.push(
            kernel,
            vec![x.width as u32, (stride(x.width) / 4) as u32, norm.eps.to_bits()],
            vec![
                BufferName::Activation(x.id),
                BufferName::Weight(norm.weight, 0),
                BufferName::Weight(norm.bias.unwrap_or(norm.weight), 0),
                BufferName::Activation(y.id),
                BufferName::Step,
            ],
            if y.rows == Rows::One { Grid::Fixed(1) } else { self.per_token(1) },
        );
        y
    }

    /// Changes each element of x.
    fn in_place(&mut self, x: Tensor, change: Change) {
        let rows = if x.rows == Rows::One { 1 } else { u32::MAX };
        let groups = (x.width as u32).div_ceil(self.tuning.workgroup);
        let (number, activation) = match change {
            Change::Cap(number) | Change::Scale(number) => (number, 0),
            Change::Activate(f) => (0.0, activation_number(f)),
        };
        let constants = vec![
            self.workgroup(),
            Constant::Bool("SOFTCAP", matches!(change, Change::Cap(_))),
            Constant::Bool("SCALE", matches!(change, Change::Scale(_))),
            Constant::U32("ACTIVATION", activation),
        ];
        self.push(
            Kernel { source: Source::InPlace, storage: None, reduction: None, constants },
            vec![x.width as u32, stride(x.width) as u32, rows, number.to_bits()],
            vec![BufferName::Activation(x.id), BufferName::Step],
            if self.one_row(x) { Grid::Fixed(groups) } else { self.per_token(groups) },
        );
    }

    fn norm(&mut self, x: Tensor, norm: &RmsNorm, last: bool, add_to: Option<Tensor>) -> Result<Tensor> {
        let y = match add_to {
            Some(y) => y,
            None => self.allocate(x.width, if last { Rows::One } else { x.rows }),
        };
        let quads = stride(x.width) / 4;
        let kernel = Kernel {
            source: Source::RmsNorm,
            storage: None,
            reduction: Some(Reduction::Workgroup),
            constants: vec![
                self.workgroup(),
                Constant::U32("LANES", self.tuning.workgroup),
                Constant::Bool("LAST", last),
                Constant::Bool("ADD", add_to.is_some()),
            ],
        };
        self.push(
            kernel,
            vec![x.width as u32, quads as u32, norm.eps.to_bits()],
            vec![
                BufferName::Activation(x.id),
                BufferName::Weight(norm.weight, 0),
                BufferName::Activation(y.id),
                BufferName::Step,
            ],
            if y.rows == Rows::One { Grid::Fixed(1) } else { self.per_token(1) },
        );
        Ok(y)
    }
}

impl Ops for Recorder<'_> {
    fn embed(&mut self, table: WeightId, width: usize, scale: f32) -> Result<Tensor> {
        let x = self.allocate(width, Rows::All);
        self.rows_of(table, x, scale, None)?;
        Ok(x)
    }

    fn add_rows(&mut self, x: Tensor, table: WeightId, by: Number) -> Result<Tensor> {
        self.rows_of(table, x, 1.0, Some(by))?;
        Ok(x)
    }

    fn features(&mut self, width: usize) -> Result<Tensor> {
        let x = self.allocate(width, Rows::All);
        self.features = Some(x);
        Ok(x)
    }

    fn unfold(&mut self, x: Tensor) -> Result<Tensor> {
        let y = self.allocate(3 * x.width, Rows::All);
        self.push(
            Kernel { source: Source::Unfold, storage: None, reduction: None, constants: vec![self.workgroup()] },
            vec![x.width as u32, stride(x.width) as u32, stride(y.width) as u32],
            vec![BufferName::Activation(x.id), BufferName::Activation(y.id), BufferName::Step],
            self.per_token((3 * x.width as u32).div_ceil(self.tuning.workgroup)),
        );
        Ok(y)
    }

    fn replace_first(&mut self, x: Tensor, row: WeightId) -> Result<Tensor> {
        let quads = (stride(x.width) / 4) as u32;
        self.push(
            Kernel { source: Source::ReplaceFirst, storage: None, reduction: None, constants: vec![self.workgroup()] },
            vec![quads],
            vec![BufferName::Weight(row, 0), BufferName::Activation(x.id)],
            Grid::Fixed(quads.div_ceil(self.tuning.workgroup)),
        );
        Ok(x)
    }

    fn pool(&mut self, x: Tensor, pool: Pool) -> Result<Tensor> {
        let y = self.allocate(x.width, Rows::One);
        let quads = (stride(x.width) / 4) as u32;
        let is = |name, kind| Constant::Bool(name, pool == kind);
        let constants = vec![self.workgroup(), is("MEAN", Pool::Mean), is("LAST", Pool::Last)];
        self.push(
            Kernel { source: Source::Pool, storage: None, reduction: None, constants },
            vec![quads],
            vec![BufferName::Activation(x.id), BufferName::Activation(y.id), BufferName::Step],
            Grid::Fixed(quads.div_ceil(self.tuning.workgroup)),
        );
        Ok(y)
    }

    fn rms_norm(&mut self, x: Tensor, norm: &RmsNorm) -> Result<Tensor> {
        self.norm(x, norm, false, None)
    }

    fn rms_norm_last(&mut self, x: Tensor, norm: &RmsNorm) -> Result<Tensor> {
        self.norm(x, norm, true, None)
    }

    fn add_rms_norm(&mut self, y: Tensor, x: Tensor, norm: &RmsNorm) -> Result<Tensor> {
        self.norm(x, norm, false, Some(y))
    }

    fn layer_norm(&mut self, x: Tensor, norm: &LayerNorm) -> Result<Tensor> {
        Ok(self.layer_norm_of(x, norm, false))
    }

    fn layer_norm_last(&mut self, x: Tensor, norm: &LayerNorm) -> Result<Tensor> {
        Ok(self.layer_norm_of(x, norm, true))
    }

    fn beside(&mut self, a: Tensor, b: Tensor) -> Result<Tensor> {
        let y = self.allocate(a.width + b.width, a.rows);
        self.copy_columns([a, y], [0, 0, a.width], false);
        self.copy_columns([b, y], [0, a.width, b.width], false);
        Ok(y)
    }

    fn columns(&mut self, x: Tensor, first: usize, width: usize) -> Result<Tensor> {
        let y = self.allocate(width, x.rows);
        self.copy_columns([x, y], [first, 0, width], false);
        Ok(y)
    }

    fn routed(&mut self, x: Tensor, first: usize, width: usize) -> Result<Tensor> {
        let y = self.allocate(width, x.rows);
        self.copy_columns([x, y], [first, 0, width], true);
        Ok(y)
    }

    fn add_routed(&mut self, y: Tensor, x: Tensor) -> Result<Tensor> {
        self.push(
            Kernel { source: Source::AddRouted, storage: None, reduction: None, constants: vec![self.workgroup()] },
            vec![x.width as u32, stride(x.width) as u32, stride(y.width) as u32],
            vec![BufferName::Activation(x.id), BufferName::Activation(y.id), BufferName::Step, BufferName::Routes],
            self.per_token((x.width as u32).div_ceil(self.tuning.workgroup)),
        );
        Ok(y)
    }

    fn linear(&mut self, x: Tensor, linear: &Linear) -> Result<Tensor> {
        self.product(x, linear, None)
    }

    fn add_linear(&mut self, y: Tensor, x: Tensor, linear: &Linear) -> Result<Tensor> {
        self.product(x, linear, Some(y))
    }

    fn gate(&mut self, x: Tensor, f: Activation) -> Result<Tensor> {
        let width = x.width / 2;
        let y = self.allocate(width, x.rows);
        self.push(
            Kernel {
                source: Source::Glu,
                storage: None,
                reduction: None,
                constants: vec![self.workgroup(), Constant::U32("ACTIVATION", activation_number(f))],
            },
            vec![width as u32, stride(x.width) as u32, stride(width) as u32],
            vec![BufferName::Activation(x.id), BufferName::Activation(y.id), BufferName::Step],
            self.per_token((width as u32).div_ceil(self.tuning.workgroup)),
        );
        Ok(y)
    }

    fn activate(&mut self, x: Tensor, f: Activation) -> Result<Tensor> {
        self.in_place(x, Change::Activate(f));
        Ok(x)
    }

    fn softcap(&mut self, x: Tensor, cap: f32) -> Result<Tensor> {
        self.in_place(x, Change::Cap(cap));
        Ok(x)
    }

    fn scale(&mut self, x: Tensor, by: f32) -> Result<Tensor> {
        self.in_place(x, Change::Scale(by));
        Ok(x)
    }

    fn qk_norm(&mut self, qkv: Tensor, norm: &QkNorm) -> Result<Tensor> {
        let QkNorm { q, k, heads, kv_heads, head_dim, each } = *norm;
        let [(q_groups, q_width), (k_groups, k_width)] =
            [heads, kv_heads].map(|heads| if each { (heads, head_dim) } else { (1, heads * head_dim) });
        self.push(
            Kernel {
                source: Source::QkNorm,
                storage: None,
                reduction: Some(Reduction::Workgroup),
                constants: vec![self.workgroup(), Constant::U32("LANES", self.tuning.workgroup)],
            },
            vec![
                q_width as u32,
                k_width as u32,
                q_groups as u32,
                stride(qkv.width) as u32,
                q.eps.to_bits(),
                k.eps.to_bits(),
            ],
            vec![BufferName::Activation(qkv.id), BufferName::Weight(q.weight, 0), BufferName::Weight(k.weight, 0)],
            self.per_token((q_groups + k_groups) as u32),
        );
        Ok(qkv)
    }

    fn qk_norm_attention(&mut self, qkv: Tensor, norm: &QkNorm, attention: &Attention) -> Result<Tensor> {
        // Software would compile the larger kernel for seconds, to save a dispatch that costs it next to nothing.
        if self.alone(attention) && self.tuning.splits.is_some() && norm.q.eps == norm.k.eps {
            return Ok(self.attend_alone(qkv, Some(norm), attention));
        }
        let qkv = self.qk_norm(qkv, norm)?;
        self.attention(qkv, attention)
    }

    fn remember(&mut self, kv: Tensor, attention: &Attention) -> Result<()> {
        self.append(kv, attention, 0);
        Ok(())
    }

    fn attention(&mut self, qkv: Tensor, attention: &Attention) -> Result<Tensor> {
        Ok(if self.alone(attention) {
            self.attend_alone(qkv, None, attention)
        } else {
            self.attend_together(qkv, attention)
        })
    }

    fn short_convolution(&mut self, bcx: Tensor, convolution: &ShortConvolution) -> Result<Tensor> {
        let ShortConvolution { layer, width, taps, weight, bias } = *convolution;
        let y = self.allocate(width, bcx.rows);
        let constants =
            vec![self.workgroup(), Constant::U32("TAPS", taps as u32), Constant::Bool("BIAS", bias.is_some())];
        self.push(
            Kernel { source: Source::ShortConvolution, storage: None, reduction: None, constants },
            vec![width as u32, stride(bcx.width) as u32, stride(width) as u32],
            vec![
                BufferName::Activation(bcx.id),
                BufferName::Weight(weight, 0),
                BufferName::Weight(bias.unwrap_or(weight), 0),
                BufferName::Keys(layer),
                BufferName::Values(layer),
                BufferName::Activation(y.id),
                BufferName::Step,
            ],
            self.per_token((width as u32 / 2).div_ceil(self.tuning.workgroup)),
        );
        Ok(y)
    }

    fn norm_linear(&mut self, x: Tensor, norm: &RmsNorm, linear: &Linear) -> Result<Tensor> {
        if self.one_row(x) {
            return self.vector_product(x, linear, VecArgs { norm: Some(norm), ..VecArgs::default() });
        }
        let normed = self.rms_norm(x, norm)?;
        self.linear(normed, linear)
    }

    fn activated_linear(&mut self, x: Tensor, linear: &Linear, f: Activation) -> Result<Tensor> {
        if self.one_row(x) {
            return self.vector_product(x, linear, VecArgs { activate: Some(f), ..VecArgs::default() });
        }
        let y = self.linear(x, linear)?;
        self.activate(y, f)
    }

    fn gated_linear(&mut self, x: Tensor, gate_up: &Linear, f: Activation) -> Result<Tensor> {
        if self.one_row(x) && self.layout(gate_up.weight)?.parts.len() == 1 {
            return self.vector_product(x, gate_up, VecArgs { gate: Some(f), ..VecArgs::default() });
        }
        let both = self.linear(x, gate_up)?;
        self.gate(both, f)
    }

    fn norm_gated_linear(&mut self, x: Tensor, norm: &RmsNorm, gate_up: &Linear, f: Activation) -> Result<Tensor> {
        // Gates and ups must lie in one buffer for the fused kernel.
        if self.one_row(x) && self.layout(gate_up.weight)?.parts.len() == 1 {
            return self.vector_product(x, gate_up, VecArgs { norm: Some(norm), gate: Some(f), ..VecArgs::default() });
        }
        let both = self.norm_linear(x, norm, gate_up)?;
        self.gate(both, f)
    }
}
