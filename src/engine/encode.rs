//! What an encoder reads before a text is written of it: its blocks run once, and leave keys and values in caches.

use super::between::Between;
use super::forward::{Output, Run, Tokens};
use super::offload::Way;
use super::runner::Runner;
use super::session::Session;
use crate::Result;
use crate::generation::{GenerationError, check_features, check_ids, check_length};
use crate::hub::Abort;
use crate::models::EncoderShape;

/// What an encoder reads.
#[derive(Debug, Clone, Copy, Default)]
pub struct Source<'a> {
    /// Tokens' ids, or none.
    pub ids: &'a [u32],
    /// Rows of the width that the encoder takes, or none.
    pub features: &'a [f32],
}

/// How much a source is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Size {
    /// Rows that the first block runs over.
    pub rows: usize,
    /// Tokens that the others run over.
    pub tokens: usize,
}

impl Source<'_> {
    /// How much it is for an encoder.
    ///
    /// # Errors
    /// `INPUT_IDS` where it isn't what the encoder reads; `CONTEXT_LENGTH`
    pub(super) fn size(&self, encoder: &EncoderShape, vocab_size: usize) -> Result<Size, GenerationError> {
        let size = match encoder.features {
            0 => {
                check_ids(self.ids, vocab_size)?;
                check_features(self.features.len(), 0, 0)?;
                Size { rows: self.ids.len(), tokens: self.ids.len() }
            }
            width => {
                // Two rows make a token.
                // Sound is padded to the length that the encoder was made for.
                let tokens = encoder.positions.unwrap_or(self.features.len() / (2 * width)).max(1);
                check_features(self.features.len(), 2 * tokens, width)?;
                Size { rows: 2 * tokens, tokens }
            }
        };
        check_length(size.tokens, encoder.positions)?;
        Ok(size)
    }
}

impl Runner {
    /// Lets the encoder read: its blocks are computed by `ways`, and what they leave is where those of `writing` read it. Gives
    /// its last hidden state, in rows, where `between` says that somebody wants to see what comes of it.
    pub(super) async fn read(
        &self,
        session: &mut Session,
        source: Source<'_>,
        ways: &[Way],
        writing: &[Way],
        mut between: Option<&mut Between>,
        abort: &Abort,
    ) -> Result<Vec<f32>> {
        let shape = self.model.shape();
        let Some(encoder) = &shape.encoder else { return Ok(Vec::new()) };
        let size = source.size(encoder, shape.vocab_size)?;
        let shows = between.as_ref().is_some_and(|between| between.shows());
        let run = |from, to| Run { shows, ..Run::output(ways, (from, to)) };
        let tokens = |count, ids| Tokens { position: 0, length: count, count, ids: Some(ids), types: &[], read: 0 };
        let none = vec![0; size.rows];
        let mut first = 0;
        let mut left = None;
        if encoder.features > 0 {
            self.begin(session, tokens(size.rows, &none))?;
            self.give(session, source.features).await?;
            left = Some(self.run(session, run(0, 1), None, None, abort).await?);
            // The step that is written next must not be read by what runs now.
            left = self.submit(left)?;
            first = 1;
        }
        let ids = if encoder.features > 0 { none.get(..size.tokens).unwrap_or_default() } else { source.ids };
        self.begin(session, tokens(size.tokens, ids))?;
        left = Some(self.run(session, run(first, encoder.ends + 1), left, between.as_deref_mut(), abort).await?);
        let mut rows = Vec::new();
        if let Some(between) = between {
            (left, rows) = self.read_state(session, run(0, 0), encoder.ends, left).await?;
            between.states.iter_mut().for_each(|states| states.push(rows.clone()));
        }
        left = Some(self.run(session, run(encoder.ends + 1, encoder.blocks), left, None, abort).await?);
        self.submit(left)?;
        self.move_caches(session, ways, writing, size.tokens, true).await?;
        session.read = size.tokens;
        Ok(rows)
    }

    /// Submits what has been encoded, and goes on with another encoder.
    fn submit(&self, left: Option<Output>) -> Result<Option<Output>> {
        Ok(match left {
            Some(Output::Gpu(encoder)) => {
                encoder.submit();
                Some(Output::Gpu(self.on_gpu()?.gpu.encoder()))
            }
            left => left,
        })
    }
}
