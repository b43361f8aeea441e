//! The GPU's execution of the ops: a block becomes a list of dispatches that name their buffers.
//!
//! Nothing here touches a device, so that what a block costs can be counted, and the kernels it needs compiled, before
//! any weight is there. [`super::program`] ties the names to buffers.

use std::collections::HashSet;

use super::device::GpuError;
use super::dispatch::{Activations, BufferName, Dispatch, Grid, Shape, stride};
use super::kernel::{Constant, Kernel, MANY_ROWS, Reduction, Source, Storage, Tiles, Tuning, Vector};
use crate::Result;
use crate::config::Activation;
use crate::tensor::ops::{
    Attention, AttentionKind, LayerNorm, Linear, Number, Ops, Pool, QkNorm, Relative, RmsNorm, Rotary, Rows, Tensor,
    WeightId,
};
use crate::weights::layout::Layout;

/// Logits that one workgroup of argmax looks through; each leaves a candidate of 8 bytes.
pub const ARGMAX_SPAN: usize = 2048;

/// Query rows that a workgroup of attention takes.
const ATTENTION_ROWS: u32 = 4;

/// Workgroups along a dimension that every device takes.
const MOST_GROUPS: u32 = 65535;

/// The numbers by which `activations.wgsl` knows the activations.
fn activation_number(f: Activation) -> u32 {
    match f {
        Activation::Silu => 0,
        Activation::GeluTanh => 1,
        Activation::Gelu => 2,
        Activation::QuickGelu => 3,
        Activation::Relu => 4,
        Activation::Tanh => 5,
    }
}

