//! A text that begins as the one before it went on: its first tokens' keys and values are in the caches already.

use super::offload::Way;
use super::runner::Runner;
use super::session::Session;
use crate::generation::Prompt;

impl Runner {
    /// How many of the first tokens have their keys and values in the caches, from an earlier text that began likewise, where the
    /// blocks are computed by `ways`; the last one always runs, for what comes of it. The caches count as empty until
    /// [`Runner::keep_cached`].
    pub(super) fn take_cached(&self, session: &mut Session, prompt: Prompt<'_>, ways: &[Way]) -> usize {
        let cached = std::mem::take(&mut session.cached);
        let ids = prompt.ids;
        if !prompt.is_ids_alone() || !self.caches_stay(ids.len(), ways) {
            return 0;
        }
        let same = cached.iter().zip(ids).take_while(|(old, new)| old == new).count();
        same.min(ids.len().saturating_sub(1))
    }

    /// Says that the caches have the keys and values of a text, and of what was written behind it but for the last token; they are
    /// where blocks that are computed by `ways` read them.
    pub(super) fn keep_cached(&self, session: &mut Session, prompt: Prompt<'_>, new: &[u32], ways: &[Way]) {
        let ids = prompt.ids;
        if prompt.is_ids_alone() && self.caches_stay(ids.len() + new.len(), ways) {
            session.cached.extend(ids);
            session.cached.extend(new.split_last().map(|(_, run)| run).unwrap_or_default());
        }
    }

    /// Whether the keys and values of a text of this length are as any other text has them, and where one token reads them.
    fn caches_stay(&self, length: usize, ways: &[Way]) -> bool {
        let shape = self.model.shape();
        let by_itself = shape.causal && shape.encoder.is_none();
        let turned = shape.angles_change_beyond.is_some_and(|beyond| length > beyond);
        by_itself && !turned && (self.offload.is_none() || self.gpu.is_none() || ways == self.ways(1))
    }
}
