//! Integers in the place of floats: a row's elements in a few bits each, and a scale for each group of neighbours.

/// How many bits an integer takes. They are without a sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Integers {
    /// Four
    Int4,
    /// Eight
    Int8,
}

impl Integers {
    /// Those of so many bits, if there are such.
    pub const fn of_bits(bits: usize) -> Option<Integers> {
        match bits {
            4 => Some(Integers::Int4),
            8 => Some(Integers::Int8),
            _ => None,
        }
    }

    /// Bits of each.
    pub const fn bits(self) -> usize {
        match self {
            Integers::Int4 => 4,
            Integers::Int8 => 8,
        }
    }

    /// How many a word of 32 bits has, the first in its lowest bits.
    pub const fn a_word(self) -> usize {
        32 / self.bits()
    }

    /// The one that means zero where groups have none of their own: the middle.
    pub const fn middle(self) -> u32 {
        1 << (self.bits() - 1)
    }
}

/// How a row of a matrix of integers lies in memory, wherever that is: a line of words, first the integers, then a float32 scale for
/// each group; where groups have zeros of their own, then those, as float32 too. An element is `(integer - zero) · scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Grouped {
    /// The integers.
    pub integers: Integers,
    /// Elements of a row: a multiple of [`Grouped::UNIT`].
    pub cols: usize,
    /// Elements that share a scale: a multiple of [`Grouped::UNIT`] that divides `cols`.
    pub group: usize,
    /// Whether groups have zeros of their own.
    pub zeros: bool,
}

impl Grouped {
    /// Elements that are taken together.
    pub const UNIT: usize = 32;

    /// Groups of a row.
    pub const fn groups(&self) -> usize {
        self.cols / self.group
    }

    /// Words of a row's integers.
    pub const fn integer_words(&self) -> usize {
        self.cols / self.integers.a_word()
    }

    /// Words of a row.
    pub const fn words(&self) -> usize {
        self.integer_words() + self.groups() * if self.zeros { 2 } else { 1 }
    }

    /// Words from one row to the next: whole quads.
    pub const fn line(&self) -> usize {
        self.words().next_multiple_of(4)
    }

    /// Whether rows are whole numbers of units and groups.
    pub const fn is_whole(&self) -> bool {
        let Grouped { cols, group, .. } = *self;
        group > 0 && group.is_multiple_of(Self::UNIT) && cols > 0 && cols.is_multiple_of(group)
    }
}

#[cfg(test)]
#[cfg(feature = "engine")]
pub(crate) mod testing {
    use super::*;

    /// Rows of such a matrix by random numbers of -1 to 1: their lines without the padding, and their elements.
    pub fn random_rows(grouped: Grouped, rows: usize, mut random: impl FnMut() -> f64) -> (Vec<u32>, Vec<f32>) {
        let (mut lines, mut elements) = (Vec::new(), Vec::new());
        let most = grouped.integers.middle() * 2 - 1;
        for _ in 0..rows {
            let mut integer = || ((random() + 1.0) / 2.0 * f64::from(most)).round() as u32;
            let integers: Vec<u32> = (0..grouped.cols).map(|_| integer()).collect();
            let of_groups: Vec<(f32, u32)> = (0..grouped.groups())
                .map(|_| if grouped.zeros { integer() } else { grouped.integers.middle() })
                .map(|zero| (zero as f32 / 997.0 + 0.01, zero))
                .collect();
            let words = integers.chunks(grouped.integers.a_word());
            lines.extend(words.map(|word| {
                let bits = grouped.integers.bits();
                word.iter().enumerate().fold(0, |word, (at, integer)| word | integer << (at * bits))
            }));
            lines.extend(of_groups.iter().map(|(scale, _)| scale.to_bits()));
            if grouped.zeros {
                lines.extend(of_groups.iter().map(|(_, zero)| (*zero as f32).to_bits()));
            }
            elements.extend(integers.iter().enumerate().map(|(at, integer)| {
                let (scale, zero) = of_groups[at / grouped.group];
                (*integer as f32 - zero as f32) * scale
            }));
        }
        (lines, elements)
    }

    /// Both kinds, of one group and of several, with zeros of their own and without; rows of `cols` elements, a multiple of 192.
    pub fn kinds(cols: usize) -> Vec<Grouped> {
        let kinds = [(Integers::Int4, 32), (Integers::Int4, 64), (Integers::Int8, 96), (Integers::Int8, cols)];
        let of = |(integers, group)| [false, true].map(|zeros| Grouped { integers, cols, group, zeros });
        kinds.into_iter().flat_map(of).collect()
    }
}
