//! Tokenizers and chat templates: text to token ids and back, a conversation to a prompt.
//!
//! The semantics are those of transformers' `TokenizersBackend` (fast tokenizers) and of its Jinja environment; the
//! work is done by the `tokenizers` and `minijinja` crates.

mod chat_template;
mod decode_stream;
mod json;
mod languages;
mod precompiled;
mod python;
mod source;
mod strftime;
mod tokenizer;
mod tokenizer_config;
mod validate;
mod vocab_files;

pub use chat_template::{ChatTemplate, RenderOptions};
pub use decode_stream::DecodeStream;
pub use languages::Languages;
pub use tokenizer::{Encoding, Tokenizer, TokenizerFiles};
pub use tokenizer_config::{ChatTemplates, TokenizerConfig};
pub use vocab_files::{Vocabulary, tokenizer_json};

/// Why a text could not be tokenized or a template rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// A tokenizer's file is not what its format says.
    #[error("{file} can't be used: {reason}")]
    File {
        /// `tokenizer.json`, `tokenizer_config.json`, …
        file: &'static str,
        /// What is wrong, and where in the file.
        reason: String,
    },
    /// A text could not be encoded, or ids not decoded.
    #[error("the tokenizer can't {action}: {reason}")]
    Tokenizer {
        /// `encode` or `decode`.
        action: &'static str,
        /// What the tokenizer said.
        reason: String,
    },
    /// The tokenizer knows no languages.
    #[error("the tokenizer knows no languages, and so not {language:?}: those of NLLB and mBART do")]
    NoLanguages {
        /// What was asked for.
        language: String,
    },
    /// The tokenizer has no such language.
    #[error("the tokenizer has no language {language:?}; its own are such as {example:?}")]
    Language {
        /// What was asked for.
        language: String,
        /// The language of texts of which nothing is said.
        example: String,
    },
    /// The model has no template to use.
    #[error("{0}")]
    NoChatTemplate(String),
    /// A template doesn't compile, or failed while it was rendered.
    #[error("the chat template failed{}: {message}", line.map(|n| format!(" on line {n}")).unwrap_or_default())]
    ChatTemplate {
        /// The template's line, from 1.
        line: Option<usize>,
        /// What went wrong; for `raise_exception` the template's own words.
        message: String,
    },
    /// The conversation or an option is not what a template takes.
    #[error("{0}")]
    ChatInput(String),
}

impl TextError {
    /// The stable code that JavaScript sees.
    pub fn code(&self) -> &'static str {
        match self {
            TextError::File { .. }
            | TextError::Tokenizer { .. }
            | TextError::NoLanguages { .. }
            | TextError::Language { .. } => "TOKENIZER",
            TextError::NoChatTemplate(_) | TextError::ChatTemplate { .. } | TextError::ChatInput(_) => "CHAT_TEMPLATE",
        }
    }
}
