//! `config.json`

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::ConfigError;
use super::fields::Fields;
use crate::Result;
use crate::hub::Repo;
use crate::tensor::Dtype;

/// Label maps can be long, but not this long.
const MAX_CONFIG: u64 = 16 << 20;

/// A model's configuration as the repo has it.
#[derive(Debug, Clone)]
pub struct ModelConfig {
    file: String,
    text: String,
    object: Map<String, Value>,
}

/// The ids that generation needs to know of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecialTokenIds {
    /// Begin of sequence.
    pub bos: Option<u32>,
    /// Each of them ends a sequence; none: nothing does.
    pub eos: Vec<u32>,
    /// Padding.
    pub pad: Option<u32>,
}

impl ModelConfig {
    /// Reads `config.json` from `repo`.
    ///
    /// Fails with [`HubError`](crate::hub::HubError) where the repo has none, and with [`ConfigError`] where it is not
    /// a JSON object.
    pub async fn open(repo: &dyn Repo) -> Result<ModelConfig> {
        let bytes = repo.read("config.json", MAX_CONFIG).await?;
        let config = Self::from_json(format!("{}: config.json", repo.id()), &bytes);
        if config.is_err() {
            repo.forget("config.json").await;
        }
        Ok(config?)
    }

    /// Parses `json`; `file` is what messages call it.
    pub fn from_json(file: impl Into<String>, json: &[u8]) -> Result<ModelConfig, ConfigError> {
        let file = file.into();
        let (text, object) = parse_object(&file, json)?;
        Ok(ModelConfig { file, text, object })
    }

    /// With some keys' values replaced, as by extra arguments of `from_pretrained`.
    ///
    /// Fails with [`ConfigError::UnknownKey`] for one that is neither in the file nor among those `known`.
    pub fn with_overrides(
        &self,
        overrides: Map<String, Value>,
        known: &[&'static str],
    ) -> Result<ModelConfig, ConfigError> {
        if overrides.is_empty() {
            return Ok(self.clone());
        }
        let mut object = self.object.clone();
        // As transformers has it, a number of labels takes the names of any other number away.
        if let Some(count) = overrides.get("num_labels").and_then(Value::as_u64)
            && let Some(names) = object.get("id2label").and_then(Value::as_object)
            && names.len() as u64 != count
        {
            object.retain(|key, _| key != "id2label" && key != "label2id");
        }
        for (key, value) in overrides {
            if !object.contains_key(&key) && !known.contains(&key.as_str()) {
                return Err(ConfigError::UnknownKey { file: self.file.clone(), key, known: known.to_vec() });
            }
            object.insert(key, value);
        }
        let text = Value::Object(object.clone()).to_string();
        Ok(ModelConfig { file: self.file.clone(), text, object })
    }

    /// The config that a key holds, of a model that is a part of this one.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] where there is none.
    pub fn part(&self, key: &str, model_type: &str) -> Result<ModelConfig, ConfigError> {
        let fields = self.fields();
        let object = self.object.get(key).and_then(Value::as_object);
        let mut object = object.cloned().ok_or_else(|| fields.invalid(key, "an object"))?;
        object.insert("model_type".to_owned(), model_type.into());
        let text = Value::Object(object.clone()).to_string();
        Ok(ModelConfig { file: format!("{}, {key}", self.file), text, object })
    }

    /// The config as one of another `model_type`, which has other names for some keys: of each pair the key that it knows and
    /// the one that is there.
    pub fn of_type(&self, model_type: &str, keys: &BTreeMap<String, String>) -> ModelConfig {
        let mut object = self.object.clone();
        let renamed = keys.iter().filter_map(|(key, own)| Some((key.clone(), self.object.get(own)?.clone())));
        object.extend(renamed);
        object.insert("model_type".to_owned(), model_type.into());
        let text = Value::Object(object.clone()).to_string();
        ModelConfig { file: self.file.clone(), text, object }
    }

    /// The file's text, unchanged but for overrides.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The parsed object.
    pub fn object(&self) -> &Map<String, Value> {
        &self.object
    }

    /// Which architecture the model has, by transformers' name.
    pub fn model_type(&self) -> Result<&str, ConfigError> {
        let fields = self.fields();
        fields.require("model_type", fields.text("model_type")?)
    }

    /// The error that `model_type` is none of those `known`.
    pub fn unsupported_model_type(&self, known: Vec<&'static str>) -> ConfigError {
        let model_type = self.model_type().unwrap_or_default().to_owned();
        ConfigError::UnsupportedModelType { file: self.file.clone(), model_type, known }
    }

    /// The error that the architecture has none but the heads `known`.
    pub fn unsupported_task(&self, task: &'static str, known: Vec<&'static str>) -> ConfigError {
        let model_type = self.model_type().unwrap_or_default().to_owned();
        ConfigError::UnsupportedTask { file: self.file.clone(), model_type, task, known }
    }

    /// How many labels a classifier tells apart: those of `id2label`, or `num_labels`, or two.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`]
    pub fn labels(&self) -> Result<usize, ConfigError> {
        const MOST: usize = 1 << 20;
        let fields = self.fields();
        let labels = match fields.object("id2label")?.map(|labels| labels.values().count()) {
            Some(labels) if labels > 0 => labels,
            _ => fields.count("num_labels")?.unwrap_or(2),
        };
        if labels > MOST { Err(fields.invalid("num_labels", format!("at most {MOST}"))) } else { Ok(labels) }
    }

    /// `dtype`, by v4 called `torch_dtype`; `None` where there is none or it is no floating type that Layerline has.
    pub fn dtype(&self) -> Result<Option<Dtype>, ConfigError> {
        let fields = self.fields();
        let name = match fields.text("dtype")? {
            Some(name) => Some(name),
            None => fields.text("torch_dtype")?,
        };
        Ok(name.and_then(Dtype::from_torch))
    }

    pub(crate) fn fields(&self) -> Fields<'_> {
        Fields::new(&self.file, &self.object)
    }
}

pub(super) fn parse_object(file: &str, json: &[u8]) -> Result<(String, Map<String, Value>), ConfigError> {
    let malformed = |reason| ConfigError::Malformed { file: file.to_owned(), reason };
    let text = std::str::from_utf8(json).map_err(|error| malformed(error.to_string()))?;
    let object = serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?;
    Ok((text.to_owned(), object))
}
