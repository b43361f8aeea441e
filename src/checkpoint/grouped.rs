//! Layers whose weights are integers: what compressed-tensors calls `weight_packed`, `weight_scale`, `weight_zero_point` and
//! `weight_shape`, and GPTQ and AWQ `qweight`, `scales`, `qzeros` and `g_idx`, is one tensor, `weight`, to whoever reads a catalog.
//! <https://github.com/vllm-project/compressed-tensors>, `compressors/pack_quantized`;
//! <https://github.com/ModelCloud/GPTQModel>, `nn_modules/qlinear`

use std::collections::BTreeMap;

use super::{Catalog, CheckpointError, Order, TensorInfo};
use crate::config::{Method, Quantization};
use crate::tensor::{Dtype, Grouped, Integers};

/// The tensors of which a quantised one is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupedTensors {
    /// How a row lies once it is loaded.
    pub grouped: Grouped,
    /// In which order the file has it.
    pub method: Method,
    /// int32, `[rows, words]`: the integers of each row, the first in a word's lowest bits. GPTQ: `[words, rows]`. AWQ: `[cols, words]`,
    /// a word having those of eight rows.
    pub integers: TensorInfo,
    /// Of a floating type, `[rows, groups]`. GPTQ and AWQ: `[groups, rows]`.
    pub scales: TensorInfo,
    /// int32, `[words, groups]`: the integers that mean zero, of as many rows in a word as it has integers. GPTQ and AWQ: `[groups,
    /// words]`.
    pub zeros: Option<TensorInfo>,
}

/// What a method calls a layer's tensors.
struct Names {
    integers: &'static str,
    scales: &'static str,
    zeros: &'static str,
    /// Those that say nothing more.
    spare: &'static [&'static str],
}

impl Names {
    fn of(method: Method) -> Names {
        match method {
            Method::CompressedTensors => Names {
                integers: "weight_packed",
                scales: "weight_scale",
                zeros: "weight_zero_point",
                spare: &["weight_shape"],
            },
            Method::Gptq { .. } | Method::Awq => {
                Names { integers: "qweight", scales: "scales", zeros: "qzeros", spare: &["g_idx"] }
            }
        }
    }
}

impl Catalog {
    /// Takes the tensors of each quantised layer together, where some are.
    ///
    /// # Errors
    /// [`CheckpointError::Grouped`] where they don't fit together.
    pub fn group(
        mut self,
        repo: &str,
        quantization: impl Into<Option<Quantization>>,
    ) -> Result<Catalog, CheckpointError> {
        let Some(quantization) = quantization.into() else { return Ok(self) };
        let ending = format!(".{}", Names::of(quantization.method).integers);
        let packed = self.tensors.keys().filter_map(|name| name.strip_suffix(&ending));
        let modules: Vec<String> = packed.map(str::to_owned).collect();
        for module in modules {
            let weight = take(&mut self.tensors, &module, quantization);
            let fail = |fault| CheckpointError::Grouped { repo: repo.to_owned(), module: module.clone(), fault };
            self.tensors.insert(format!("{module}.weight"), weight.map_err(fail)?);
        }
        Ok(self)
    }
}

