//! How far a key is from a query's token, in buckets that grow with the distance. Semantics: `_relative_position_bucket` of
//! transformers' `modeling_t5.py`.

use super::ops::WeightId;

/// A number for each bucket and head, which a score gets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Relative {
    /// `[buckets, heads]` as a vector: twice as many buckets where tokens attend to those behind them too, whose distances come
    /// after those of the tokens before.
    pub table: WeightId,
    /// The buckets of a side.
    pub buckets: Buckets,
}

/// The buckets of distances in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buckets {
    /// How many: 2 or more.
    pub count: usize,
    /// The distance from which on all are in the last one: more than [`Buckets::exact`].
    pub max_distance: usize,
}

/// The logarithm of a bucket's first distance may come out a little too small; with the few dozen buckets that models have, no
/// other distance is that near to the next one.
const MARGIN: f32 = 1e-4;

impl Buckets {
    /// Distances below it have a bucket each.
    pub fn exact(self) -> usize {
        self.count / 2
    }

    /// Buckets for which a distance grows e-fold, beyond those.
    pub fn factor(self) -> f32 {
        let exact = self.exact().max(1) as f64;
        ((self.count - self.exact()) as f64 / (self.max_distance as f64 / exact).ln()) as f32
    }

    /// The bucket of a distance.
    pub fn of(self, distance: usize) -> usize {
        let exact = self.exact();
        if distance < exact {
            return distance;
        }
        let logarithm = (distance as f32 / exact.max(1) as f32).ln();
        (exact + (logarithm * self.factor() + MARGIN) as usize).min(self.count.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::Buckets;

    /// The first distance of each bucket, by torch: where `_relative_position_bucket(distances, False, count, max)` changes.
    #[test]
    fn buckets_begin_where_torch_has_them() {
        for (count, max_distance, expected) in [
            (16, 128, vec![0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91]),
            (16, 64, vec![0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 14, 18, 23, 30, 39, 50]),
            (
                32,
                128,
                vec![
                    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59,
                    67, 77, 87, 99, 113,
                ],
            ),
            (4, 20, vec![0, 1, 2, 7]),
            (6, 100, vec![0, 1, 2, 3, 10, 32]),
        ] {
            let buckets = Buckets { count, max_distance };
            let starts: Vec<usize> = (0..1000).filter(|d| *d == 0 || buckets.of(*d) != buckets.of(*d - 1)).collect();
            assert_eq!(starts, expected, "{count}, {max_distance}");
            assert_eq!(buckets.of(usize::MAX), count - 1);
        }
    }
}
