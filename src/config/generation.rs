//! `generation_config.json`: a model's own defaults for generation.

use serde_json::Value;

use super::fields::Fields;
use super::model::parse_object;
use super::{ConfigError, ModelConfig};
use crate::Result;
use crate::hub::{HubError, Repo};

const MAX_GENERATION_CONFIG: u64 = 4 << 20;

/// When a beam search stops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "Value")]
pub enum EarlyStopping {
    /// `true`: as soon as there are as many whole texts as beams.
    AtOnce,
    /// `false`: where those that grow are not likely to become better than the whole ones.
    #[default]
    Unlikely,
    /// `"never"`: where they can't.
    Never,
}

impl EarlyStopping {
    fn of(value: &Value) -> Option<EarlyStopping> {
        match (value.as_bool(), value.as_str()) {
            (Some(true), _) => Some(EarlyStopping::AtOnce),
            (Some(false), _) => Some(EarlyStopping::Unlikely),
            (_, Some("never")) => Some(EarlyStopping::Never),
            _ => None,
        }
    }
}

impl TryFrom<Value> for EarlyStopping {
    type Error = &'static str;

    fn try_from(value: Value) -> std::result::Result<EarlyStopping, Self::Error> {
        EarlyStopping::of(&value).ok_or("early_stopping must be true, false or \"never\"")
    }
}

/// What a repo says about generation, under transformers' names. `None` is "not said": `generate` has its own defaults.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs)]
pub struct GenerationConfig {
    pub bos_token_id: Option<u32>,
    /// Each of them ends a sequence; none: nothing does.
    pub eos_token_id: Vec<u32>,
    pub pad_token_id: Option<u32>,
    pub max_length: Option<usize>,
    pub max_new_tokens: Option<usize>,
    pub min_length: Option<usize>,
    pub min_new_tokens: Option<usize>,
    pub do_sample: Option<bool>,
    pub num_beams: Option<usize>,
    pub num_return_sequences: Option<usize>,
    pub length_penalty: Option<f64>,
    pub early_stopping: Option<EarlyStopping>,
    pub temperature: Option<f64>,
    /// 0 is none.
    pub top_k: Option<usize>,
    pub top_p: Option<f64>,
    pub min_p: Option<f64>,
    pub typical_p: Option<f64>,
    pub epsilon_cutoff: Option<f64>,
    pub eta_cutoff: Option<f64>,
    pub repetition_penalty: Option<f64>,
    pub no_repeat_ngram_size: Option<usize>,
    pub bad_words_ids: Vec<Vec<u32>>,
    pub renormalize_logits: Option<bool>,
    pub suppress_tokens: Vec<u32>,
    pub begin_suppress_tokens: Vec<u32>,
    /// Whisper's: timestamps are the ids above it.
    pub no_timestamps_token_id: Option<u32>,
    /// Whisper's: the latest timestamp that a text may begin with.
    pub max_initial_timestamp_index: Option<u32>,
    pub forced_bos_token_id: Option<u32>,
    pub forced_eos_token_id: Vec<u32>,
    /// The file's text, unchanged; `None` where the repo has no such file.
    pub text: Option<String>,
}

impl GenerationConfig {
    /// Reads `generation_config.json` from `repo`. Where there is none, the legacy keys of `config` are taken, as
    /// transformers does.
    pub async fn open(repo: &dyn Repo, config: &ModelConfig) -> Result<GenerationConfig> {
        match repo.read("generation_config.json", MAX_GENERATION_CONFIG).await {
            Ok(bytes) => {
                let config = Self::from_json(&format!("{}: generation_config.json", repo.id()), &bytes);
                if config.is_err() {
                    // What makes no sense may be right the next time.
                    repo.forget("generation_config.json").await;
                }
                Ok(config?)
            }
            Err(HubError::EntryNotFound { .. }) => Ok(Self::from_model_config(config)?),
            Err(error) => Err(error.into()),
        }
    }

    /// Parses `json`; `file` is what messages call it.
    pub fn from_json(file: &str, json: &[u8]) -> Result<GenerationConfig, ConfigError> {
        let (text, object) = parse_object(file, json)?;
        let config = Self::parse(&Fields::new(file, &object))?;
        Ok(GenerationConfig { text: Some(text), ..config })
    }

    /// The generation keys of a model's own config, where they were kept of old.
    pub fn from_model_config(config: &ModelConfig) -> Result<GenerationConfig, ConfigError> {
        Self::parse(&config.fields())
    }

    fn parse(fields: &Fields<'_>) -> Result<GenerationConfig, ConfigError> {
        Ok(GenerationConfig {
            bos_token_id: fields.token_id("bos_token_id")?,
            eos_token_id: fields.token_ids("eos_token_id")?,
            pad_token_id: fields.token_id("pad_token_id")?,
            max_length: fields.count("max_length")?,
            max_new_tokens: fields.count("max_new_tokens")?,
            min_length: fields.count_or_zero("min_length")?,
            min_new_tokens: fields.count_or_zero("min_new_tokens")?,
            do_sample: fields.flag("do_sample")?,
            num_beams: fields.count("num_beams")?,
            num_return_sequences: fields.count("num_return_sequences")?,
            length_penalty: fields.number("length_penalty")?,
            early_stopping: fields.typed("early_stopping", "true, false or \"never\"", EarlyStopping::of)?,
            temperature: fields.number("temperature")?,
            top_k: fields.count_or_zero("top_k")?,
            top_p: fields.number("top_p")?,
            min_p: fields.number("min_p")?,
            typical_p: fields.number("typical_p")?,
            epsilon_cutoff: fields.number("epsilon_cutoff")?,
            eta_cutoff: fields.number("eta_cutoff")?,
            repetition_penalty: fields.positive("repetition_penalty")?,
            no_repeat_ngram_size: fields.count_or_zero("no_repeat_ngram_size")?,
            bad_words_ids: fields.typed("bad_words_ids", "lists of token ids", words)?.unwrap_or_default(),
            renormalize_logits: fields.flag("renormalize_logits")?,
            suppress_tokens: fields.token_ids("suppress_tokens")?,
            begin_suppress_tokens: fields.token_ids("begin_suppress_tokens")?,
            no_timestamps_token_id: fields.token_id("no_timestamps_token_id")?,
            max_initial_timestamp_index: fields.token_id("max_initial_timestamp_index")?,
            forced_bos_token_id: fields.token_id("forced_bos_token_id")?,
            forced_eos_token_id: fields.token_ids("forced_eos_token_id")?,
            text: None,
        })
    }
}

/// Words as lists of ids.
fn words(value: &Value) -> Option<Vec<Vec<u32>>> {
    let id = |id: &Value| id.as_u64().and_then(|id| u32::try_from(id).ok());
    value.as_array()?.iter().map(|word| word.as_array()?.iter().map(id).collect()).collect()
}
