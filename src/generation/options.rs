//! What `generate` is asked for, with transformers' names, meanings and defaults.

use super::GenerationError;
use crate::config::GenerationConfig;

/// Options of one call of `generate`; what is `None` comes from the model's generation config, then from the default.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GenerateOptions {
    /// New tokens at most. Wins over `max_length`.
    pub max_new_tokens: Option<usize>,
    /// Prompt and new tokens at most.
    pub max_length: Option<usize>,
    /// Any of these ends the text. An empty list: none does.
    pub eos_token_id: Option<Vec<u32>>,
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

    /// Which tokens end the text.
    pub fn eos(&self, config: &GenerationConfig) -> Vec<u32> {
        self.eos_token_id.clone().unwrap_or_else(|| config.eos_token_id.clone())
    }
}
