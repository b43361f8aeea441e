//! What `generate` is asked for, with transformers' names, meanings and defaults.

use super::{GenerationError, TimestampRules, WhisperRules};
use crate::config::{EarlyStopping, GenerationConfig};

/// Options of one call of `generate`; what is `None` comes from the model's generation config, then from the default.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GenerateOptions {
    /// New tokens at most. Wins over `max_length`.
    pub max_new_tokens: Option<usize>,
    /// Prompt and new tokens at most.
    pub max_length: Option<usize>,
    /// New tokens before which the text can't end. Wins over `min_length`.
    pub min_new_tokens: Option<usize>,
    /// Prompt and new tokens before which the text can't end.
    pub min_length: Option<usize>,
    /// Any of these ends the text. An empty list: none does. In JSON also a single id.
    #[serde(deserialize_with = "one_or_many")]
    pub eos_token_id: Option<Vec<u32>>,
    /// Taken for transformers' sake: one text needs no padding.
    pub pad_token_id: Option<u32>,
    /// Taken for transformers' sake: the prompt is never empty.
    pub bos_token_id: Option<u32>,
    /// Above 0. Above 1: tokens that the text already has, the prompt's included, become less likely. Default 1.
    pub repetition_penalty: Option<f64>,
    /// So many tokens in a row that the text already has, the prompt's included, don't come again. Default 0: any may.
    pub no_repeat_ngram_size: Option<usize>,
    /// These ids, each list in its order, are not said, but for one that ends the text by itself.
    pub bad_words_ids: Option<Vec<Vec<u32>>>,
    /// For beam search: whether the probabilities of what may be said add up to 1 again. Default false.
    pub renormalize_logits: Option<bool>,
    /// How many texts are looked at side by side, the likeliest so far: beam search. Default 1.
    pub num_beams: Option<usize>,
    /// How many of them are given, best first: at most `num_beams`. Default 1.
    pub num_return_sequences: Option<usize>,
    /// For beam search: a text's score is divided by its new tokens' count to this power. Default 1.
    pub length_penalty: Option<f64>,
    /// For beam search: when to stop. Default `false`.
    pub early_stopping: Option<EarlyStopping>,
    /// For beam search: the first new token of a prompt of one. Taken from here alone.
    pub forced_bos_token_id: Option<u32>,
    /// For beam search: the last token, any of these, of the longest text. Taken from here alone.
    #[serde(deserialize_with = "one_or_many")]
    pub forced_eos_token_id: Option<Vec<u32>>,
    /// Draw tokens at random, by their probabilities, rather than take the likeliest each time. Default false.
    pub do_sample: Option<bool>,
    /// Above 0, for sampling: below 1 sharpens the probabilities, above 1 evens them out. Default 1.
    pub temperature: Option<f64>,
    /// For sampling: keeps so many of the likeliest tokens, and equals of the last one. 0 keeps all. Default 50.
    pub top_k: Option<usize>,
    /// Above 0 and up to 1, for sampling: keeps the likeliest tokens that together have this probability. Default 1.
    pub top_p: Option<f64>,
    /// From 0 to 1, for sampling: keeps tokens of at least this share of the likeliest one's probability. Default 0.
    pub min_p: Option<f64>,
    /// For sampling: the same seed, with the same logits, gives the same tokens. Default: another one each time.
    pub seed: Option<u64>,
    /// Never said.
    pub suppress_tokens: Option<Vec<u32>>,
    /// Not said right after the prompt.
    pub begin_suppress_tokens: Option<Vec<u32>>,
    /// Whisper's: whether times are said, by its rules. The prompt then doesn't end with `no_timestamps_token_id`. Default
    /// false.
    pub return_timestamps: Option<bool>,
    /// For `return_timestamps`: timestamps are the ids above it.
    pub no_timestamps_token_id: Option<u32>,
    /// For `return_timestamps`: the latest timestamp that a text may begin with. Default: any.
    pub max_initial_timestamp_index: Option<u32>,
}

/// New tokens where nothing says how many.
const DEFAULT_NEW_TOKENS: usize = 20;

impl GenerateOptions {
    /// How many tokens may follow a prompt of `prompt` tokens.
    pub fn new_tokens(&self, config: &GenerationConfig, prompt: usize) -> Result<usize, GenerationError> {
        let room = |length: usize| length.saturating_sub(prompt);
        let count = self
            .max_new_tokens
            .or(self.max_length.map(room))
            .or(config.max_new_tokens)
            .or(config.max_length.map(room))
            .unwrap_or(DEFAULT_NEW_TOKENS);
        if count == 0 {
            return Err(GenerationError::Option {
                option: if self.max_new_tokens.is_some() { "max_new_tokens" } else { "max_length" },
                value: self.max_new_tokens.or(self.max_length).unwrap_or_default().to_string(),
                expected: "there must be room for at least one token after the prompt",
            });
        }
        Ok(count)
    }

    /// How many tokens, a prompt of `prompt` tokens included, there must be before the text may end.
    pub fn min_length(&self, config: &GenerationConfig, prompt: usize) -> usize {
        let after = |new: usize| prompt.saturating_add(new);
        self.min_new_tokens
            .map(after)
            .or(self.min_length)
            .or(config.min_new_tokens.map(after))
            .or(config.min_length)
            .unwrap_or(0)
    }

    /// Which tokens end the text.
    pub fn eos(&self, config: &GenerationConfig) -> Vec<u32> {
        self.eos_token_id.clone().unwrap_or_else(|| config.eos_token_id.clone())
    }

    /// What may not be said; `None`: nothing is forbidden.
    pub(super) fn whisper_rules(&self, config: &GenerationConfig) -> Result<Option<WhisperRules>, GenerationError> {
        let ids = |own: &Option<Vec<u32>>, otherwise: &Vec<u32>| own.as_ref().unwrap_or(otherwise).clone();
        let timestamps = match self.return_timestamps {
            Some(true) => Some(self.timestamp_rules(config)?),
            _ => None,
        };
        let rules = WhisperRules {
            suppress_tokens: ids(&self.suppress_tokens, &config.suppress_tokens),
            begin_suppress_tokens: ids(&self.begin_suppress_tokens, &config.begin_suppress_tokens),
            timestamps,
        };
        Ok((rules != WhisperRules::default()).then_some(rules))
    }

    fn timestamp_rules(&self, config: &GenerationConfig) -> Result<TimestampRules, GenerationError> {
        let lacks =
            |expected| GenerationError::Option { option: "return_timestamps", value: "true".to_owned(), expected };
        let no_timestamps = self.no_timestamps_token_id.or(config.no_timestamps_token_id);
        let eos = self.eos(config).first().copied().or(config.bos_token_id);
        Ok(TimestampRules {
            no_timestamps_token_id: no_timestamps
                .ok_or_else(|| lacks("it needs a no_timestamps_token_id, which generation_config.json lacks"))?,
            eos_token_id: eos.ok_or_else(|| lacks("it needs an eos_token_id, which generation_config.json lacks"))?,
            max_initial_timestamp_index: self.max_initial_timestamp_index.or(config.max_initial_timestamp_index),
        })
    }
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u32>>, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(untagged, expecting = "eos_token_id must be a token id or a list of token ids")]
    enum Ids {
        One(u32),
        Many(Vec<u32>),
    }
    let ids: Option<Ids> = serde::Deserialize::deserialize(deserializer)?;
    Ok(ids.map(|ids| match ids {
        Ids::One(id) => vec![id],
        Ids::Many(ids) => ids,
    }))
}
