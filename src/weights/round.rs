//! Which weights are rounded to integers as they come, where that is wished: what transformers' `QuantoConfig` asks for.
//! <https://huggingface.co/docs/transformers/quantization/quanto>

use super::spec::{Arrangement, WeightSpec};
use crate::checkpoint::{Catalog, Order};
use crate::tensor::{Grouped, Integers};

/// What is wished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rounding {
    /// The integers.
    pub integers: Integers,
    /// Modules whose weights stay floats, with all that they have: their names, or the ends of those.
    pub modules_to_not_convert: Vec<String>,
}

impl Rounding {
    /// How a weight's rows come to lie; `None`: its elements stay floats. Those are tables, routers, heads, vectors, convolutions, rows
    /// that aren't a multiple of 32 long, and what a file has column by column.
    pub fn of(&self, spec: &WeightSpec, catalog: &Catalog) -> Option<Grouped> {
        let by_rows = spec.pieces.iter().all(|piece| {
            let tensor = catalog.tensors.get(&piece.tensor);
            let is_row_major = tensor.is_some_and(|tensor| tensor.order == Order::RowMajor);
            let is_matrix = piece.dims.is_none() && piece.arrangement != Arrangement::Columns;
            is_row_major && is_matrix && !self.leaves(&piece.tensor)
        });
        let cols = spec.cols;
        let grouped = match self.integers {
            Integers::Int8 => Grouped { integers: self.integers, cols, group: cols, zeros: false },
            Integers::Int4 => Grouped { integers: self.integers, cols, group: group(cols), zeros: true },
        };
        (spec.may_round && by_rows && grouped.is_whole()).then_some(grouped)
    }

    /// Whether a tensor is of a module that is left as it is.
    fn leaves(&self, tensor: &str) -> bool {
        let dotted = format!(".{tensor}");
        self.modules_to_not_convert.iter().any(|module| dotted.contains(&format!(".{module}.")))
    }
}

/// quanto's group of four-bit integers: 128, or less where that doesn't divide a row; a row where nothing does.
fn group(cols: usize) -> usize {
    [128, 96, 64, 32].into_iter().find(|group| cols > 128 && cols.is_multiple_of(*group)).unwrap_or(cols)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::TensorInfo;
    use crate::tensor::Dtype;
    use crate::weights::init::Init;
    use crate::weights::spec::WeightSpecs;

    #[test]
    fn groups_are_quantos() {
        for (cols, expected) in [(64, 64), (128, 128), (576, 96), (896, 128), (160, 32), (192, 96), (1344, 96)] {
            assert_eq!(group(cols), expected, "{cols}");
        }
    }

    #[test]
    fn only_linear_layers_are_rounded() {
        let catalog = |names: &[&str], cols: usize, order: Order| {
            let info = |name: &&str| {
                let info = TensorInfo::row_major(Dtype::F32, vec![4, cols], 0, 0).unwrap();
                ((*name).to_owned(), TensorInfo { order: order.clone(), ..info })
            };
            Catalog { tensors: names.iter().map(info).collect(), ..Catalog::default() }
        };
        let of = |may: bool, cols: usize, order: Order, left: &str| {
            let names = ["model.layers.0.q.weight", "model.layers.0.k.weight"];
            let mut specs = WeightSpecs::default();
            let id = specs.matrix("w", names.map(|name| (name.to_owned(), 4)).to_vec(), cols, Init::Zeros);
            specs.may_round(id, may);
            let rounding = Rounding { integers: Integers::Int4, modules_to_not_convert: vec![left.to_owned()] };
            rounding.of(specs.get(id).unwrap(), &catalog(&names, cols, order)).is_some()
        };
        assert!(of(true, 64, Order::RowMajor, "lm_head"));
        assert!(!of(false, 64, Order::RowMajor, "lm_head"), "a table");
        assert!(!of(true, 72, Order::RowMajor, "lm_head"), "rows that are no whole units");
        assert!(!of(true, 64, Order::ColumnMajor, "lm_head"), "by columns");
        let mut specs = WeightSpecs::default();
        let id = specs.matrix("w", vec![("conv.weight".to_owned(), 4)], 64, Init::Zeros);
        specs.may_round(id, true);
        let rounding = Rounding { integers: Integers::Int8, modules_to_not_convert: Vec::new() };
        let found = catalog(&["conv.weight"], 64, Order::RowMajor);
        assert!(rounding.of(specs.get(id).unwrap(), &found).is_some());
        specs.shape(id, vec![4, 4, 4, 4]);
        assert!(rounding.of(specs.get(id).unwrap(), &found).is_none(), "a convolution");
        // What is computed with one that is left is left too.
        for left in ["k", "layers.0.q", "model.layers.0", "model"] {
            assert!(!of(true, 64, Order::RowMajor, left), "{left}");
        }
        assert!(of(true, 64, Order::RowMajor, "layers.1"));
    }
}
