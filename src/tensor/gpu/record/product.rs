//! Products with a weight: of a vector, with all that is fused into it, and of many rows.

use super::{Recorder, activation_number};
use crate::Result;
use crate::config::Activation;
use crate::tensor::gpu::dispatch::{BufferName, Grid, stride};
use crate::tensor::gpu::kernel::{Constant, Kernel, MANY_ROWS, Source, Storage, Tiles, Vector};
use crate::tensor::ops::{Linear, RmsNorm, Tensor};
use crate::weights::layout::Layout;

/// Workgroups along a dimension that every device takes.
const MOST_GROUPS: u32 = 65535;

/// What is fused into a matrix-vector product.
#[derive(Default)]
pub(super) struct VecArgs<'a> {
    pub norm: Option<&'a RmsNorm>,
    pub gate: Option<Activation>,
    pub activate: Option<Activation>,
    pub add_to: Option<Tensor>,
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

impl Recorder<'_> {
    /// The matrix-vector product, with what can be fused into it.
    pub(super) fn vector_product(&mut self, x: Tensor, linear: &Linear, args: VecArgs<'_>) -> Result<Tensor> {
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

    pub(super) fn product(&mut self, x: Tensor, linear: &Linear, add_to: Option<Tensor>) -> Result<Tensor> {
        if self.one_row(x) {
            self.vector_product(x, linear, VecArgs { add_to, ..VecArgs::default() })
        } else {
            self.matrix_product(x, linear, add_to)
        }
    }
}
