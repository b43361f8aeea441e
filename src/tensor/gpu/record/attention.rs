//! Attention: its forms, for one token and for many.

use super::{Mode, Recorder};
use crate::tensor::gpu::dispatch::{BufferName, Dispatch, Grid, stride};
use crate::tensor::gpu::kernel::{Constant, Kernel, Source};
use crate::tensor::ops::{Attention, AttentionKind, QkNorm, Relative, Rotary, Rows, Tensor};

/// Query rows that a workgroup of attention takes.
const ATTENTION_ROWS: u32 = 4;

/// The numbers by which `attention.wgsl` knows the kinds.
fn kind_number(kind: AttentionKind) -> u32 {
    match kind {
        AttentionKind::Causal => 0,
        AttentionKind::Bidirectional => 1,
        AttentionKind::Cross => 2,
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

/// Whether an element is rotated with its neighbour.
fn neighbours(attention: &Attention) -> bool {
    attention.rotary.is_some_and(|rotary| rotary.neighbours)
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

impl Recorder<'_> {
    fn attend(&mut self, form: Form<'_>, qkv: Tensor, y: Tensor, attention: &Attention, grid: Grid) {
        let Form { source, split, norm } = form;
        let Attention { layer, heads, kv_heads, head_dim, scale, softcap, .. } = *attention;
        let workgroup = self.tuning.attention.max((head_dim as u32 / 4).next_power_of_two());
        let mut constants = vec![
            Constant::U32("WORKGROUP", workgroup),
            Constant::U32("HEAD_DIM", head_dim as u32),
            Constant::U32("ROTARY", rotated(attention)),
            Constant::Bool("NEIGHBOURS", neighbours(attention)),
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
    pub(super) fn append(&mut self, qkv: Tensor, attention: &Attention, heads: usize) {
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
                    Constant::Bool("NEIGHBOURS", neighbours(attention)),
                ],
            },
            vec![heads as u32, kv_heads as u32, stride(qkv.width) as u32, angles.pairs, angles.first],
            vec![BufferName::Activation(qkv.id), BufferName::Keys(layer), BufferName::Values(layer), BufferName::Step],
            self.per_token(quarters.div_ceil(self.tuning.workgroup)),
        );
    }

    /// Whether one token runs, and its kernel can rotate: whole quads, each with its partners half of what is rotated away.
    pub(super) fn alone(&self, attention: &Attention) -> bool {
        let causal = attention.kind == AttentionKind::Causal;
        self.mode == Mode::Decode && causal && attention.relative.is_none() && rotated(attention).is_multiple_of(8)
    }

    /// One token's attention, which normalises, rotates and appends too: by a workgroup for each four query heads that share a key
    /// head, or by several for their shares of the keys, put together by a second kernel.
    pub(super) fn attend_alone(&mut self, qkv: Tensor, norm: Option<&QkNorm>, attention: &Attention) -> Tensor {
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
            Constant::Bool("NEIGHBOURS", neighbours(attention)),
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

    /// Attention of all tokens that run, which rotates and appends before.
    pub(super) fn attend_together(&mut self, qkv: Tensor, attention: &Attention) -> Tensor {
        let Attention { heads, kv_heads, head_dim, .. } = *attention;
        if attention.kind != AttentionKind::Cross {
            self.append(qkv, attention, heads);
        }
        let y = self.allocate(heads * head_dim, qkv.rows);
        let grid = Grid::PerRows { x: kv_heads as u32, rows: (heads / kv_heads) as u32, per_group: ATTENTION_ROWS };
        let source = if attention.relative.is_some() { Source::AttentionRelative } else { Source::Attention };
        self.attend(Form { source, split: false, norm: None }, qkv, y, attention, grid);
        self.shown.push((attention.kind, self.show(qkv, attention)));
        y
    }
}
