//! Kernels by name: a WGSL file of `shaders/`, the preludes it is compiled with, and its constants.

use std::fmt::Write;

use super::device::Capabilities;
use crate::tensor::Integers;

/// How a weight's elements lie in device memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Storage {
    /// float32
    F32,
    /// float16, read as such; needs `shader-f16`
    F16,
    /// float16, two to a word
    F16Packed,
    /// bfloat16, two to a word
    Bf16,
    /// Four-bit integers in lines of words ([`Grouped`](crate::tensor::Grouped))
    Int4,
    /// The same of eight bits
    Int8,
}

impl From<Integers> for Storage {
    fn from(integers: Integers) -> Storage {
        match integers {
            Integers::Int4 => Storage::Int4,
            Integers::Int8 => Storage::Int8,
        }
    }
}

impl Storage {
    /// Bytes one element takes; of integers, a word of theirs.
    pub const fn size(self) -> usize {
        match self {
            Storage::F32 | Storage::Int4 | Storage::Int8 => 4,
            Storage::F16 | Storage::F16Packed | Storage::Bf16 => 2,
        }
    }

    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Storage::F32 => "float32",
            Storage::F16 => "float16 (shader-f16)",
            Storage::F16Packed => "float16 (packed)",
            Storage::Bf16 => "bfloat16 (packed)",
            Storage::Int4 => "int4",
            Storage::Int8 => "int8",
        }
    }

    /// Whether they are integers, which share scales.
    pub const fn is_grouped(self) -> bool {
        matches!(self, Storage::Int4 | Storage::Int8)
    }

    const fn prelude(self) -> &'static str {
        match self {
            Storage::F32 => include_str!("../../../shaders/weights_f32.wgsl"),
            Storage::F16 => include_str!("../../../shaders/weights_f16.wgsl"),
            Storage::F16Packed => include_str!("../../../shaders/weights_f16_packed.wgsl"),
            Storage::Bf16 => include_str!("../../../shaders/weights_bf16.wgsl"),
            Storage::Int4 => include_str!("../../../shaders/weights_int4.wgsl"),
            Storage::Int8 => include_str!("../../../shaders/weights_int8.wgsl"),
        }
    }
}

/// A constant that a kernel is compiled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Constant {
    /// `const name: u32`
    U32(&'static str, u32),
    /// `const name: bool`
    Bool(&'static str, bool),
}

/// The WGSL files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Source {
    AddRouted,
    Argmax,
    Attention,
    AttentionAppend,
    AttentionRelative,
    AttentionSplit,
    AttentionMerge,
    AttentionWeights,
    AttentionWeightsRelative,
    Cast,
    Columns,
    Embed,
    Glu,
    InPlace,
    LayerNorm,
    LinearMat,
    LinearMatDirect,
    LinearVec,
    LinearVecOctets,
    Pool,
    QkNorm,
    ReplaceFirst,
    RmsNorm,
    RopeAppend,
    ShortConvolution,
    Unfold,
}

