//! `config.json`, and the registry from its `model_type` to an architecture.

use serde_json::{Map, Value};

use super::fields::Fields;
use super::{ConfigError, LlamaConfig};
use crate::Result;
use crate::hub::Repo;
use crate::tensor::Dtype;

/// Label maps can be long, but not this long.
const MAX_CONFIG: u64 = 16 << 20;

/// The architectures that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Architecture {
    /// `LlamaForCausalLM`
    Llama,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Architecture; 1] = [Architecture::Llama];

    /// The `model_type` in a config.
    pub const fn model_type(self) -> &'static str {
        match self {
            Architecture::Llama => "llama",
        }
    }

    /// What the classes of its models are called before `Model` and `ForCausalLM`.
    pub const fn class_prefix(self) -> &'static str {
        match self {
            Architecture::Llama => "Llama",
        }
    }

    /// The config's keys that mean something to it.
    pub const fn config_keys(self) -> &'static [&'static str] {
        match self {
            Architecture::Llama => LlamaConfig::KEYS,
        }
    }
}

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
        Ok(Self::from_json(format!("{}: config.json", repo.id()), &bytes)?)
    }

    /// Parses `json`; `file` is what messages call it.
    pub fn from_json(file: impl Into<String>, json: &[u8]) -> Result<ModelConfig, ConfigError> {
        let file = file.into();
        let (text, object) = parse_object(&file, json)?;
        Ok(ModelConfig { file, text, object })
    }

    /// With some keys' values replaced, as by extra arguments of `from_pretrained`.
    ///
    /// Fails with [`ConfigError::UnknownKey`] for one that neither the file nor the architecture has.
    pub fn with_overrides(&self, overrides: Map<String, Value>) -> Result<ModelConfig, ConfigError> {
        if overrides.is_empty() {
            return Ok(self.clone());
        }
        let known = self.architecture()?.config_keys();
        let mut object = self.object.clone();
        for (key, value) in overrides {
            if !object.contains_key(&key) && !known.contains(&key.as_str()) {
                return Err(ConfigError::UnknownKey { file: self.file.clone(), key, known: known.to_vec() });
            }
            object.insert(key, value);
        }
        let text = Value::Object(object.clone()).to_string();
        Ok(ModelConfig { file: self.file.clone(), text, object })
    }

    /// The file's text, unchanged but for overrides.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The parsed object.
    pub fn object(&self) -> &Map<String, Value> {
        &self.object
    }

    /// The architecture of `model_type`, or the error that lists what there is.
    pub fn architecture(&self) -> Result<Architecture, ConfigError> {
        let fields = self.fields();
        let model_type = fields.require("model_type", fields.text("model_type")?)?;
        Architecture::ALL.into_iter().find(|architecture| architecture.model_type() == model_type).ok_or_else(|| {
            ConfigError::UnsupportedModelType {
                file: self.file.clone(),
                model_type: model_type.to_owned(),
                known: Architecture::ALL.map(Architecture::model_type).to_vec(),
            }
        })
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

    /// The special ids, with the architecture's own defaults for keys that are not there. A null is none.
    pub fn special_token_ids(&self) -> Result<SpecialTokenIds, ConfigError> {
        let fields = self.fields();
        let mut ids = SpecialTokenIds {
            bos: fields.token_id("bos_token_id")?,
            eos: fields.token_ids("eos_token_id")?,
            pad: fields.token_id("pad_token_id")?,
        };
        match self.architecture()? {
            Architecture::Llama => {
                if !fields.has("bos_token_id") {
                    ids.bos = Some(1);
                }
                if !fields.has("eos_token_id") {
                    ids.eos = vec![2];
                }
            }
        }
        Ok(ids)
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
