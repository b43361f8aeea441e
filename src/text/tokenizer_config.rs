//! `tokenizer_config.json`: the settings that transformers lays over `tokenizer.json`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::TextError;
use super::languages::Languages;

const FILE: &str = "tokenizer_config.json";

/// transformers' `SPECIAL_TOKENS_ATTRIBUTES`, in its order.
const STANDARD_TOKENS: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// The chat templates that a model comes with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ChatTemplates {
    /// The model has none.
    #[default]
    None,
    /// One template.
    Single(String),
    /// Several, by name; `default` and `tool_use` are the names that are chosen without asking.
    Named(BTreeMap<String, String>),
}

impl ChatTemplates {
    /// The template to use, as transformers' `get_chat_template` chooses it.
    ///
    /// `asked` is a template's name, where the model has named ones, or else a template itself. Without it `tool_use` is
    /// taken when tools are given, then `default`. Fails with [`TextError::NoChatTemplate`] when nothing fits.
    pub fn choose<'a>(&'a self, asked: Option<&'a str>, with_tools: bool) -> Result<&'a str, TextError> {
        match (self, asked) {
            (ChatTemplates::Named(by_name), Some(asked)) => Ok(by_name.get(asked).map_or(asked, String::as_str)),
            (_, Some(asked)) => Ok(asked),
            (ChatTemplates::Single(template), None) => Ok(template),
            (ChatTemplates::Named(by_name), None) => {
                let tool_use = by_name.get("tool_use").filter(|_| with_tools);
                tool_use.or_else(|| by_name.get("default")).map(String::as_str).ok_or_else(|| {
                    let names: Vec<_> = by_name.keys().map(String::as_str).collect();
                    TextError::NoChatTemplate(format!(
                        "this model has several chat templates and none is named `default`; pass one of the names {} \
                         as `chat_template`",
                        names.join(", ")
                    ))
                })
            }
            (ChatTemplates::None, None) => Err(TextError::NoChatTemplate(
                "this model has no chat template; pass one as `chat_template`, or use a model tuned for chat".into(),
            )),
        }
    }
}

/// What a `tokenizer_config.json` (and a legacy `special_tokens_map.json`) says.
#[derive(Debug, Clone, Default)]
pub struct TokenizerConfig {
    /// Named special tokens: the standard ones in transformers' order, then the model's own (`image_token`, …).
    pub special_tokens: Vec<(String, AddedToken)>,
    /// Special tokens without a name.
    pub extra_special_tokens: Vec<AddedToken>,
    /// Added tokens by id, where the file lists them.
    pub added_tokens: BTreeMap<u32, AddedToken>,
    /// Whether decoding removes the spaces before punctuation (never done for BPE, whose spaces are real).
    pub clean_up_tokenization_spaces: bool,
    /// Does it for BPE all the same.
    pub clean_up_even_for_bpe: bool,
    /// Whether special tokens in the text are encoded as plain text.
    pub split_special_tokens: bool,
    /// Whether a text that is too long loses its start rather than its end.
    pub truncate_left: bool,
    /// The chat templates in the file.
    pub chat_templates: ChatTemplates,
    /// How a text's language is said, where it is.
    pub languages: Option<Languages>,
}

impl TokenizerConfig {
    /// Parses the file, and the `special_tokens_map.json` that older repos have beside it.
    ///
    /// As in transformers the map counts only where the config has no `added_tokens_decoder`. Unknown keys are left
    /// alone; a known key of the wrong type is an error.
    pub fn parse(config: &[u8], special_tokens_map: Option<&[u8]>) -> Result<Self, TextError> {
        let mut config = object(FILE, config)?;
        if !config.contains_key("added_tokens_decoder")
            && let Some(map) = special_tokens_map
        {
            config.extend(object("special_tokens_map.json", map)?);
        }
        let mut parsed = TokenizerConfig {
            clean_up_tokenization_spaces: flag(&config, "clean_up_tokenization_spaces")?,
            clean_up_even_for_bpe: flag(
                &config,
                "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output",
            )?,
            split_special_tokens: flag(&config, "split_special_tokens")?,
            truncate_left: config.get("truncation_side").and_then(Value::as_str) == Some("left"),
            chat_templates: chat_templates(config.get("chat_template"))?,
            languages: Languages::of(&config),
            ..Self::default()
        };
        if let Some(decoder) = config.get("added_tokens_decoder") {
            let decoder =
                decoder.as_object().ok_or_else(|| wrong("added_tokens_decoder", "an object from id to token"))?;
            for (id, value) in decoder {
                let key = format!("added_tokens_decoder.{id}");
                let number = id.parse().map_err(|_| wrong(&key, "a token id as its key"))?;
                parsed.added_tokens.insert(number, token(&key, value, false)?);
            }
        }
        parsed.read_special_tokens(&config)?;
        Ok(parsed)
    }

