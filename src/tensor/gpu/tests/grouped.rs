//! Products with integers that share scales, against float64.

use super::*;
use crate::tensor::Grouped;
use crate::tensor::grouped::testing::{kinds, random_rows};

impl Case {
    /// Such a weight, and its elements.
    fn grouped(&mut self, random: &mut Random, rows: usize, grouped: Grouped) -> (WeightId, Vec<f32>) {
        let mut specs = WeightSpecs::default();
        let id = specs.matrix("test", vec![("test".to_owned(), rows)], grouped.cols, Init::Zeros);
        let layout = Layout::new(specs.get(id).unwrap(), Kept::Grouped(grouped), self.gpu.capabilities()).unwrap();
        let (lines, elements) = random_rows(grouped, rows, || random.next());
        self.weights.push(Weight { layout, values: lines.into_iter().map(f32::from_bits).collect() });
        (WeightId(self.weights.len() - 1), elements)
    }
}

async fn linear() {
    let random = &mut Random(61);
    let (mut sample, mut nth, inputs, outputs) = (Sample(0), 0, 192, 75);
    for device in devices().await {
        for (mode, tokens) in MODES {
            for grouped in kinds(inputs) {
                nth += 1;
                if sample.skips(7) {
                    continue;
                }
                let (norm, bias, add) = [(false, false, false), (true, true, false), (false, true, true)][nth % 3];
                let mut case = Case::new(&device, tokens, mode);
                case.tuning = tuning(&device.0, nth);
                let (weight, elements) = case.grouped(random, outputs, grouped);
                let scale = case.weight(random, inputs, 1, Storage::F32);
                let offsets = case.weight(random, outputs, 1, Storage::F32);
                let linear = Linear { weight, bias: bias.then_some(offsets), inputs, outputs };
                let norm_of = RmsNorm { weight: scale, eps: 1e-5 };
                let x = random.values(tokens * inputs);
                let ran = case.run_linear(&x, &linear, norm.then_some(&norm_of), add).await;
                let mut expected = Vec::new();
                for x in x.chunks(inputs) {
                    let x = match norm {
                        true => rms(x, &case.weights[scale.0].values, 1e-5),
                        false => x.iter().map(|v| f64::from(*v)).collect(),
                    };
                    for (row, offset) in elements.chunks(inputs).zip(&case.weights[offsets.0].values) {
                        let (y, bound) = dot(&x, row);
                        let y = y + if bias { f64::from(*offset) } else { 0.0 };
                        let times = if add { 2.0 } else { 1.0 };
                        expected.push((y * times, (2.0 * bound + 1e-6) * times));
                    }
                }
                close(&format!("{mode:?} {tokens} {grouped:?} {norm} {bias} {add}"), &ran.y, &expected);
            }
        }
    }
}
device_test!(grouped_linear_equals_float64, linear());

async fn gated() {
    let random = &mut Random(62);
    let (mut sample, inputs, wide) = (Sample(0), 192, 40);
    for device in devices().await {
        for (mode, tokens) in MODES {
            for (nth, grouped) in kinds(inputs).into_iter().enumerate() {
                if sample.skips(7) {
                    continue;
                }
                let mut case = Case::new(&device, tokens, mode);
                // A gate and its up are computed together.
                case.tuning = tuning(&device.0, nth % 4);
                let (weight, elements) = case.grouped(random, 2 * wide, grouped);
                let linear = Linear { weight, bias: None, inputs, outputs: 2 * wide };
                let x: Vec<f32> = random.values(tokens * inputs).iter().map(|x| x / 8.0).collect();
                let run = |ops: &mut Recorder<'_>, x| ops.gated_linear(x, &linear, Activation::Silu).unwrap();
                let ran = case.run(&x, inputs, 0, &[], &[], run).await;
                let mut expected = Vec::new();
                for x in x.chunks(inputs) {
                    let x: Vec<f64> = x.iter().map(|v| f64::from(*v)).collect();
                    let rows: Vec<(f64, f64)> = elements.chunks(inputs).map(|row| dot(&x, row)).collect();
                    for ((gate, off_gate), (up, off_up)) in rows[..wide].iter().zip(&rows[wide..]) {
                        let y = activate(Activation::Silu, *gate) * up;
                        expected.push((y, 2.2 * (off_gate * up.abs() + off_up * gate.abs()) + 1e-5));
                    }
                }
                close(&format!("{mode:?} {tokens} {grouped:?}"), &ran.y, &expected);
            }
        }
    }
}
device_test!(grouped_gates_equal_float64, gated());

/// The nth form of the products.
fn tuning(gpu: &Gpu, nth: usize) -> Option<Tuning> {
    let mut tuning = Tuning::of(gpu.capabilities());
    let (rows, octets) = VECTORS[nth % VECTORS.len()];
    tuning.vector = Vector { rows, octets, ..tuning.vector };
    tuning.tiles = TILES[nth % TILES.len()];
    tuning.small_tiles = tuning.tiles;
    Some(tuning)
}