/// Takes a module's tensors out, and makes one of them.
fn take(
    tensors: &mut BTreeMap<String, TensorInfo>,
    module: &str,
    Quantization { method, bits, group, symmetric }: Quantization,
) -> Result<TensorInfo, String> {
    let names = Names::of(method);
    let mut take = |name: &str| tensors.remove(&format!("{module}.{name}"));
    let mut need = |name: &str| take(name).ok_or_else(|| format!("it has no {name}"));
    let (integers, scales) = (need(names.integers)?, need(names.scales)?);
    let zeros = if symmetric { None } else { Some(need(names.zeros)?) };
    take(names.zeros);
    // What these say, the others' shapes say, and the config.
    names.spare.iter().for_each(|name| drop(take(name)));
    if take("weight_g_idx").is_some() {
        return Err("its columns have groups of their own (weight_g_idx), which is not supported".to_owned());
    }
    let kind = Integers::of_bits(bits).ok_or_else(|| format!("integers of {bits} bits are not supported"))?;
    // A matrix's shape by its rows, as the file has it; and the other way round.
    let by_columns = method != Method::CompressedTensors;
    let lies = |[rows, cols]: [usize; 2]| if by_columns { [cols, rows] } else { [rows, cols] };
    let wrong = |name, info: &TensorInfo| format!("its {name} is {} {:?}", info.dtype, info.shape);
    let [first, second] = *integers.shape else { return Err(wrong(names.integers, &integers)) };
    let [rows, cols] = lies([first, second]);
    // One of the two is in words.
    let (whole_rows, whole_cols) = match method {
        Method::Awq => (rows.checked_mul(kind.a_word()), Some(cols)),
        Method::CompressedTensors | Method::Gptq { .. } => (Some(rows), cols.checked_mul(kind.a_word())),
    };
    let packed = [rows, cols];
    let (Some(rows), Some(cols)) = (whole_rows, whole_cols) else { return Err(wrong(names.integers, &integers)) };
    let grouped = Grouped { integers: kind, cols, group: group.unwrap_or(cols), zeros: !symmetric };
    if !grouped.is_whole() {
        let Grouped { group, .. } = grouped;
        return Err(format!(
            "groups of {group} in rows of {cols} are not supported, but multiples of 32 that divide them"
        ));
    }
    let is_int = |info: &TensorInfo, shape| info.dtype == Dtype::I32 && has_shape(info, lies(shape));
    if !is_int(&integers, packed) {
        return Err(wrong(names.integers, &integers));
    }
    let is_float = matches!(scales.dtype, Dtype::F16 | Dtype::BF16 | Dtype::F32);
    if !is_float || !has_shape(&scales, lies([rows, grouped.groups()])) {
        return Err(wrong(names.scales, &scales));
    }
    let stacked = [rows.div_ceil(kind.a_word()), grouped.groups()];
    if let Some(zeros) = zeros.as_ref().filter(|zeros| !is_int(zeros, stacked)) {
        return Err(wrong(names.zeros, zeros));
    }
    Ok(TensorInfo {
        dtype: scales.dtype,
        shape: vec![rows, cols],
        order: Order::RowMajor,
        file: integers.file,
        range: integers.range.clone(),
        grouped: Some(Box::new(GroupedTensors { grouped, method, integers, scales, zeros })),
    })
}

fn has_shape(info: &TensorInfo, shape: [usize; 2]) -> bool {
    info.shape == shape && info.order == Order::RowMajor
}

#[cfg(test)]
mod tests {
    use super::*;

    const INT4: Quantization =
        Quantization { method: Method::CompressedTensors, bits: 4, group: Some(32), symmetric: true };

    fn group(tensors: &[(&str, Dtype, &[usize])], quantization: Quantization) -> Result<Catalog, String> {
        let info = |dtype, shape: &[usize]| TensorInfo::row_major(dtype, shape.to_vec(), 0, 0).unwrap();
        let tensors = tensors.iter().map(|(name, dtype, shape)| (format!("a.{name}"), info(*dtype, shape)));
        let catalog = Catalog { tensors: tensors.collect(), ..Catalog::default() };
        catalog.group("a/b", quantization).map_err(|error| {
            assert_eq!(error.code(), "CHECKPOINT_QUANTIZED");
            error.to_string()
        })
    }

    const PACKED: (&str, Dtype, &[usize]) = ("weight_packed", Dtype::I32, &[10, 8]);
    const SCALE: (&str, Dtype, &[usize]) = ("weight_scale", Dtype::BF16, &[10, 2]);
    const ZEROS: (&str, Dtype, &[usize]) = ("weight_zero_point", Dtype::I32, &[2, 2]);

