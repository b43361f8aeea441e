//! A model's weights, declared block by block.

use crate::tensor::ops::{Linear, RmsNorm, WeightId};
use crate::weights::init::Init;
use crate::weights::spec::{BlockSpec, WeightSpecs};

/// Declares weights and keeps which of them belong to the block at hand.
pub(super) struct Declare {
    /// All so far.
    pub specs: WeightSpecs,
    /// Those of the block at hand.
    pub block: Vec<WeightId>,
    /// Of matrices that are initialised anew.
    pub std: f32,
    /// Whether the checkpoint has the norms' weights less one.
    pub norms_from_one: bool,
}

impl Declare {
    /// A norm over rows of `width` elements.
    pub fn norm(&mut self, module: &str, width: usize, eps: f32) -> RmsNorm {
        let pieces = vec![(format!("{module}.weight"), width)];
        let weight = match self.norms_from_one {
            true => self.specs.vector_plus_one(module, pieces, Init::Zeros),
            false => self.specs.vector(module, pieces, Init::Ones),
        };
        self.block.push(weight);
        RmsNorm { weight, eps }
    }

    /// Modules of `parent` that read the same input, one below the other. One module alone has all of the rows.
    pub fn linear(&mut self, parent: &str, modules: &[&str], rows: &[usize], inputs: usize, bias: bool) -> Linear {
        let outputs = rows.iter().sum();
        let rows = if modules.len() == 1 { &[outputs] } else { rows };
        let pieces = |ending: &str| -> Vec<(String, usize)> {
            modules.iter().zip(rows).map(|(module, rows)| (format!("{parent}{module}.{ending}"), *rows)).collect()
        };
        let name = format!("{parent}{}", modules.join("+"));
        let init = Init::Normal { std: self.std, zero_row: None };
        let weight = self.specs.matrix(&name, pieces("weight"), inputs, init);
        self.block.push(weight);
        let bias = bias.then(|| {
            let bias = self.specs.vector(&format!("{name}.bias"), pieces("bias"), Init::Zeros);
            self.block.push(bias);
            bias
        });
        Linear { weight, bias, inputs, outputs }
    }

    /// The block at hand, which also reads weights of others; what comes then is the next one's.
    pub fn finish(&mut self, name: String, also_reads: &[WeightId]) -> BlockSpec {
        let weights = std::mem::take(&mut self.block);
        let reads = weights.iter().chain(also_reads).copied().collect();
        BlockSpec { name, weights, reads }
    }
}