impl Source {
    /// The file's name without its ending.
    pub const fn name(self) -> &'static str {
        match self {
            Source::AddRouted => "add_routed",
            Source::Argmax => "argmax",
            Source::Attention => "attention",
            Source::AttentionAppend => "attention_append",
            Source::AttentionRelative => "attention_relative",
            Source::AttentionSplit => "attention_split",
            Source::AttentionMerge => "attention_merge",
            Source::AttentionWeights => "attention_weights",
            Source::AttentionWeightsRelative => "attention_weights_relative",
            Source::Cast => "cast",
            Source::Columns => "columns",
            Source::Embed => "embed",
            Source::Glu => "glu",
            Source::LayerNorm => "layer_norm",
            Source::LinearMat => "linear_mat",
            Source::LinearMatDirect => "linear_mat_direct",
            Source::LinearVec => "linear_vec",
            Source::LinearVecOctets => "linear_vec_octets",
            Source::Pool => "pool",
            Source::QkNorm => "qk_norm",
            Source::ReplaceFirst => "replace_first",
            Source::RmsNorm => "rms_norm",
            Source::RopeAppend => "rope_append",
            Source::ShortConvolution => "short_convolution",
            Source::Unfold => "unfold",
            Source::InPlace => "in_place",
        }
    }

    const fn body(self) -> &'static str {
        match self {
            Source::AddRouted => include_str!("../../../shaders/add_routed.wgsl"),
            Source::Argmax => include_str!("../../../shaders/argmax.wgsl"),
            Source::Attention | Source::AttentionAppend | Source::AttentionRelative | Source::AttentionSplit => {
                include_str!("../../../shaders/attention.wgsl")
            }
            Source::AttentionMerge => include_str!("../../../shaders/attention_merge.wgsl"),
            Source::AttentionWeights | Source::AttentionWeightsRelative => {
                include_str!("../../../shaders/attention_weights.wgsl")
            }
            Source::Cast => include_str!("../../../shaders/cast.wgsl"),
            Source::Columns => include_str!("../../../shaders/columns.wgsl"),
            Source::Embed => include_str!("../../../shaders/embed.wgsl"),
            Source::Glu => include_str!("../../../shaders/glu.wgsl"),
            Source::LayerNorm => include_str!("../../../shaders/layer_norm.wgsl"),
            Source::LinearMat => include_str!("../../../shaders/linear_mat.wgsl"),
            Source::LinearMatDirect => include_str!("../../../shaders/linear_mat_direct.wgsl"),
            Source::LinearVec | Source::LinearVecOctets => include_str!("../../../shaders/linear_vec.wgsl"),
            Source::Pool => include_str!("../../../shaders/pool.wgsl"),
            Source::QkNorm => include_str!("../../../shaders/qk_norm.wgsl"),
            Source::ReplaceFirst => include_str!("../../../shaders/replace_first.wgsl"),
            Source::RmsNorm => include_str!("../../../shaders/rms_norm.wgsl"),
            Source::RopeAppend => include_str!("../../../shaders/rope_append.wgsl"),
            Source::ShortConvolution => include_str!("../../../shaders/short_convolution.wgsl"),
            Source::Unfold => include_str!("../../../shaders/unfold.wgsl"),
            Source::InPlace => include_str!("../../../shaders/in_place.wgsl"),
        }
    }

    const fn reads_step(self) -> bool {
        !matches!(
            self,
            Source::Argmax
                | Source::Cast
                | Source::LinearVec
                | Source::LinearVecOctets
                | Source::QkNorm
                | Source::ReplaceFirst
        )
    }

    const fn packs_halves(self) -> bool {
        matches!(self, Source::RopeAppend | Source::ShortConvolution) || self.rotates()
    }

    const fn routes(self) -> bool {
        matches!(self, Source::AddRouted | Source::Columns)
    }

    const fn rotates(self) -> bool {
        matches!(self, Source::AttentionAppend | Source::AttentionSplit | Source::AttentionMerge)
    }

    /// What this form has of its own before the body that it shares with others, where weights are integers or aren't.
    const fn form(self, grouped: bool) -> &'static [&'static str] {
        match self {
            Source::Attention => &[
                include_str!("../../../shaders/cache_read.wgsl"),
                include_str!("../../../shaders/tokens_many.wgsl"),
                include_str!("../../../shaders/bias_none.wgsl"),
            ],
            Source::AttentionRelative => &[
                include_str!("../../../shaders/cache_read.wgsl"),
                include_str!("../../../shaders/tokens_many.wgsl"),
                include_str!("../../../shaders/bias_relative.wgsl"),
            ],
            Source::AttentionAppend => &[
                include_str!("../../../shaders/cache_write.wgsl"),
                include_str!("../../../shaders/tokens_one.wgsl"),
                include_str!("../../../shaders/bias_none.wgsl"),
            ],
            Source::AttentionSplit => &[
                include_str!("../../../shaders/cache_read.wgsl"),
                include_str!("../../../shaders/tokens_one.wgsl"),
                include_str!("../../../shaders/bias_none.wgsl"),
            ],
            Source::AttentionWeights => {
                &[include_str!("../../../shaders/cache_read.wgsl"), include_str!("../../../shaders/bias_none.wgsl")]
            }
            Source::AttentionWeightsRelative => {
                &[include_str!("../../../shaders/cache_read.wgsl"), include_str!("../../../shaders/bias_relative.wgsl")]
            }
            Source::LinearMat | Source::LinearMatDirect if grouped => &[
                include_str!("../../../shaders/linear_mat_io.wgsl"),
                include_str!("../../../shaders/group.wgsl"),
                include_str!("../../../shaders/quads_grouped.wgsl"),
            ],
            Source::LinearMat | Source::LinearMatDirect => &[
                include_str!("../../../shaders/linear_mat_io.wgsl"),
                include_str!("../../../shaders/quads_float.wgsl"),
            ],
            Source::LinearVec => &[include_str!("../../../shaders/pieces_quad.wgsl")],
            Source::LinearVecOctets if grouped => &[
                include_str!("../../../shaders/values_octet.wgsl"),
                include_str!("../../../shaders/group.wgsl"),
                include_str!("../../../shaders/pieces_grouped.wgsl"),
            ],
            Source::LinearVecOctets => &[
                include_str!("../../../shaders/values_octet.wgsl"),
                include_str!("../../../shaders/pieces_octet.wgsl"),
            ],
            _ => &[],
        }
    }

    const fn activates(self) -> bool {
        matches!(self, Source::InPlace | Source::Glu | Source::LinearVec | Source::LinearVecOctets)
    }
}

