//! Generation: what is asked, which token comes next, when to stop.

mod beams;
mod chooser;
mod options;
mod processors;
mod prompt;
mod sample;
mod whisper;

pub use beams::Beams;
pub use chooser::{Chooser, likeliest};
pub use options::GenerateOptions;
pub use prompt::{Chunk, Positions, Prompt, Readable};
pub use whisper::{TimestampRules, WhisperRules};

/// Why a model can't do what was asked of it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum GenerationError {
    /// There is nothing to continue.
    #[error("input_ids is empty; give at least one token")]
    EmptyInput,
    /// An id that the model has no embedding for.
    #[error(
        "input_ids[{position}] is {id}, and the vocabulary has the ids 0 to {last}; does the tokenizer belong to this model?"
    )]
    UnknownId {
        /// Where in the input.
        position: usize,
        /// The id.
        id: u32,
        /// The largest id known.
        last: usize,
    },
    /// A type that the model has no embedding for.
    #[error("token_type_ids[{position}] is {id}, and the model knows {types} types, from 0 on")]
    UnknownType {
        /// Where in the input.
        position: usize,
        /// The type.
        id: u32,
        /// How many there are.
        types: usize,
    },
    /// There are not as many types as tokens.
    #[error("token_type_ids has {types} entries for {tokens} input_ids")]
    Types {
        /// How many were given.
        types: usize,
        /// How many tokens.
        tokens: usize,
    },
    /// There is not a row of the model's width for each token.
    #[error("{numbers} numbers can't be {tokens} rows of {width}")]
    Features {
        /// How many were given.
        numbers: usize,
        /// How many tokens.
        tokens: usize,
        /// Numbers of a row; 0: the model reads ids.
        width: usize,
    },
    /// There are not whole rows for some of the tokens.
    #[error("inputs_embeds has {numbers} numbers for {tokens} tokens, and this model reads rows of {width} (0: none)")]
    Embeds {
        /// How many were given.
        numbers: usize,
        /// How many tokens.
        tokens: usize,
        /// Numbers of a row; 0: the model reads none.
        width: usize,
    },
    /// No token comes behind those that were read before, or the model keeps nothing of those.
    #[error(
        "past_key_values are of {past} tokens, and the text has {tokens}; a decoder goes on from them, with one token at least"
    )]
    Past {
        /// How many were read.
        past: usize,
        /// Tokens of the text.
        tokens: usize,
    },
    /// There are more positions than tokens.
    #[error("position_ids has {positions} entries for {tokens} tokens")]
    Positions {
        /// How many were given.
        positions: usize,
        /// How many tokens.
        tokens: usize,
    },
    /// A position that the model has not learned.
    #[error("position_ids[{place}] is {id}, and the model has learned {most} positions, from 0 on")]
    UnknownPosition {
        /// Where in the input.
        place: usize,
        /// The position.
        id: u32,
        /// How many there are.
        most: usize,
    },
    /// An image of another size than the model's.
    #[error(
        "pixel_values of an image are {numbers} numbers of shape {found:?}, and the model takes {expected:?}; \
         does the image processor belong to this model?"
    )]
    ImageSize {
        /// The shape given.
        found: Vec<usize>,
        /// How many numbers were given.
        numbers: usize,
        /// Channels, height and width of the model's images.
        expected: [usize; 3],
    },
    /// An image for a model that reads tokens.
    #[error("{class} reads input_ids and no pixel_values")]
    NoImages {
        /// The model's class.
        class: String,
    },
    /// An option's value makes no sense.
    #[error("{option} is {value}; {expected}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What was given.
        value: String,
        /// What can be given.
        expected: &'static str,
    },
    /// The text has more tokens than a model that has learned its positions has positions.
    #[error(
        "{tokens} tokens are more than the {most} positions that the model has learned; \
         give fewer input_ids, or ask for fewer new tokens"
    )]
    TooLong {
        /// Tokens of the text.
        tokens: usize,
        /// The positions that there are.
        most: usize,
    },
    /// A model without a head has no next token.
    #[error("{class} has no language model head, so that it can't choose tokens; load it as AutoModelForCausalLM")]
    NoHead {
        /// The model's class.
        class: String,
    },
    /// The caller gave up.
    #[error("aborted")]
    Aborted,
    /// The model has been disposed.
    #[error("the model has been disposed; load it again")]
    Disposed,
}

impl GenerationError {
    /// The stable code that JavaScript sees.
    pub fn code(&self) -> &'static str {
        match self {
            GenerationError::EmptyInput
            | GenerationError::UnknownId { .. }
            | GenerationError::UnknownType { .. }
            | GenerationError::Types { .. }
            | GenerationError::Embeds { .. }
            | GenerationError::Past { .. }
            | GenerationError::Positions { .. }
            | GenerationError::UnknownPosition { .. }
            | GenerationError::Features { .. } => "INPUT_IDS",
            GenerationError::ImageSize { .. } | GenerationError::NoImages { .. } => "PIXEL_VALUES",
            GenerationError::Option { .. } => "UNSUPPORTED_OPTION",
            GenerationError::TooLong { .. } => "CONTEXT_LENGTH",
            GenerationError::NoHead { .. } => "NO_HEAD",
            GenerationError::Aborted => "ABORTED",
            GenerationError::Disposed => "DISPOSED",
        }
    }
}

/// Fails where a text of so many tokens goes beyond the positions that a model has learned.
pub fn check_length(tokens: usize, positions: Option<usize>) -> Result<(), GenerationError> {
    match positions {
        Some(most) if tokens > most => Err(GenerationError::TooLong { tokens, most }),
        _ => Ok(()),
    }
}

/// Fails where a text of so many tokens has none behind those that were read before, or where nothing can have been.
pub fn check_past(past: usize, tokens: usize, keeps: bool) -> Result<(), GenerationError> {
    if past == 0 || (keeps && past < tokens) { Ok(()) } else { Err(GenerationError::Past { past, tokens }) }
}

/// Fails where `ids` is empty or has an id outside a vocabulary of `vocab_size` tokens.
pub fn check_ids(ids: &[u32], vocab_size: usize) -> Result<(), GenerationError> {
    if ids.is_empty() {
        return Err(GenerationError::EmptyInput);
    }
    match ids.iter().position(|id| *id as usize >= vocab_size) {
        Some(position) => Err(GenerationError::UnknownId {
            position,
            id: ids.get(position).copied().unwrap_or_default(),
            last: vocab_size.saturating_sub(1),
        }),
        None => Ok(()),
    }
}

/// Fails where `types`, if there are some, aren't one for each token, of those that a model has.
pub fn check_types(types: &[u32], tokens: usize, known: usize) -> Result<(), GenerationError> {
    if !types.is_empty() && types.len() != tokens {
        return Err(GenerationError::Types { types: types.len(), tokens });
    }
    // A model without types takes the first one for none.
    match types.iter().position(|id| *id as usize >= known.max(1)) {
        Some(position) => {
            let id = types.get(position).copied().unwrap_or_default();
            Err(GenerationError::UnknownType { position, id, types: known })
        }
        None => Ok(()),
    }
}

/// Fails where so many numbers aren't `tokens` rows of `width`.
pub fn check_features(numbers: usize, tokens: usize, width: usize) -> Result<(), GenerationError> {
    match tokens.checked_mul(width) {
        Some(needed) if needed == numbers => Ok(()),
        _ => Err(GenerationError::Features { numbers, tokens, width }),
    }
}
