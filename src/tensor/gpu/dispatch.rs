//! What a recorded block is made of: kernel calls that name their buffers, and the activations among them.

use std::collections::HashMap;

use super::kernel::Kernel;
use crate::tensor::ops::{Rows, WeightId};

/// A buffer by its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BufferName {
    /// One part of a weight.
    Weight(WeightId, usize),
    /// An activation, by its place in [`Activations`].
    Activation(usize),
    /// How many tokens run, where, and their rotations.
    Step,
    /// The ids of the tokens that run; the next token's id after the choice.
    Ids,
    /// The types of the tokens that run.
    TokenTypes,
    /// Their positions, where the model numbers them.
    PositionIds,
    /// A layer's keys.
    Keys(usize),
    /// A layer's values.
    Values(usize),
    /// The best logits of each workgroup.
    Candidates,
    /// The tokens that are routed to the expert that runs, with their weights.
    Routes,
    /// The weights of a layer's attention, for those who want to see them.
    AttentionWeights,
}

/// What runs at a time.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// Tokens.
    pub tokens: u32,
    /// Keys that the last of them attends to.
    pub keys: u32,
}

/// How many workgroups a dispatch has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grid {
    /// Always the same.
    Fixed(u32),
    /// `x` for each `tokens` tokens that run.
    PerTokens {
        /// Workgroups along x.
        x: u32,
        /// Tokens that one workgroup along y takes.
        tokens: u32,
    },
    /// `x` for each `per_group` rows, of which each token that runs has `rows`.
    PerRows {
        /// Workgroups along x.
        x: u32,
        /// Rows a token.
        rows: u32,
        /// Rows that one workgroup along y takes.
        per_group: u32,
    },
    /// `x` by `y` for each `span` of the last `window` keys, up to `most` times.
    Split {
        /// Workgroups along x.
        x: u32,
        /// Workgroups along y.
        y: u32,
        /// Keys for which there is one along z.
        span: u32,
        /// Workgroups along z at most.
        most: u32,
        /// Keys at most.
        window: u32,
    },
}

impl Grid {
    /// The workgroups for what runs.
    pub fn groups(self, running: Running) -> [u32; 3] {
        match self {
            Grid::Fixed(x) => [x, 1, 1],
            Grid::PerTokens { x, tokens } => [x, running.tokens.div_ceil(tokens), 1],
            Grid::PerRows { x, rows, per_group } => [x, (running.tokens * rows).div_ceil(per_group), 1],
            Grid::Split { x, y, span, most, window } => [x, y, running.keys.min(window).div_ceil(span).min(most)],
        }
    }
}

/// One kernel call.
#[derive(Debug, Clone, PartialEq)]
pub struct Dispatch {
    /// What runs.
    pub kernel: Kernel,
    /// The uniform at binding 0, as words.
    pub params: Vec<u32>,
    /// Bindings 1, 2, 3 …
    pub buffers: Vec<BufferName>,
    /// On how many workgroups.
    pub grid: Grid,
}

/// Which activations a model needs: the blocks run one after the other and share them.
#[derive(Debug, Default, Clone)]
pub struct Activations {
    places: HashMap<(Shape, usize), usize>,
    shapes: Vec<Shape>,
}

/// How large an activation's buffer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Elements of a row.
    pub width: usize,
    /// Rows.
    pub rows: Rows,
    /// Rows at most, where fewer tokens run at a time than elsewhere.
    pub most: Option<usize>,
}

impl Activations {
    /// The place of the `nth` activation of this shape in a block.
    pub(super) fn place(&mut self, shape: Shape, nth: usize) -> usize {
        *self.places.entry((shape, nth)).or_insert_with(|| {
            self.shapes.push(shape);
            self.shapes.len() - 1
        })
    }

    /// The shape of each, in the order of their places.
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }
}

/// Elements of a row of an activation in memory: whole quads.
pub fn stride(width: usize) -> usize {
    width.next_multiple_of(4)
}
