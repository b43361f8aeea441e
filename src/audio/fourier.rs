//! The discrete Fourier transform of frames, whose length is whatever a config says: 400 for Whisper.

/// Complex numbers, their parts apart, so that loops over them are the same operation on many.
#[derive(Debug, Clone)]
pub(super) struct Complex {
    pub(super) re: Vec<f64>,
    pub(super) im: Vec<f64>,
}

impl Complex {
    pub(super) fn zeros(length: usize) -> Complex {
        Complex { re: vec![0.0; length], im: vec![0.0; length] }
    }

    /// e^(-2πi · turns / of) for each of `turns`.
    fn unit(of: usize, turns: impl Iterator<Item = usize>) -> Complex {
        let angles = turns.map(|turns| -std::f64::consts::TAU * (turns % of) as f64 / of as f64);
        let (re, im) = angles.map(|angle| (angle.cos(), angle.sin())).unzip();
        Complex { re, im }
    }
}

/// The transform of one length. In float64: where a frame is a millionth as loud as its loudest tone, float32 sums would
/// be off in the third digit.
///
/// Length = rows × columns, as near to a square as there is (20 × 20 for 400): transforms of the columns, a turn of each
/// number, transforms of the rows (Cooley and Tukey). Both are products with a small matrix, 40 multiplications a number
/// instead of 400. Radix 2 and 5 all the way down would need 18, and general code for it more time than it saves.
#[derive(Debug)]
pub(super) struct Fourier {
    rows: usize,
    columns: usize,
    /// [rows][rows], [columns][columns].
    of_columns: Complex,
    of_rows: Complex,
    /// [columns][rows]: the turns between.
    turns: Complex,
    /// [rows][columns] and [columns][rows].
    half_way: Complex,
    turned: Complex,
}

impl Fourier {
    /// For frames of `length` samples, at least 1.
    pub(super) fn new(length: usize) -> Fourier {
        let rows =
            (1..=length).take_while(|rows| rows * rows <= length).filter(|rows| length.is_multiple_of(*rows)).last();
        let rows = rows.unwrap_or(1);
        let columns = length / rows;
        let products = |a: usize, b: usize| (0..a).flat_map(move |i| (0..b).map(move |j| i * j));
        Fourier {
            rows,
            columns,
            of_columns: Complex::unit(rows, products(rows, rows)),
            of_rows: Complex::unit(columns, products(columns, columns)),
            turns: Complex::unit(length, products(columns, rows)),
            half_way: Complex::zeros(length),
            turned: Complex::zeros(length),
        }
    }

    /// Σ frame[n] e^(-2πi k n / length) for each k, into `spectrum`. Both have the transform's length.
    pub(super) fn transform(&mut self, frame: &Complex, spectrum: &mut Complex) {
        multiply(&self.of_columns, self.rows, frame, self.columns, &mut self.half_way);
        let columns = 0..self.columns;
        let of =
            |part: &Vec<f64>, column| part.iter().skip(column).step_by(self.columns).copied().collect::<Vec<f64>>();
        let turns = self.turns.re.chunks_exact(self.rows).zip(self.turns.im.chunks_exact(self.rows));
        let into = self.turned.re.chunks_exact_mut(self.rows).zip(self.turned.im.chunks_exact_mut(self.rows));
        for ((column, (turn_re, turn_im)), (into_re, into_im)) in columns.zip(turns).zip(into) {
            let numbers = of(&self.half_way.re, column).into_iter().zip(of(&self.half_way.im, column));
            let turns = turn_re.iter().zip(turn_im);
            for (((re, im), (c, s)), (to_re, to_im)) in numbers.zip(turns).zip(into_re.iter_mut().zip(into_im)) {
                *to_re = re * c - im * s;
                *to_im = re * s + im * c;
            }
        }
        multiply(&self.of_rows, self.columns, &self.turned, self.rows, spectrum);
    }
}

/// [size][size] × [size][width] → [size][width].
fn multiply(matrix: &Complex, size: usize, numbers: &Complex, width: usize, product: &mut Complex) {
    let factors = matrix.re.chunks_exact(size).zip(matrix.im.chunks_exact(size));
    let into = product.re.chunks_exact_mut(width).zip(product.im.chunks_exact_mut(width));
    for ((row_re, row_im), (into_re, into_im)) in factors.zip(into) {
        into_re.fill(0.0);
        into_im.fill(0.0);
        let lines = numbers.re.chunks_exact(width).zip(numbers.im.chunks_exact(width));
        for ((c, s), (line_re, line_im)) in row_re.iter().zip(row_im).zip(lines) {
            let sums = into_re.iter_mut().zip(into_im.iter_mut());
            for ((re, im), (to_re, to_im)) in line_re.iter().zip(line_im).zip(sums) {
                *to_re += re * c - im * s;
                *to_im += re * s + im * c;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_equals_the_sum_that_defines_it() {
        for length in [1, 2, 3, 7, 12, 25, 97, 225, 250, 400] {
            let mut seed = length as u64;
            let mut random = || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (seed >> 40) as f64 / (1u64 << 24) as f64 - 0.5
            };
            let frame =
                Complex { re: (0..length).map(|_| random()).collect(), im: (0..length).map(|_| random()).collect() };
            let mut spectrum = Complex::zeros(length);
            Fourier::new(length).transform(&frame, &mut spectrum);
            for k in 0..length {
                let turn = |n: usize| -std::f64::consts::TAU * (k * n % length) as f64 / length as f64;
                let sum = |part: fn(f64, f64, f64) -> f64| -> f64 {
                    (0..length).map(|n| part(frame.re[n], frame.im[n], turn(n))).sum()
                };
                let re = sum(|re, im, angle| re * angle.cos() - im * angle.sin());
                let im = sum(|re, im, angle| re * angle.sin() + im * angle.cos());
                assert!((spectrum.re[k] - re).abs() < 1e-12 && (spectrum.im[k] - im).abs() < 1e-12, "{length}: {k}");
            }
        }
    }
}
