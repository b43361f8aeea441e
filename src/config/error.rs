//! What can be wrong with a configuration.

/// Why a configuration can't be used. `file` names the repo too: "org/name: config.json".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It is not a JSON object.
    #[error("{file} is not a JSON object: {reason}")]
    Malformed {
        /// The repo and the file.
        file: String,
        /// What the parser said.
        reason: String,
    },
    /// A key is missing, of the wrong type, or has a value that no model can have.
    #[error("{file}: `{key}` is {found}, expected {expected}")]
    Invalid {
        /// The repo and the file.
        file: String,
        /// The key, dotted where it is nested.
        key: String,
        /// What is there.
        found: String,
        /// What should be.
        expected: String,
    },
    /// An architecture that Layerline doesn't have.
    #[error("{file}: model_type {model_type:?} is not supported. Supported: {}", known.join(", "))]
    UnsupportedModelType {
        /// The repo and the file.
        file: String,
        /// The model type asked for.
        model_type: String,
        /// All that there are.
        known: Vec<&'static str>,
    },
    /// An architecture that has no such head.
    #[error("{file}: {model_type} models have no head for {task}. They have: {}", known.join(", "))]
    UnsupportedTask {
        /// The repo and the file.
        file: String,
        /// The model type.
        model_type: String,
        /// The class that was asked for.
        task: &'static str,
        /// Those that there are.
        known: Vec<&'static str>,
    },
    /// A valid setting that Layerline doesn't have.
    #[error("{file}: `{key}` is {found}, which is not supported. Supported: {supported}")]
    Unsupported {
        /// The repo and the file.
        file: String,
        /// The key, dotted where it is nested.
        key: String,
        /// What is there.
        found: String,
        /// What could be.
        supported: String,
    },
    /// An override of a key that means nothing to the model.
    #[error("{file}: there is no key `{key}` to override. Keys: {}", known.join(", "))]
    UnknownKey {
        /// The repo and the file.
        file: String,
        /// The key.
        key: String,
        /// Those that the architecture has.
        known: Vec<&'static str>,
    },
}

impl ConfigError {
    /// The stable code that JavaScript sees.
    pub fn code(&self) -> &'static str {
        match self {
            ConfigError::Malformed { .. } | ConfigError::Invalid { .. } => "CONFIG_INVALID",
            ConfigError::UnsupportedModelType { .. } | ConfigError::UnsupportedTask { .. } => "UNSUPPORTED_MODEL_TYPE",
            ConfigError::Unsupported { .. } => "UNSUPPORTED_CONFIG",
            ConfigError::UnknownKey { .. } => "UNSUPPORTED_OPTION",
        }
    }
}