/// How invocations that share a row sum what each has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// Subgroup shuffles: the lanes are at most the smallest subgroup.
    Subgroup,
    /// Workgroup memory.
    Workgroup,
}

/// One compiled form of a kernel; equal kernels share a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// Which file.
    pub source: Source,
    /// How the weight that it reads lies, where it reads one.
    pub storage: Option<Storage>,
    /// How it sums over lanes, where it does.
    pub reduction: Option<Reduction>,
    /// Its constants.
    pub constants: Vec<Constant>,
}

impl Kernel {
    /// The whole WGSL: directives, constants, preludes, body.
    pub fn wgsl(&self) -> String {
        let mut text = String::new();
        if self.storage == Some(Storage::F16) {
            text.push_str("enable f16;\n");
        }
        if self.reduction == Some(Reduction::Subgroup) {
            text.push_str("enable subgroups;\n");
        }
        for constant in &self.constants {
            // Writing to a String can't fail.
            let _ = match constant {
                Constant::U32(name, value) => writeln!(text, "const {name}: u32 = {value}u;"),
                Constant::Bool(name, value) => writeln!(text, "const {name}: bool = {value};"),
            };
        }
        if let Some(storage) = self.storage {
            text.push_str(storage.prelude());
        }
        match self.reduction {
            Some(Reduction::Subgroup) => text.push_str(include_str!("../../../shaders/sum_subgroup.wgsl")),
            Some(Reduction::Workgroup) => text.push_str(include_str!("../../../shaders/sum_workgroup.wgsl")),
            None => {}
        }
        if self.source.packs_halves() {
            text.push_str(include_str!("../../../shaders/half.wgsl"));
        }
        if self.source.activates() {
            text.push_str(include_str!("../../../shaders/activations.wgsl"));
        }
        if self.source.reads_step() {
            text.push_str(include_str!("../../../shaders/step.wgsl"));
        }
        if self.source.routes() {
            text.push_str(include_str!("../../../shaders/route.wgsl"));
        }
        if self.source.rotates() {
            text.push_str(include_str!("../../../shaders/rotate.wgsl"));
        }
        let grouped = self.storage.is_some_and(Storage::is_grouped);
        self.source.form(grouped).iter().for_each(|prelude| text.push_str(prelude));
        text.push_str(self.source.body());
        text
    }
}