/// The numbers by which `attention.wgsl` knows the kinds.
fn kind_number(kind: AttentionKind) -> u32 {
    match kind {
        AttentionKind::Causal => 0,
        AttentionKind::Bidirectional => 1,
        AttentionKind::Cross => 2,
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

/// What is fused into a matrix-vector product.
#[derive(Default)]
struct VecArgs<'a> {
    norm: Option<&'a RmsNorm>,
    gate: Option<Activation>,
    activate: Option<Activation>,
    add_to: Option<Tensor>,
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

/// A row of a weight as the products know it.
struct Row {
    /// Pieces of it.
    pieces: u32,
    /// From one to the next.
    line: u32,
    /// Of integers: words of those, pieces that share a scale, and scales.
    words: u32,
    group: u32,
    groups: u32,
    zeros: bool,
}

impl Row {
    /// In pieces of so many elements.
    fn of(layout: &Layout, piece: usize) -> Row {
        match layout.grouped {
            Some(grouped) => Row {
                pieces: (grouped.cols / piece) as u32,
                line: layout.stride as u32,
                words: grouped.integer_words() as u32,
                group: (grouped.group / piece) as u32,
                groups: grouped.groups() as u32,
                zeros: grouped.zeros,
            },
            None => {
                let pieces = (layout.stride / piece) as u32;
                Row { pieces, line: pieces, words: 0, group: 1, groups: 0, zeros: false }
            }
        }
    }
}

/// Which of its forms attention takes.
struct Form<'a> {
    source: Source,
    split: bool,
    norm: Option<&'a QkNorm>,
}

/// The norm of queries and keys as the kernels of one token know it.
fn norm_constants(norm: Option<&QkNorm>) -> [Constant; 2] {
    let kind = norm.map_or(0, |norm| if norm.each { 1 } else { 2 });
    let eps = norm.map_or(0, |norm| norm.q.eps.to_bits());
    [Constant::U32("QK_NORM", kind), Constant::U32("QK_EPS", eps)]
}

/// How the kernels that know distances find a distance's bucket.
fn relative_constants(attention: &Attention, Relative { buckets, .. }: Relative) -> [Constant; 4] {
    [
        Constant::Bool("SIDES", attention.kind == AttentionKind::Bidirectional),
        Constant::U32("BUCKETS", buckets.count as u32),
        Constant::U32("EXACT", buckets.exact() as u32),
        Constant::U32("BUCKET_FACTOR", buckets.factor().to_bits()),
    ]
}

/// How many elements of a head are rotated.
fn rotated(attention: &Attention) -> u32 {
    attention.rotary.map_or(0, |rotary| rotary.dim as u32)
}

/// Keys that a token attends to at most.
fn window(attention: &Attention) -> u32 {
    attention.window.and_then(|window| u32::try_from(window).ok()).unwrap_or(u32::MAX)
}

/// Where a layer's angles lie in [`BufferName::Step`], in pairs of cosine and sine.
struct Angles {
    /// Pairs of a token, all tables together.
    pairs: u32,
    /// The first of this layer's.
    first: u32,
}

impl Angles {
    fn of(attention: &Attention) -> Angles {
        let pairs = |rotary: Rotary, tables: usize| (tables * rotary.dim / 2) as u32;
        attention.rotary.map_or(Angles { pairs: 0, first: 0 }, |rotary| Angles {
            pairs: pairs(rotary, rotary.tables),
            first: pairs(rotary, rotary.table),
        })
    }
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

    /// The matrix-vector product, with what can be fused into it.
    fn vector_product(&mut self, x: Tensor, linear: &Linear, args: VecArgs<'_>) -> Result<Tensor> {
        let layout = self.layout(linear.weight)?;
        let outputs = if args.gate.is_some() { linear.outputs / 2 } else { linear.outputs };
        let y = match args.add_to {
            Some(y) => y,
            None => self.allocate(outputs, x.rows),
        };
        let Vector { workgroup, lanes, reduction, rows: together, octets } = self.tuning.vector;
        let (source, storage, piece) = match layout.storage {
            // Words of two, whatever reads them.
            Storage::F16 | Storage::F16Packed if octets && layout.stride.is_multiple_of(8) => {
                (Source::LinearVecOctets, Storage::F16Packed, 8)
            }
            Storage::Bf16 if octets && layout.stride.is_multiple_of(8) => (Source::LinearVecOctets, Storage::Bf16, 8),
            Storage::Int4 | Storage::Int8 => (Source::LinearVecOctets, layout.storage, 8),
            storage => (Source::LinearVec, storage, 4),
        };
        let row = Row::of(layout, piece);
        let outputs_together = if args.gate.is_some() { together / 2 } else { together };
        for (index, part) in layout.parts.iter().enumerate() {
            let rows = if args.gate.is_some() { outputs } else { part.rows };
            let mut workgroup = workgroup;
            while (rows as u32).div_ceil(workgroup / lanes * outputs_together) > MOST_GROUPS {
                workgroup *= 2;
            }
            let kernel = Kernel {
                source,
                storage: Some(storage),
                reduction: Some(reduction),
                constants: vec![
                    Constant::U32("WORKGROUP", workgroup),
                    Constant::U32("LANES", lanes),
                    Constant::U32("ROWS", together),
                    Constant::Bool("NORM", args.norm.is_some()),
                    Constant::Bool("GATED", args.gate.is_some()),
                    Constant::Bool("ACTIVATED", args.activate.is_some()),
                    Constant::U32("ACTIVATION", args.gate.or(args.activate).map_or(0, activation_number)),
                    Constant::Bool("BIAS", linear.bias.is_some()),
                    Constant::Bool("ADD", args.add_to.is_some()),
                    Constant::Bool("ZEROS", row.zeros),
                ],
            };
            let unused = BufferName::Activation(x.id);
            self.push(
                kernel,
                vec![
                    rows as u32,
                    row.pieces,
                    part.first as u32,
                    linear.inputs as u32,
                    args.norm.map_or(0, |n| n.eps.to_bits()),
                    row.line,
                    row.words,
                    row.group,
                    row.groups,
                ],
                vec![
                    BufferName::Weight(linear.weight, index),
                    BufferName::Activation(x.id),
                    BufferName::Activation(y.id),
                    args.norm.map_or(unused, |n| BufferName::Weight(n.weight, 0)),
                    linear.bias.map_or(unused, |b| BufferName::Weight(b, 0)),
                ],
                Grid::Fixed((rows as u32).div_ceil(workgroup / lanes * outputs_together)),
            );
        }
        Ok(y)
    }

    fn matrix_product(&mut self, x: Tensor, linear: &Linear, add_to: Option<Tensor>) -> Result<Tensor> {
        let layout = self.layout(linear.weight)?;
        let row = Row::of(layout, 4);
        let y = match add_to {
            Some(y) => y,
            None => self.allocate(linear.outputs, x.rows),
        };
        for (index, part) in layout.parts.iter().enumerate() {
            let rows = part.rows as u32;
            let (source, mut constants, grid) =
                match if part.rows < MANY_ROWS { self.tuning.small_tiles } else { self.tuning.tiles } {
                    Tiles::Shared { m, n, k, micro_m, micro_n } => (
                        Source::LinearMat,
                        vec![
                            Constant::U32("TILE_M", m),
                            Constant::U32("TILE_N", n),
                            Constant::U32("TILE_K", k),
                            Constant::U32("MICRO_M", micro_m),
                            Constant::U32("MICRO_N", micro_n),
                        ],
                        Grid::PerTokens { x: rows.div_ceil(n), tokens: m },
                    ),
                    Tiles::Direct => (
                        Source::LinearMatDirect,
                        vec![self.workgroup()],
                        Grid::PerTokens { x: rows.div_ceil(8 * self.tuning.workgroup), tokens: 8 },
                    ),
                };
            constants.push(Constant::Bool("BIAS", linear.bias.is_some()));
            constants.push(Constant::Bool("ADD", add_to.is_some()));
            constants.push(Constant::Bool("ZEROS", row.zeros));
            self.push(
                Kernel { source, storage: Some(layout.storage), reduction: None, constants },
                vec![
                    rows,
                    row.pieces,
                    part.first as u32,
                    stride(y.width) as u32,
                    row.line,
                    row.words,
                    row.group,
                    row.groups,
                ],
                vec![
                    BufferName::Weight(linear.weight, index),
                    BufferName::Activation(x.id),
                    BufferName::Activation(y.id),
                    linear.bias.map_or(BufferName::Activation(x.id), |b| BufferName::Weight(b, 0)),
                    BufferName::Step,
                ],
                grid,
            );
        }
        Ok(y)
    }

    fn product(&mut self, x: Tensor, linear: &Linear, add_to: Option<Tensor>) -> Result<Tensor> {
        if self.one_row(x) {
            self.vector_product(x, linear, VecArgs { add_to, ..VecArgs::default() })
        } else {
            self.matrix_product(x, linear, add_to)
        }
    }

    fn attend(&mut self, form: Form<'_>, qkv: Tensor, y: Tensor, attention: &Attention, grid: Grid) {
        let Form { source, split, norm } = form;
        let Attention { layer, heads, kv_heads, head_dim, scale, softcap, .. } = *attention;
        let workgroup = self.tuning.attention.max((head_dim as u32 / 4).next_power_of_two());
        let mut constants = vec![
            Constant::U32("WORKGROUP", workgroup),
            Constant::U32("HEAD_DIM", head_dim as u32),
            Constant::U32("ROTARY", rotated(attention)),
            Constant::Bool("SOFTCAP", softcap.is_some()),
            Constant::U32("KIND", kind_number(attention.kind)),
            Constant::Bool("SPLIT", split),
        ];
        constants.extend(norm_constants(norm));
        let mut buffers = vec![
            BufferName::Activation(qkv.id),
            BufferName::Keys(layer),
            BufferName::Values(layer),
            BufferName::Activation(y.id),
            BufferName::Step,
        ];
        match (source, attention.relative) {
            (Source::Attention, _) => {}
            (Source::AttentionRelative, Some(relative)) => {
                constants.extend(relative_constants(attention, relative));
                buffers.push(BufferName::Weight(relative.table, 0));
            }
            _ => {
                let unused = BufferName::Activation(qkv.id);
                let norms = norm.map_or([unused; 2], |norm| [norm.q, norm.k].map(|n| BufferName::Weight(n.weight, 0)));
                buffers.extend(norms);
            }
        }
        self.push(
            Kernel { source, storage: None, reduction: None, constants },
            vec![
                heads as u32,
                kv_heads as u32,
                stride(qkv.width) as u32,
                stride(y.width) as u32,
                scale.to_bits(),
                window(attention),
                softcap.unwrap_or_default().to_bits(),
                Angles::of(attention).first,
            ],
            buffers,
            grid,
        );
    }

    /// What shows the weights of an attention whose queries have been rotated and whose cache has been written.
    fn show(&self, qkv: Tensor, attention: &Attention) -> Dispatch {
        let Attention { layer, heads, kv_heads, head_dim, scale, softcap, .. } = *attention;
        let mut constants = vec![
            self.workgroup(),
            Constant::U32("HEAD_DIM", head_dim as u32),
            Constant::Bool("SOFTCAP", softcap.is_some()),
            Constant::U32("KIND", kind_number(attention.kind)),
        ];
        let mut buffers = vec![
            BufferName::Activation(qkv.id),
            BufferName::Keys(layer),
            BufferName::Values(layer),
            BufferName::AttentionWeights,
            BufferName::Step,
        ];
        let source = match attention.relative {
            None => Source::AttentionWeights,
            Some(relative) => {
                constants.extend(relative_constants(attention, relative));
                buffers.push(BufferName::Weight(relative.table, 0));
                Source::AttentionWeightsRelative
            }
        };
        let params = vec![
            heads as u32,
            kv_heads as u32,
            stride(qkv.width) as u32,
            scale.to_bits(),
            window(attention),
            softcap.unwrap_or_default().to_bits(),
        ];
        let kernel = Kernel { source, storage: None, reduction: None, constants };
        Dispatch { kernel, params, buffers, grid: self.per_token(heads as u32) }
    }

    /// Rotates the queries, of which there are so many heads, in place and the keys on their way into the cache.
    fn append(&mut self, qkv: Tensor, attention: &Attention, heads: usize) {
        let Attention { layer, kv_heads, head_dim, .. } = *attention;
        let angles = Angles::of(attention);
        let quarters = ((heads + 2 * kv_heads) * head_dim / 4) as u32;
        self.push(
            Kernel {
                source: Source::RopeAppend,
                storage: None,
                reduction: None,
                constants: vec![
                    self.workgroup(),
                    Constant::U32("HEAD_DIM", head_dim as u32),
                    Constant::U32("ROTARY", rotated(attention)),
                ],
            },
            vec![heads as u32, kv_heads as u32, stride(qkv.width) as u32, angles.pairs, angles.first],
            vec![BufferName::Activation(qkv.id), BufferName::Keys(layer), BufferName::Values(layer), BufferName::Step],
            self.per_token(quarters.div_ceil(self.tuning.workgroup)),
        );
    }

    /// Whether one token runs, and its kernel can rotate: whole quads, each with its partners half of what is rotated away.
    fn alone(&self, attention: &Attention) -> bool {
        let causal = attention.kind == AttentionKind::Causal;
        self.mode == Mode::Decode && causal && attention.relative.is_none() && rotated(attention).is_multiple_of(8)
    }

    /// One token's attention, which normalises, rotates and appends too: by a workgroup for each four query heads that share a key
    /// head, or by several for their shares of the keys, put together by a second kernel.
    fn attend_alone(&mut self, qkv: Tensor, norm: Option<&QkNorm>, attention: &Attention) -> Tensor {
        let Attention { heads, kv_heads, head_dim, .. } = *attention;
        let (x, y) = (kv_heads as u32, ((heads / kv_heads) as u32).div_ceil(ATTENTION_ROWS));
        let attended = self.allocate(heads * head_dim, qkv.rows);
        let Some(splits) = self.tuning.splits else {
            let grid = Grid::PerRows { x, rows: y, per_group: 1 };
            let form = Form { source: Source::AttentionAppend, split: false, norm };
            self.attend(form, qkv, attended, attention, grid);
            return attended;
        };
        let (span, most) = (splits.span, splits.most(x * y));
        let parts = self.allocate(heads * most as usize * (head_dim + 4), Rows::One);
        let window = window(attention);
        let form = Form { source: Source::AttentionSplit, split: true, norm };
        self.attend(form, qkv, parts, attention, Grid::Split { x, y, span, most, window });
        let workgroup = 256.max((head_dim as u32 / 4).next_power_of_two());
        let mut constants = vec![
            Constant::U32("WORKGROUP", workgroup),
            Constant::U32("HEAD_DIM", head_dim as u32),
            Constant::U32("ROTARY", rotated(attention)),
        ];
        constants.extend(norm_constants(norm));
        self.push(
            Kernel { source: Source::AttentionMerge, storage: None, reduction: None, constants },
            vec![heads as u32, kv_heads as u32, span, most, window, Angles::of(attention).first],
            vec![
                BufferName::Activation(parts.id),
                BufferName::Activation(attended.id),
                BufferName::Activation(qkv.id),
                BufferName::Keys(attention.layer),
                BufferName::Values(attention.layer),
                BufferName::Step,
                norm.map_or(BufferName::Activation(qkv.id), |norm| BufferName::Weight(norm.k.weight, 0)),
            ],
            Grid::Fixed(heads as u32),
        );
        attended
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
        let Attention { heads, kv_heads, head_dim, .. } = *attention;
        if self.alone(attention) {
            return Ok(self.attend_alone(qkv, None, attention));
        }
        if attention.kind != AttentionKind::Cross {
            self.append(qkv, attention, heads);
        }
        let y = self.allocate(heads * head_dim, qkv.rows);
        let grid = Grid::PerRows { x: kv_heads as u32, rows: (heads / kv_heads) as u32, per_group: ATTENTION_ROWS };
        let source = if attention.relative.is_some() { Source::AttentionRelative } else { Source::Attention };
        self.attend(Form { source, split: false, norm: None }, qkv, y, attention, grid);
        self.shown.push((attention.kind, self.show(qkv, attention)));
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
