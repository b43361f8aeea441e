//! What a text begins with: tokens, by their ids or by rows in the embeddings' place, and their positions.

use std::ops::Range;

use super::{GenerationError, check_ids, check_length};

/// A text's tokens.
#[derive(Debug, Clone, Copy, Default)]
pub struct Prompt<'a> {
    /// An id for each; those of tokens that have a row don't count.
    pub ids: &'a [u32],
    /// Rows as the embedding has them, `[n, embeds]`: they are read in the place of the first n tokens' own.
    pub embeds: &'a [f32],
    /// The first tokens' positions, which those behind them go on from. Empty: each token's is its place.
    pub position_ids: &'a [u32],
}

/// What a model can read.
#[derive(Debug, Clone, Copy)]
pub struct Readable {
    /// Tokens known.
    pub vocab_size: usize,
    /// Numbers of a row that can be read in an embedding's place; 0: none can.
    pub embeds: usize,
    /// How many tokens a text may have, where there is a limit.
    pub tokens: Option<usize>,
    /// How many positions there are, where there is a limit.
    pub positions: Option<usize>,
}

/// Tokens that run together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Their places.
    pub range: Range<usize>,
    /// Whether they are read by their rows.
    pub given: bool,
}

impl<'a> Prompt<'a> {
    /// Tokens by their ids.
    pub fn of(ids: &'a [u32]) -> Prompt<'a> {
        Prompt { ids, ..Prompt::default() }
    }

    /// Whether its ids say all of it.
    pub fn is_ids_alone(&self) -> bool {
        self.embeds.is_empty() && self.position_ids.is_empty()
    }

    /// Fails where a model can't read it.
    ///
    /// # Errors
    /// `INPUT_IDS`, `CONTEXT_LENGTH`
    pub fn check(&self, readable: &Readable) -> Result<(), GenerationError> {
        let Readable { vocab_size, embeds: width, tokens, positions } = *readable;
        let rows = self.given(width);
        if !self.embeds.is_empty() && (rows * width != self.embeds.len() || rows > self.ids.len()) {
            let (numbers, tokens) = (self.embeds.len(), self.ids.len());
            return Err(GenerationError::Embeds { numbers, tokens, width });
        }
        if rows == 0 || rows < self.ids.len() {
            check_ids(self.ids, vocab_size)?;
        }
        let (given, tokens_read) = (self.position_ids.len(), self.ids.len());
        if given > tokens_read {
            return Err(GenerationError::Positions { positions: given, tokens: tokens_read });
        }
        if let Some(most) = positions
            && let Some(place) = self.position_ids.iter().position(|id| *id as usize >= most)
        {
            let id = self.position_ids.get(place).copied().unwrap_or_default();
            return Err(GenerationError::UnknownPosition { place, id, most });
        }
        check_length(tokens_read, tokens)
    }

    /// How many tokens are read by rows of this width.
    pub fn given(&self, width: usize) -> usize {
        self.embeds.len().checked_div(width).unwrap_or(0)
    }

    /// The tokens in these places, so many at most at a time, and those that are read by rows of this width apart from the others.
    pub fn chunks(&self, range: Range<usize>, most: usize, width: usize) -> impl Iterator<Item = Chunk> + use<> {
        let given = self.given(width);
        let mut next = range.start;
        std::iter::from_fn(move || {
            let is_given = next < given;
            let limit = if is_given { given.min(range.end) } else { range.end };
            let end = next.saturating_add(most.max(1)).min(limit);
            let chunk = Chunk { range: next..end, given: is_given };
            next = end;
            (!chunk.range.is_empty()).then_some(chunk)
        })
    }
}

/// Where a text's tokens are, whose first ones have been told their positions.
#[derive(Debug, Clone, Default)]
pub struct Positions {
    given: Vec<u32>,
}

impl Positions {
    /// Of tokens the first of which have these.
    pub fn of(given: &[u32]) -> Positions {
        Positions { given: given.to_vec() }
    }

    /// Whether none was told.
    pub fn are_places(&self) -> bool {
        self.given.is_empty()
    }

