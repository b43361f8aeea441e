//! Ids to text, one id at a time.

use super::{TextError, Tokenizer};

/// The most ids that wait for a text to become certain before what there is counts as final.
///
/// A character spans at most four byte tokens, so this many undecided ids are bytes that will never form one.
const MAX_PENDING: usize = 32;

/// Decodes a stream of ids, giving each piece of text once, as soon as no later id can change it.
///
/// Only a short window of ids is decoded again for each new one, so a long text costs no more per token than a short
/// one. The pieces and the last [`flush`](Self::flush) together are what [`Tokenizer::decode`] gives for all ids.
#[derive(Debug, Clone)]
pub struct DecodeStream {
    skip_special_tokens: bool,
    /// The ids of the last piece, kept because a decoder treats the first id of a text differently, then the new ones.
    window: Vec<u32>,
    /// How many of the window's ids belong to the last piece.
    context: usize,
    /// How many bytes of the window's text were given already.
    given: usize,
}

impl DecodeStream {
    /// An empty stream; `skip_special_tokens` as in [`Tokenizer::decode`].
    pub fn new(skip_special_tokens: bool) -> Self {
        Self { skip_special_tokens, window: Vec::new(), context: 0, given: 0 }
    }

    /// Takes the next id; gives the text that became certain with it, if any.
    ///
    /// `tokenizer` must be the same for every call.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> Result<Option<String>, TextError> {
        self.window.push(id);
        let text = tokenizer.decode(&self.window, self.skip_special_tokens)?;
        let undecided = self.window.len() - self.context > MAX_PENDING;
        let end = if undecided { text.len() } else { certain(&text, tokenizer.cleans_up()) };
        let Some(piece) = text.get(self.given..end).filter(|piece| !piece.is_empty()) else {
            if undecided {
                self.window.truncate(self.context);
            }
            return Ok(None);
        };
        let piece = piece.to_owned();
        self.given = end;
        if end == text.len() {
            self.window.drain(..self.context);
            self.context = self.window.len();
            self.given = tokenizer.decode(&self.window, self.skip_special_tokens)?.len();
        }
        Ok(Some(piece))
    }

    /// Ends the stream: gives the text that was still held back, and makes the stream ready for another.
    pub fn flush(&mut self, tokenizer: &Tokenizer) -> Result<String, TextError> {
        let text = tokenizer.decode(&self.window, self.skip_special_tokens)?;
        let rest = text.get(self.given..).unwrap_or_default().to_owned();
        *self = Self::new(self.skip_special_tokens);
        Ok(rest)
    }
}

/// How many bytes of `text` no later id can change.
fn certain(text: &str, cleans_up: bool) -> usize {
    // An incomplete character shows as one replacement character, or as one a byte.
    let whole = text.trim_end_matches('\u{FFFD}');
    if !cleans_up {
        return whole.len();
    }
    // Cleaning up may still remove a space when what follows it arrives: the longest pattern is " n't".
    match whole.rfind(' ') {
        Some(space) if whole.len() - space < " n't".len() => space,
        _ => whole.len(),
    }
}
