//! What Whisper may say next: transformers' `SuppressTokensLogitsProcessor`, `SuppressTokensAtBeginLogitsProcessor`
//! and `WhisperTimeStampLogitsProcessor`. They come after all other processors, and before sampling's.

/// The rules of one transcription.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WhisperRules {
    /// Never said: what isn't speech.
    pub suppress_tokens: Vec<u32>,
    /// Not said at the beginning.
    pub begin_suppress_tokens: Vec<u32>,
    /// Where times are to be said; without, the prompt ends with `<|notimestamps|>`.
    pub timestamps: Option<TimestampRules>,
}

impl WhisperRules {
    /// Makes what may not follow minus infinity. `new_ids` are those after the prompt; `scores` has one for each id of the
    /// vocabulary.
    pub fn apply(&self, new_ids: &[u32], scores: &mut [f32]) {
        if new_ids.is_empty() {
            self.begin_suppress_tokens.iter().for_each(|id| forbid(scores, *id, 1));
        }
        self.suppress_tokens.iter().for_each(|id| forbid(scores, *id, 1));
        if let Some(timestamps) = &self.timestamps {
            timestamps.apply(new_ids, scores);
        }
    }
}

/// Times come in pairs, the end of one part and the beginning of the next, and never go back. Timestamps are the ids above
/// `no_timestamps_token_id`, 0.02 s each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimestampRules {
    /// The id of `<|notimestamps|>`.
    pub no_timestamps_token_id: u32,
    /// The id that ends a text: those below it are words.
    pub eos_token_id: u32,
    /// The latest time to begin with, as a count of timestamps; `None`: any.
    pub max_initial_timestamp_index: Option<u32>,
}

impl TimestampRules {
    fn first(&self) -> u32 {
        self.no_timestamps_token_id.saturating_add(1)
    }

    fn apply(&self, new_ids: &[u32], scores: &mut [f32]) {
        let first = self.first();
        let is_time = |id: &u32| *id >= first;
        forbid(scores, self.no_timestamps_token_id, 1);

        let mut backwards = new_ids.iter().rev();
        let last_is_time = backwards.next().is_some_and(is_time);
        // Nothing counts as a time there: the first one is alone.
        let time_before = backwards.next().is_none_or(is_time);
        match (last_is_time, time_before) {
            (true, true) => forbid(scores, first, u32::MAX),
            (true, false) => forbid(scores, 0, self.eos_token_id),
            (false, _) => {}
        }
        if let Some(latest) = new_ids.iter().rev().find(|id| is_time(id)) {
            // The end of a part may be the beginning of the next one; a part is never empty.
            let allowed = if last_is_time && !time_before { *latest } else { latest.saturating_add(1) };
            forbid(scores, first, allowed.saturating_sub(first));
        }
        if new_ids.is_empty() {
            forbid(scores, 0, first);
            if let Some(index) = self.max_initial_timestamp_index {
                forbid(scores, first.saturating_add(index).saturating_add(1), u32::MAX);
            }
        }
        self.prefer_times(scores);
    }

    /// If all times together are likelier than each other id, one of them it is.
    fn prefer_times(&self, scores: &mut [f32]) {
        let (others, times) = scores.split_at_mut((self.first() as usize).min(scores.len()));
        let largest = |scores: &[f32]| scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let likeliest = largest(times);
        if likeliest == f32::NEG_INFINITY {
            return;
        }
        let sum: f64 = times.iter().map(|score| f64::from(score - likeliest).exp()).sum();
        if f64::from(likeliest) + sum.ln() > f64::from(largest(others)) {
            others.fill(f32::NEG_INFINITY);
        }
    }
}

/// `count` ids from `first` on, as far as there are that many.
fn forbid(scores: &mut [f32], first: u32, count: u32) {
    let ids = scores.iter_mut().skip(first as usize).take(count as usize);
    ids.for_each(|score| *score = f32::NEG_INFINITY);
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn ids(value: &Value) -> Vec<u32> {
        value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
    }

    #[test]
    fn what_may_not_follow_is_what_transformers_forbids() {
        let golden: Value = serde_json::from_str(include_str!("../../tests/goldens/whisper.json")).unwrap();
        let id = |name: &str| golden["ids"][name].as_u64().unwrap() as u32;
        let cases = golden["processors"].as_array().unwrap();
        assert!(cases.len() > 100);
        for case in cases {
            let rules = WhisperRules {
                suppress_tokens: ids(&case["suppress_tokens"]),
                begin_suppress_tokens: ids(&case["begin_suppress_tokens"]),
                timestamps: case["timestamps"].as_bool().unwrap().then(|| TimestampRules {
                    no_timestamps_token_id: id("<|notimestamps|>"),
                    eos_token_id: id("<|endoftext|>"),
                    max_initial_timestamp_index: case["max_initial_timestamp_index"].as_u64().map(|at| at as u32),
                }),
            };
            let given: Vec<f32> =
                case["scores"].as_array().unwrap().iter().map(|score| score.as_f64().unwrap() as f32).collect();
            let mut scores = given.clone();
            rules.apply(&ids(&case["new_ids"]), &mut scores);
            let masked = ids(&case["masked"]);
            for (at, (score, given)) in scores.iter().zip(&given).enumerate() {
                let expected = if masked.contains(&(at as u32)) { f32::NEG_INFINITY } else { *given };
                assert_eq!(*score, expected, "{at} in {case}");
            }
        }
    }

    #[test]
    fn ids_outside_the_vocabulary_are_no_ones_business() {
        let timestamps = TimestampRules {
            no_timestamps_token_id: u32::MAX,
            eos_token_id: u32::MAX,
            max_initial_timestamp_index: Some(u32::MAX),
        };
        let rules = WhisperRules {
            suppress_tokens: vec![1, u32::MAX],
            begin_suppress_tokens: vec![9],
            timestamps: Some(timestamps),
        };
        for new_ids in [&[][..], &[u32::MAX], &[3, u32::MAX]] {
            let mut scores = [1.0, 2.0, 3.0];
            rules.apply(new_ids, &mut scores);
            assert_eq!(scores[1], f32::NEG_INFINITY);
        }
        rules.apply(&[], &mut []);
    }
}
