//! Tokenizers and chat templates.

/// Why a text could not be tokenized or a template rendered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {}

impl TextError {
    /// The stable code that JavaScript sees.
    pub fn code(&self) -> &'static str {
        match *self {}
    }
}
