//! A model's weights, declared block by block.

use crate::Result;
use crate::tensor::ops::{LayerNorm, Linear, Ops, RmsNorm, Tensor, WeightId};
use crate::weights::init::Init;
use crate::weights::spec::{Arrangement, BlockSpec, WeightSpecs};

/// A norm of either kind.
#[derive(Clone, Copy)]
pub(super) enum Norm {
    Rms(RmsNorm),
    Layer(LayerNorm),
}

impl Norm {
    /// Each row normalised.
    pub fn of(&self, ops: &mut dyn Ops, x: Tensor) -> Result<Tensor> {
        match self {
            Norm::Rms(norm) => ops.rms_norm(x, norm),
            Norm::Layer(norm) => ops.layer_norm(x, norm),
        }
    }

    /// The last token's row normalised.
    pub fn of_last(&self, ops: &mut dyn Ops, x: Tensor) -> Result<Tensor> {
        match self {
            Norm::Rms(norm) => ops.rms_norm_last(x, norm),
            Norm::Layer(norm) => ops.layer_norm_last(x, norm),
        }
    }
}

/// Modules that read the same input, one below the other.
#[derive(Clone, Copy)]
pub(super) struct Modules<'a> {
    /// The module that they are in, with a dot, or nothing.
    pub parent: &'a str,
    /// What they are called there. One alone has all of the rows.
    pub names: &'a [&'a str],
    /// Of each part, how many rows it has.
    pub rows: &'a [usize],
    /// How the rows lie in the checkpoint.
    pub arrangement: Arrangement,
    /// Elements of a row.
    pub inputs: usize,
    /// Whether they have biases.
    pub bias: bool,
    /// Which of them has none all the same.
    pub without_bias: Option<usize>,
    /// Of weights that are initialised anew.
    pub std: f32,
}

/// Declares weights and keeps which of them belong to the block at hand.
pub(super) struct Declare {
    /// All so far.
    pub specs: WeightSpecs,
    /// Those of the block at hand.
    pub block: Vec<WeightId>,
    /// Whether norms are LayerNorms.
    pub layer_norms: bool,
    /// Whether those have biases.
    pub norm_bias: bool,
    /// Whether the checkpoint has the norms' weights less one.
    pub norms_from_one: bool,
}

impl Declare {
    /// A norm over rows of `width` elements, of the model's kind.
    pub fn norm(&mut self, module: &str, width: usize, eps: f32) -> Norm {
        if !self.layer_norms {
            return Norm::Rms(self.rms_norm(module, width, eps));
        }
        let weight = self.vector(module, vec![(format!("{module}.weight"), width)], Init::Ones);
        let bias = format!("{module}.bias");
        let bias = self.norm_bias.then(|| self.vector(&bias, vec![(bias.clone(), width)], Init::Zeros));
        Norm::Layer(LayerNorm { weight, bias, eps })
    }

    /// An RMSNorm over rows of `width` elements.
    pub fn rms_norm(&mut self, module: &str, width: usize, eps: f32) -> RmsNorm {
        let pieces = vec![(format!("{module}.weight"), width)];
        let weight = match self.norms_from_one {
            true => self.specs.vector_plus_one(module, pieces, Init::Zeros),
            false => self.specs.vector(module, pieces, Init::Ones),
        };
        self.block.push(weight);
        RmsNorm { weight, eps }
    }

    /// A table of `rows` by `width`: an embedding.
    pub fn table(&mut self, module: &str, rows: usize, width: usize, init: Init) -> WeightId {
        let table = self.specs.matrix(module, vec![(format!("{module}.weight"), rows)], width, init);
        self.block.push(table);
        table
    }

    /// A projection whose outputs decide: those of a head, or of a router. It is never rounded to integers.
    pub fn deciding(&mut self, modules: Modules<'_>) -> Linear {
        let linear = self.linear(modules);
        self.specs.may_round(linear.weight, false);
        linear
    }

    /// A projection by all of the modules.
    pub fn linear(&mut self, modules: Modules<'_>) -> Linear {
        let Modules { parent, names, rows, arrangement, inputs, bias, without_bias, std } = modules;
        let outputs = rows.iter().sum();
        let rows = if names.len() == 1 { &[outputs] } else { rows };
        let pieces = |ending: &str| -> Vec<(String, usize)> {
            names.iter().zip(rows).map(|(module, rows)| (format!("{parent}{module}.{ending}"), *rows)).collect()
        };
        let name = format!("{parent}{}", names.join("+"));
        let weight = self.specs.matrix(&name, pieces("weight"), inputs, Init::Normal { std, zero_row: None });
        self.block.push(weight);
        self.specs.may_round(weight, true);
        let bias = bias.then(|| self.vector(&format!("{name}.bias"), pieces("bias"), Init::Zeros));
        if let (Some(bias), Some(without)) = (bias, without_bias) {
            self.specs.make_up(bias, without);
        }
        [Some(weight), bias].into_iter().flatten().for_each(|id| self.specs.arrange(id, arrangement));
        Linear { weight, bias, inputs, outputs }
    }

    /// A vector: a norm's weight, or a bias.
    pub fn vector(&mut self, name: &str, pieces: Vec<(String, usize)>, init: Init) -> WeightId {
        let vector = self.specs.vector(name, pieces, init);
        self.block.push(vector);
        vector
    }

    /// The block at hand, which also reads weights of others; what comes then is the next one's.
    pub fn finish(&mut self, name: String, also_reads: &[WeightId]) -> BlockSpec {
        let weights = std::mem::take(&mut self.block);
        let reads = weights.iter().chain(also_reads).copied().collect();
        BlockSpec { name, weights, reads }
    }
}
