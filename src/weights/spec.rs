//! What a model needs: its weights by name and shape, grouped into blocks in the order of the forward pass.

use super::init::Init;
use crate::tensor::ops::WeightId;

/// How the rows of a weight that are one tensor lie in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Arrangement {
    /// As the tensor's rows.
    #[default]
    Rows,
    /// As its columns: the tensor is `[inputs, outputs]`. Of a vector, as its elements.
    Columns,
    /// As its rows, which lie head by head, in each head so many of each kind (query, key, value), where the weight has
    /// all of the first kind, then all of the second, and so on.
    ByHead {
        /// Heads.
        heads: usize,
        /// Kinds.
        kinds: usize,
    },
}

impl Arrangement {
    /// Runs of the tensor's rows, of which it has `rows`, that are neighbours in the weight too: the first row in the
    /// tensor, the first in the weight, and how many. They follow one another in the tensor.
    pub fn runs(self, rows: usize) -> impl Iterator<Item = (usize, usize, usize)> {
        let (heads, kinds) = match self {
            Arrangement::ByHead { heads, kinds } => (heads, kinds),
            Arrangement::Rows | Arrangement::Columns => (1, 1),
        };
        let run = rows / (heads * kinds).max(1);
        (0..heads * kinds).map(move |i| (i * run, (i % kinds * heads + i / kinds) * run, run))
    }
}

/// One tensor of the checkpoint inside a weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// The checkpoint's name for it.
    pub tensor: String,
    /// Its rows in the weight (for a vector, its elements).
    pub rows: usize,
    /// How they lie in the tensor.
    pub arrangement: Arrangement,
    /// Whether no checkpoint has it: it is what a module would have that has none, such as a bias among those of others.
    pub made_up: bool,
    /// The tensor's shape, where it isn't that of a matrix or a vector with so many rows: a convolution's kernels, say.
    pub dims: Option<Vec<usize>>,
    /// What it holds where the checkpoint lacks it.
    pub init: Init,
}

/// A weight: one or more tensors of the checkpoint, one below the other.
///
/// Projections that read the same input (q, k and v; gate and up) lie in one weight, so that one dispatch does them all.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightSpec {
    /// For messages: the module's name.
    pub name: String,
    /// The tensors, from the first row on.
    pub pieces: Vec<Piece>,
    /// Elements of a row; 1 for a vector, which is kept in float32.
    pub cols: usize,
    /// Whether the checkpoint has the elements less one: those of norms that count from one.
    pub plus_one: bool,
    /// Whether its elements may be rounded to integers, if that is wished: those of linear layers between others.
    pub may_round: bool,
}

impl WeightSpec {
    /// Rows of all the pieces.
    pub fn rows(&self) -> usize {
        self.pieces.iter().map(|piece| piece.rows).sum()
    }

    /// Whether it is a vector (a norm's weight, a bias).
    pub fn is_vector(&self) -> bool {
        self.cols == 1
    }

    /// A piece's shape as torch has it.
    pub fn shape_of(&self, piece: &Piece) -> Vec<usize> {
        if let Some(dims) = &piece.dims {
            return dims.clone();
        }
        match piece.arrangement {
            _ if self.is_vector() => vec![piece.rows],
            Arrangement::Columns => vec![self.cols, piece.rows],
            Arrangement::Rows | Arrangement::ByHead { .. } => vec![piece.rows, self.cols],
        }
    }
}

/// A module that runs, and is placed, as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockSpec {
    /// The module's name, as in transformers: `model.layers.0`.
    pub name: String,
    /// The weights that are brought in with this block.
    pub weights: Vec<WeightId>,
    /// All weights that running it reads: its own, and those of other blocks that are tied to it.
    pub reads: Vec<WeightId>,
}

/// All weights of a model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WeightSpecs {
    weights: Vec<WeightSpec>,
}

impl WeightSpecs {
    /// Declares a weight.
    pub fn add(&mut self, spec: WeightSpec) -> WeightId {
        self.weights.push(spec);
        WeightId(self.weights.len() - 1)
    }