    fn read_special_tokens(&mut self, config: &Map<String, Value>) -> Result<(), TextError> {
        for name in STANDARD_TOKENS {
            if let Some(value) = config.get(name).filter(|value| !value.is_null()) {
                self.special_tokens.push((name.into(), token(name, value, true)?));
            }
        }
        for (name, value) in config {
            let is_token = value.is_string() || value.get("content").is_some();
            if name.ends_with("_token") && !STANDARD_TOKENS.contains(&name.as_str()) && is_token {
                self.special_tokens.push((name.clone(), token(name, value, true)?));
            }
        }
        let given = |key: &'static str| config.get(key).filter(|value| !is_empty(value)).map(|value| (key, value));
        match given("extra_special_tokens").or_else(|| given("additional_special_tokens")) {
            None => {}
            Some((key, Value::Array(list))) => {
                self.extra_special_tokens =
                    list.iter().map(|value| token(key, value, true)).collect::<Result<_, _>>()?;
            }
            Some((key, Value::Object(named))) => {
                for (name, value) in named {
                    self.special_tokens.push((name.clone(), token(key, value, true)?));
                }
            }
            Some((key, _)) => return Err(wrong(key, "a list of tokens, or an object from name to token")),
        }
        Ok(())
    }
}

/// The text of a `chat_template.json`, the processors' older file: `{"chat_template": "…"}`.
pub(super) fn chat_template_json(text: &str) -> Option<ChatTemplates> {
    let file: Map<String, Value> = serde_json::from_str(text).ok()?;
    chat_templates(Some(file.get("chat_template")?)).ok()
}

fn chat_templates(value: Option<&Value>) -> Result<ChatTemplates, TextError> {
    const EXPECTED: &str = "a template, or a list of {name, template}";
    match value {
        None | Some(Value::Null) => Ok(ChatTemplates::None),
        Some(Value::String(template)) => Ok(ChatTemplates::Single(template.clone())),
        Some(Value::Array(list)) => {
            let entry = |entry: &Value| {
                let text = |key| entry.get(key).and_then(Value::as_str).map(str::to_owned);
                text("name").zip(text("template")).ok_or_else(|| wrong("chat_template", EXPECTED))
            };
            Ok(ChatTemplates::Named(list.iter().map(entry).collect::<Result<_, _>>()?))
        }
        Some(_) => Err(wrong("chat_template", EXPECTED)),
    }
}

/// A token written as its content alone or as an `AddedToken` object.
fn token(key: &str, value: &Value, special: bool) -> Result<AddedToken, TextError> {
    if let Some(content) = value.as_str() {
        return Ok(AddedToken::from(content, special));
    }
    let fields = value.as_object().ok_or_else(|| wrong(key, "a string or an AddedToken object"))?;
    let content = fields.get("content").and_then(Value::as_str);
    let content = content.ok_or_else(|| wrong(key, "an AddedToken object with a string `content`"))?;
    let flag = |name: &str| flag(fields, name).map_err(|_| wrong(&format!("{key}.{name}"), "a boolean"));
    let special = special || flag("special")?;
    let normalized = if fields.contains_key("normalized") { flag("normalized")? } else { !special };
    Ok(AddedToken::from(content, special)
        .normalized(normalized)
        .single_word(flag("single_word")?)
        .lstrip(flag("lstrip")?)
        .rstrip(flag("rstrip")?))
}

fn object(file: &'static str, bytes: &[u8]) -> Result<Map<String, Value>, TextError> {
    serde_json::from_slice(bytes)
        .map_err(|e| TextError::File { file, reason: format!("{e}; it must hold a JSON object") })
}

fn flag(config: &Map<String, Value>, key: &str) -> Result<bool, TextError> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(_) => Err(wrong(key, "a boolean")),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

fn wrong(key: &str, expected: &str) -> TextError {
    TextError::File { file: FILE, reason: format!("`{key}` must be {expected}") }
}
