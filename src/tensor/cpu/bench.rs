//! What a thread that computes beside another one works at.

use std::collections::HashMap;

use super::crew::{Order, bytes_of};
use super::product::{Outcome, Scratch, product};
use super::{CpuError, Matrix, resize};

/// What a hand works at: its parts of matrices.
#[derive(Default)]
pub struct Bench {
    matrices: HashMap<u32, Matrix>,
    scratch: Scratch,
    floats: Vec<f32>,
    sums: Vec<f32>,
}

impl Bench {
    /// Does as it is told, and puts what it has to answer into `answer`.
    ///
    /// # Errors
    /// [`CpuError::OutOfMemory`]; where it is told what makes no sense, that.
    pub fn obey(&mut self, order: &Order, given: &[u8], answer: &mut Vec<u8>) -> Result<(), CpuError> {
        let missing = |id: &u32| CpuError::refused(format!("with part {id}, which isn't there"));
        answer.clear();
        match order {
            Order::Make { id, rows, cols, storage } => {
                let mut matrix = Matrix::new("a part of a weight", rows.len(), *cols, *storage)?;
                matrix.first = rows.start;
                self.matrices.insert(*id, matrix);
            }
            Order::Drop { id } => {
                self.matrices.remove(id);
            }
            Order::Take { id, incoming } => {
                let matrix = self.matrices.get_mut(id).ok_or_else(|| missing(id))?;
                matrix.take(incoming, given, &mut self.floats)?;
            }
            Order::Multiply { id } => {
                let matrix = self.matrices.get(id).ok_or_else(|| missing(id))?;
                let Bench { floats, sums, scratch, .. } = self;
                floats.clear();
                floats.extend(given.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)));
                let tokens = floats.len() / matrix.stride.max(1);
                sums.clear();
                resize(sums, tokens * matrix.rows, "sums")?;
                product(matrix, floats, sums, matrix.rows, Outcome::default(), scratch)?;
                answer.extend_from_slice(bytes_of(sums));
            }
            Order::Read { id, rows } => {
                let matrix = self.matrices.get(id).ok_or_else(|| missing(id))?;
                answer.extend_from_slice(matrix.own_bytes(rows.clone()));
            }
        }
        Ok(())
    }
}