    #[test]
    fn the_tensors_of_a_layer_are_one() {
        let bias: (&str, Dtype, &[usize]) = ("bias", Dtype::BF16, &[10]);
        let catalog = group(&[PACKED, SCALE, ("weight_shape", Dtype::I64, &[2]), bias], INT4).unwrap();
        assert_eq!(catalog.tensors.keys().collect::<Vec<_>>(), ["a.bias", "a.weight"]);
        let weight = &catalog.tensors["a.weight"];
        assert_eq!((weight.dtype, &weight.shape[..]), (Dtype::BF16, &[10, 64][..]));
        let grouped = weight.grouped.as_ref().unwrap().grouped;
        assert_eq!((grouped.integer_words(), grouped.groups(), grouped.words(), grouped.line()), (8, 2, 10, 12));

        let asymmetric = Quantization { symmetric: false, ..INT4 };
        let catalog = group(&[PACKED, SCALE, ZEROS], asymmetric).unwrap();
        assert_eq!(catalog.tensors["a.weight"].grouped.as_ref().unwrap().grouped.words(), 12);
        // A row's own scale; what isn't quantised stays as it is.
        let int8 = Quantization { bits: 8, group: None, ..INT4 };
        let dense: (&str, Dtype, &[usize]) = ("weight", Dtype::BF16, &[10, 64]);
        assert!(group(&[dense], int8).unwrap().tensors["a.weight"].grouped.is_none());
        let catalog = group(&[PACKED, ("weight_scale", Dtype::F16, &[10, 1])], int8).unwrap();
        assert_eq!(catalog.tensors["a.weight"].shape, [10, 32]);
    }

    #[test]
    fn gptqs_and_awqs_are_too() {
        let gptq = Quantization { method: Method::Gptq { zeros_less_one: true }, ..INT4 };
        let tensors: [(&str, Dtype, &[usize]); 4] = [
            ("qweight", Dtype::I32, &[8, 10]),
            ("scales", Dtype::F16, &[2, 10]),
            ("qzeros", Dtype::I32, &[2, 2]),
            ("g_idx", Dtype::I32, &[64]),
        ];
        for symmetric in [true, false] {
            let catalog = group(&tensors, Quantization { symmetric, ..gptq }).unwrap();
            assert_eq!(catalog.tensors.keys().collect::<Vec<_>>(), ["a.weight"]);
            let weight = &catalog.tensors["a.weight"];
            assert_eq!(weight.shape, [10, 64]);
            let tensors = weight.grouped.as_ref().unwrap();
            assert_eq!(tensors.zeros.is_some(), !symmetric);
        }
        // AWQ's words have eight rows.
        let awq = Quantization { method: Method::Awq, symmetric: false, ..INT4 };
        let packed: (&str, Dtype, &[usize]) = ("qweight", Dtype::I32, &[64, 2]);
        let scales: (&str, Dtype, &[usize]) = ("scales", Dtype::F16, &[2, 16]);
        assert_eq!(group(&[packed, scales, tensors[2]], awq).unwrap().tensors["a.weight"].shape, [16, 64]);
        let error = group(&[tensors[0], ("scales", Dtype::F16, &[10, 2])], gptq).unwrap_err();
        assert!(error.contains("its scales is F16 [10, 2]"), "{error}");
    }

    #[test]
    fn what_does_not_fit_together_is_said() {
        let asymmetric = Quantization { symmetric: false, ..INT4 };
        let wide = Quantization { group: Some(48), ..INT4 };
        for (tensors, quantization, says) in [
            (&[PACKED][..], INT4, "no weight_scale"),
            (&[PACKED, SCALE], asymmetric, "no weight_zero_point"),
            (&[PACKED, SCALE, ("weight_zero_point", Dtype::I32, &[10, 2])], asymmetric, "its weight_zero_point is I32"),
            (&[PACKED, SCALE], wide, "groups of 48 in rows of 64"),
            (&[PACKED, ("weight_scale", Dtype::I8, &[10, 2])], INT4, "its weight_scale is I8"),
            (&[PACKED, ("weight_scale", Dtype::BF16, &[10, 3])], INT4, "[10, 3]"),
            (&[("weight_packed", Dtype::I64, &[10, 8]), SCALE], INT4, "its weight_packed is I64"),
            (&[("weight_packed", Dtype::I32, &[10, 8, 1]), SCALE], INT4, "[10, 8, 1]"),
            (&[("weight_packed", Dtype::I32, &[0, 0]), SCALE], INT4, "rows of 0"),
            (&[PACKED, SCALE, ("weight_g_idx", Dtype::I32, &[64])], INT4, "weight_g_idx"),
        ] {
            let error = group(tensors, quantization).unwrap_err();
            assert!(error.starts_with("a/b: a is not quantised as config.json says: "), "{error}");
            assert!(error.contains(says), "{error}");
        }
    }
}