/// How the matrix product is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tiles {
    /// Tiles of `m` tokens, `n` outputs and `k` quads of the common dimension go through workgroup memory.
    Shared {
        /// Tokens.
        m: u32,
        /// Outputs.
        n: u32,
        /// Quads.
        k: u32,
        /// Quads of tokens that an invocation takes.
        micro_m: u32,
        /// Quads of outputs that an invocation takes.
        micro_n: u32,
    },
    /// Each invocation takes 8 tokens and 8 outputs straight from memory.
    Direct,
}

/// How one token's attention is shared out over workgroups, so that long contexts keep the device busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Splits {
    /// Keys for which there is a workgroup more.
    pub span: u32,
    /// Workgroups at most, over all key heads.
    pub groups: u32,
}

impl Splits {
    /// Splits at most of a model with so many workgroups before they are split.
    pub fn most(self, unsplit: u32) -> u32 {
        (self.groups / unsplit).clamp(1, 64)
    }
}

/// Rows of a weight that fill a device with [`Tuning::tiles`].
pub const MANY_ROWS: usize = 6144;

/// Sizes of workgroups and tiles for a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tuning {
    /// Invocations a workgroup of most kernels.
    pub workgroup: u32,
    /// How the matrix-vector product is cut.
    pub vector: Vector,
    /// The matrix product, where the weight has [`MANY_ROWS`].
    pub tiles: Tiles,
    /// … and where it has fewer: more workgroups then count for more than what each reads twice.
    pub small_tiles: Tiles,
    /// Invocations a workgroup of attention.
    pub attention: u32,
    /// Whether one token's attention is shared out.
    pub splits: Option<Splits>,
}

/// How the matrix-vector product is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vector {
    /// Invocations a workgroup.
    pub workgroup: u32,
    /// Invocations that share rows.
    pub lanes: u32,
    /// How they sum.
    pub reduction: Reduction,
    /// Rows that they share: 2 or 4; where nothing is gated, 1 too.
    pub rows: u32,
    /// Whether they read two quads at a time where rows allow it.
    pub octets: bool,
}

impl Tuning {
    /// What suits a device with these capabilities.
    pub fn of(capabilities: &Capabilities) -> Tuning {
        let smallest = capabilities.subgroup_min_size;
        let in_subgroup = capabilities.subgroups && smallest >= 4 && smallest.is_power_of_two();
        let reduction = if in_subgroup { Reduction::Subgroup } else { Reduction::Workgroup };
        // Software runs invocations one after the other: neighbours share no memory access, and every barrier costs.
        if capabilities.is_software() {
            let lanes = if in_subgroup { smallest.min(32) } else { 4 };
            return Tuning {
                workgroup: 64,
                vector: Vector { workgroup: 64, lanes, reduction, rows: 4, octets: false },
                tiles: Tiles::Direct,
                small_tiles: Tiles::Direct,
                attention: 64,
                splits: None,
            };
        }
        let lanes = if in_subgroup { smallest.min(32) } else { 32 };
        Tuning {
            workgroup: 64,
            // Small workgroups end soon and make room: nobody waits for the slowest of many.
            vector: Vector { workgroup: smallest.clamp(32, 64), lanes, reduction, rows: 2, octets: true },
            tiles: Tiles::Shared { m: 64, n: 64, k: 4, micro_m: 2, micro_n: 1 },
            small_tiles: Tiles::Shared { m: 32, n: 32, k: 4, micro_m: 1, micro_n: 1 },
            attention: 128,
            splits: Some(Splits { span: 32, groups: 512 }),
        }
    }
}