    /// A token's position, by its place: behind those that were told it goes on from the last.
    pub fn at(&self, place: usize) -> u32 {
        let beyond = |from: usize| u32::try_from(place - from).unwrap_or(u32::MAX);
        match (self.given.get(place), self.given.last()) {
            (Some(position), _) => *position,
            (None, Some(last)) => last.saturating_add(beyond(self.given.len() - 1)),
            (None, None) => beyond(0),
        }
    }

    /// How long a text of `length` tokens is for ropes that ask: as far as its furthest position.
    pub fn length(&self, length: usize) -> usize {
        let Some(furthest) = self.given.iter().max() else { return length };
        let last = if length > self.given.len() { self.at(length - 1) } else { 0 };
        (last.max(*furthest) as usize).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READABLE: Readable = Readable { vocab_size: 10, embeds: 2, tokens: Some(6), positions: Some(8) };

    #[test]
    fn what_a_model_cannot_read_is_told() {
        let code = |prompt: Prompt<'_>| prompt.check(&READABLE).map_err(|error| error.code());
        let [ids, embeds] = [&[1, 2, 3], &[9, 99, 99]];
        assert_eq!(code(Prompt::of(ids)), Ok(()));
        assert_eq!(code(Prompt::of(embeds)), Err("INPUT_IDS"));
        assert_eq!(code(Prompt::of(&[])), Err("INPUT_IDS"));
        assert_eq!(code(Prompt::of(&[1; 7])), Err("CONTEXT_LENGTH"));
        // Ids that don't count may be any.
        assert_eq!(code(Prompt { embeds: &[0.0; 6], ..Prompt::of(embeds) }), Ok(()));
        assert_eq!(code(Prompt { embeds: &[0.0; 4], ..Prompt::of(embeds) }), Err("INPUT_IDS"));
        for numbers in [1, 5, 8] {
            assert_eq!(code(Prompt { embeds: &vec![0.0; numbers], ..Prompt::of(ids) }), Err("INPUT_IDS"));
        }
        assert_eq!(code(Prompt { position_ids: &[7, 0, 7], ..Prompt::of(ids) }), Ok(()));
        assert_eq!(code(Prompt { position_ids: &[7, 8], ..Prompt::of(ids) }), Err("INPUT_IDS"));
        assert_eq!(code(Prompt { position_ids: &[0; 4], ..Prompt::of(ids) }), Err("INPUT_IDS"));
        let none = Readable { embeds: 0, positions: None, ..READABLE };
        assert!(Prompt { embeds: &[0.0; 6], ..Prompt::of(ids) }.check(&none).is_err());
        assert!(Prompt { position_ids: &[u32::MAX], ..Prompt::of(ids) }.check(&none).is_ok());
    }

    #[test]
    fn chunks_are_of_one_kind() {
        let prompt = Prompt { embeds: &[0.0; 10], ..Prompt::of(&[0; 9]) };
        let chunks = |from| {
            let chunks = prompt.chunks(from..9, 3, 2);
            chunks.map(|chunk| (chunk.range.start, chunk.range.end, chunk.given)).collect::<Vec<_>>()
        };
        assert_eq!(chunks(0), [(0, 3, true), (3, 5, true), (5, 8, false), (8, 9, false)]);
        assert_eq!(chunks(4), [(4, 5, true), (5, 8, false), (8, 9, false)]);
        assert_eq!(chunks(9), []);
        let all: Vec<_> = Prompt::of(&[0; 9]).chunks(0..9, usize::MAX, 0).collect();
        assert_eq!(all, [Chunk { range: 0..9, given: false }]);
    }

    #[test]
    fn positions_go_on_from_the_last_one() {
        let places = Positions::default();
        assert_eq!((places.at(0), places.at(7), places.length(9)), (0, 7, 9));
        let given = Positions::of(&[5, 9, 2]);
        assert_eq!([0, 1, 2, 3, 6].map(|place| given.at(place)), [5, 9, 2, 3, 6]);
        assert_eq!([1, 3, 4, 10, 11].map(|length| given.length(length)), [10, 10, 10, 10, 11]);
        assert_eq!(Positions::of(&[u32::MAX]).at(4), u32::MAX);
    }
}
