//! Typed access to a JSON object, with errors that name the key, what was found and what was expected.

use serde_json::{Map, Value};

use super::ConfigError;

/// The largest count that a config may name: ids and indices are u32 on the GPU.
const MAX_COUNT: u64 = u32::MAX as u64;

/// An object, and where it is.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    file: &'a str,
    /// The keys above it, each with a dot.
    prefix: String,
    object: &'a Map<String, Value>,
    aliases: &'static [(&'static str, &'static str)],
    renamed: &'static [(&'static str, &'static str)],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(file: &'a str, object: &'a Map<String, Value>) -> Self {
        Fields { file, prefix: String::new(), object, aliases: &[], renamed: &[] }
    }

    /// Which also knows keys by another name, the second of a pair, where the first is not there.
    pub(crate) fn with_aliases(self, aliases: &'static [(&'static str, &'static str)]) -> Self {
        Fields { aliases, ..self }
    }

    /// Which knows keys by another name alone, the second of a pair: what stands under the first means something else.
    pub(crate) fn with_renamed(self, renamed: &'static [(&'static str, &'static str)]) -> Self {
        Fields { renamed, ..self }
    }

    /// The name under which a key is there, or would be.
    fn name<'k>(&self, key: &'k str) -> &'k str {
        let other =
            |names: &[(&str, &'static str)]| names.iter().find(|(name, _)| *name == key).map(|(_, other)| *other);
        match other(self.renamed) {
            Some(renamed) => renamed,
            None if self.object.contains_key(key) => key,
            None => other(self.aliases).unwrap_or(key),
        }
    }

    /// The value; a null is no value.
    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        self.object.get(self.name(key)).filter(|value| !value.is_null())
    }

    /// Whether the key is there, be it as null.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.object.contains_key(self.name(key))
    }

    /// The keys.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.object.keys().map(String::as_str)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &'a Value> {
        self.object.values()
    }

    /// An integer of at least 1.
    pub(crate) fn count(&self, key: &str) -> Result<Option<usize>, ConfigError> {
        self.typed(key, "a positive integer", |value| {
            integer(value).filter(|n| (1..=MAX_COUNT).contains(n)).and_then(|n| usize::try_from(n).ok())
        })
    }

    /// An integer of at least 0.
    pub(crate) fn count_or_zero(&self, key: &str) -> Result<Option<usize>, ConfigError> {
        self.typed(key, "an integer of 0 or more", |value| {
            integer(value).filter(|n| *n <= MAX_COUNT).and_then(|n| usize::try_from(n).ok())
        })
    }

    /// Integers of at least 0.
    #[cfg(feature = "engine")]
    pub(crate) fn counts_or_zero(&self, key: &str) -> Result<Option<Vec<usize>>, ConfigError> {
        self.typed(key, "a list of integers of 0 or more", |value| {
            let count = |value| integer(value).filter(|n| *n <= MAX_COUNT).and_then(|n| usize::try_from(n).ok());
            value.as_array()?.iter().map(count).collect()
        })
    }

    /// A finite number.
    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        self.typed(key, "a finite number", finite)
    }

    /// A finite number above 0.
    pub(crate) fn positive(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        self.typed(key, "a finite number above 0", |value| finite(value).filter(|n| *n > 0.0))
    }

    /// Finite numbers above 0.
    pub(crate) fn positives(&self, key: &str) -> Result<Option<Vec<f64>>, ConfigError> {
        self.typed(key, "a list of finite numbers above 0", |value| {
            value.as_array()?.iter().map(|value| finite(value).filter(|n| *n > 0.0)).collect()
        })
    }

    /// A list of `length` strings.
    pub(crate) fn texts(&self, key: &str, length: usize) -> Result<Option<Vec<&'a str>>, ConfigError> {
        self.typed(key, &format!("a list of {length} strings"), |value| {
            let list = value.as_array().filter(|list| list.len() == length)?;
            list.iter().map(Value::as_str).collect()
        })
    }

    /// The first `length` of a list of zeros and ones.
    #[cfg(feature = "engine")]
    pub(crate) fn switches(&self, key: &str, length: usize) -> Result<Option<Vec<bool>>, ConfigError> {
        self.typed(key, &format!("a list of at least {length} zeros and ones"), |value| {
            let list = value.as_array()?.get(..length)?;
            list.iter().map(|value| integer(value).filter(|n| *n < 2).map(|n| n == 1)).collect()
        })
    }

    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        self.typed(key, "true or false", Value::as_bool)
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>, ConfigError> {
        self.typed(key, "a string", Value::as_str)
    }

    /// One token id. A negative one, which some configs write for "none", is none.
    pub(crate) fn token_id(&self, key: &str) -> Result<Option<u32>, ConfigError> {
        Ok(self.typed(key, "a token id", optional_id)?.flatten())
    }

    /// Token ids given as one or as a list.
    pub(crate) fn token_ids(&self, key: &str) -> Result<Vec<u32>, ConfigError> {
        let ids: Option<Vec<Option<u32>>> =
            self.typed(key, "a token id or a list of token ids", |value| match value.as_array() {
                Some(list) => list.iter().map(optional_id).collect(),
                None => optional_id(value).map(|id| vec![id]),
            })?;
        Ok(ids.unwrap_or_default().into_iter().flatten().collect())
    }

    pub(crate) fn object(&self, key: &str) -> Result<Option<Fields<'a>>, ConfigError> {
        let object = self.typed(key, "an object", Value::as_object)?;
        Ok(object.map(|object| Fields {
            file: self.file,
            prefix: format!("{}{key}.", self.prefix),
            object,
            aliases: &[],
            renamed: &[],
        }))
    }

    /// `value`, or the error that the key is missing.
    pub(crate) fn require<T>(&self, key: &str, value: Option<T>) -> Result<T, ConfigError> {
        value.ok_or_else(|| self.invalid(key, "a value"))
    }

    pub(crate) fn invalid(&self, key: &str, expected: impl Into<String>) -> ConfigError {
        ConfigError::Invalid {
            file: self.file.to_owned(),
            key: format!("{}{}", self.prefix, self.name(key)),
            found: self.found(key),
            expected: expected.into(),
        }
    }

    pub(crate) fn unsupported(&self, key: &str, supported: impl Into<String>) -> ConfigError {
        ConfigError::Unsupported {
            file: self.file.to_owned(),
            key: format!("{}{}", self.prefix, self.name(key)),
            found: self.found(key),
            supported: supported.into(),
        }
    }

    fn found(&self, key: &str) -> String {
        const LONGEST: usize = 80;
        match self.object.get(self.name(key)) {
            None => "missing".to_owned(),
            Some(value) => {
                let text = value.to_string();
                match text.char_indices().nth(LONGEST) {
                    Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
                    None => text,
                }
            }
        }
    }

    pub(crate) fn typed<T>(
        &self,
        key: &str,
        expected: &str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => convert(value).map(Some).ok_or_else(|| self.invalid(key, expected)),
        }
    }
}

/// Also `8192.0`, which Python's configs hold now and then.
fn integer(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let number = value.as_f64()?;
        (number.fract() == 0.0 && (0.0..=MAX_COUNT as f64).contains(&number)).then_some(number as u64)
    })
}

fn finite(value: &Value) -> Option<f64> {
    value.as_f64().filter(|n| n.is_finite())
}

fn optional_id(value: &Value) -> Option<Option<u32>> {
    let id = value.as_i64()?;
    if id < 0 { Some(None) } else { u32::try_from(id).ok().map(Some) }
}
