//! `config.json` and `generation_config.json` as typed configs.

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {}

impl ConfigError {
    /// The stable code that JavaScript sees.
    pub fn code(&self) -> &'static str {
        match *self {}
    }
}