    /// A matrix of one or more tensors `[rows, cols]`, one below the other.
    pub fn matrix(&mut self, name: &str, pieces: Vec<(String, usize)>, cols: usize, init: Init) -> WeightId {
        let piece =
            |(tensor, rows)| Piece { tensor, rows, arrangement: Arrangement::Rows, made_up: false, dims: None, init };
        let pieces = pieces.into_iter().map(piece).collect();
        self.add(WeightSpec { name: name.to_owned(), pieces, cols, plus_one: false, may_round: false })
    }

    /// A vector of one or more tensors, one after the other.
    pub fn vector(&mut self, name: &str, pieces: Vec<(String, usize)>, init: Init) -> WeightId {
        self.matrix(name, pieces, 1, init)
    }

    /// A vector whose elements are one more than the checkpoint's.
    pub fn vector_plus_one(&mut self, name: &str, pieces: Vec<(String, usize)>, init: Init) -> WeightId {
        let id = self.vector(name, pieces, init);
        if let Some(spec) = self.weights.last_mut() {
            spec.plus_one = true;
        }
        id
    }

    /// Says whether a weight's elements may be rounded to integers.
    pub fn may_round(&mut self, id: WeightId, may: bool) {
        if let Some(spec) = self.weights.get_mut(id.0) {
            spec.may_round = may;
        }
    }

    /// Says how a weight's pieces lie in their tensors, where that isn't row by row.
    pub fn arrange(&mut self, id: WeightId, arrangement: Arrangement) {
        let pieces = self.weights.get_mut(id.0).map(|spec| spec.pieces.iter_mut());
        pieces.into_iter().flatten().for_each(|piece| piece.arrangement = arrangement);
    }

    /// Says which shape the tensor of a weight of one piece has, where it isn't `[rows, cols]`; the elements' order is.
    pub fn shape(&mut self, id: WeightId, dims: Vec<usize>) {
        let piece = self.weights.get_mut(id.0).and_then(|spec| spec.pieces.first_mut());
        piece.into_iter().for_each(|piece| piece.dims = Some(dims.clone()));
    }

    /// Says how a weight's `nth` piece is initialised, where it isn't as the others.
    pub fn initialise(&mut self, id: WeightId, nth: usize, init: Init) {
        let piece = self.weights.get_mut(id.0).and_then(|spec| spec.pieces.get_mut(nth));
        piece.into_iter().for_each(|piece| piece.init = init);
    }

    /// Says that no checkpoint has a weight's `nth` piece: it is always as it is initialised.
    pub fn make_up(&mut self, id: WeightId, nth: usize) {
        let piece = self.weights.get_mut(id.0).and_then(|spec| spec.pieces.get_mut(nth));
        piece.into_iter().for_each(|piece| piece.made_up = true);
    }

    /// Every tensor: its name, its shape as torch has it, and what it is where the checkpoint lacks it.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, Vec<usize>, Init)> {
        self.pieces().map(|(spec, piece)| (piece.tensor.as_str(), spec.shape_of(piece), piece.init))
    }

    /// Every tensor that the checkpoint should have: its name, and its shape as torch has it.
    pub fn stored(&self) -> impl Iterator<Item = (&str, Vec<usize>)> {
        let stored = self.pieces().filter(|(_, piece)| !piece.made_up);
        stored.map(|(spec, piece)| (piece.tensor.as_str(), spec.shape_of(piece)))
    }

    fn pieces(&self) -> impl Iterator<Item = (&WeightSpec, &Piece)> {
        self.weights.iter().flat_map(|spec| spec.pieces.iter().map(move |piece| (spec, piece)))
    }

    /// In the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (WeightId, &WeightSpec)> {
        self.weights.iter().enumerate().map(|(i, spec)| (WeightId(i), spec))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.weights.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.weights.is_empty()
    }

    /// The weight with this id.
    pub fn get(&self, id: WeightId) -> Option<&WeightSpec> {
        self.weights.get(id.0)
    }
}
