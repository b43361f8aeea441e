//! Text to token ids and back.

use std::cell::RefCell;

use tokenizers::processors::PostProcessorWrapper;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::utils::truncation::{TruncationDirection, TruncationParams, truncate_encodings};
use tokenizers::{AddedToken, ModelWrapper, PostProcessor};

use super::chat_template::{ChatTemplate, RenderOptions};
use super::tokenizer_config::{ChatTemplates, TokenizerConfig, chat_template_json};
use super::{TextError, validate};

const FILE: &str = "tokenizer.json";

/// The files that a tokenizer is read from, as the repo has them. Only `tokenizer_json` is required.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokenizerFiles<'a> {
    /// `tokenizer.json`
    pub tokenizer_json: &'a [u8],
    /// `tokenizer_config.json`
    pub tokenizer_config_json: Option<&'a [u8]>,
    /// `special_tokens_map.json`, which older repos have
    pub special_tokens_map_json: Option<&'a [u8]>,
    /// `chat_template.jinja`, or else `chat_template.json`; goes before the config's own template.
    pub chat_template: Option<&'a str>,
}

/// A text as token ids. The three lists have the same length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoding {
    /// The token ids.
    pub ids: Vec<u32>,
    /// 0 for the first text and its special tokens, 1 for the second.
    pub type_ids: Vec<u32>,
    /// All ones: nothing is padded.
    pub attention_mask: Vec<u32>,
}

/// A model's tokenizer and its chat template.
///
/// Encodes and decodes as transformers' fast tokenizers do, without padding. Which special tokens go
/// around a text is the post-processor's business in `tokenizer.json`; the config's `add_bos_token` and `add_eos_token`
/// count for nothing beside it.
#[derive(Debug)]
pub struct Tokenizer {
    /// Without a post-processor: a text is cut before special tokens go around it.
    inner: tokenizers::Tokenizer,
    post_processor: RefCell<PostProcessorWrapper>,
    /// Which language texts are in, where the tokenizer says it.
    src_lang: RefCell<Option<String>>,
    config: TokenizerConfig,
    chat_templates: ChatTemplates,
}

impl Tokenizer {
    /// Reads a tokenizer. Fails with [`TextError::File`] where a file is malformed.
    pub fn from_files(files: TokenizerFiles<'_>) -> Result<Self, TextError> {
        let wrong = |reason: String| TextError::File { file: FILE, reason };
        validate::check(files.tokenizer_json).map_err(wrong)?;
        let mut inner = tokenizers::Tokenizer::from_bytes(files.tokenizer_json).map_err(|e| wrong(e.to_string()))?;
        inner.with_truncation(None).map_err(|e| wrong(e.to_string()))?.with_padding(None);

        let config =
            TokenizerConfig::parse(files.tokenizer_config_json.unwrap_or(b"{}"), files.special_tokens_map_json)?;
        add_tokens(&mut inner, &config).map_err(wrong)?;
        inner.set_encode_special_tokens(config.split_special_tokens);

        let post_processor = match inner.get_post_processor() {
            Some(processor) => processor.clone(),
            // A second text is of type 1 even where nothing is put around the texts.
            None => TemplateProcessing::builder().build().map_err(|e| wrong(e.to_string()))?.into(),
        };
        inner.with_post_processor(None::<PostProcessorWrapper>);

        let chat_templates = match files.chat_template {
            Some(text) => chat_template_json(text).unwrap_or_else(|| ChatTemplates::Single(text.to_owned())),
            None => config.chat_templates.clone(),
        };
        let (post_processor, src_lang) = (RefCell::new(post_processor), RefCell::default());
        let tokenizer = Self { inner, post_processor, src_lang, config, chat_templates };
        if let Some(languages) = &tokenizer.config.languages {
            // Whatever the file has: it may have been saved in another one. Without a token for it, the file's stays.
            let _unknown = tokenizer.set_src_lang(&languages.src_lang);
        }
        Ok(tokenizer)
    }

    /// The language that texts are in, where the tokenizer says it in a token.
    pub fn src_lang(&self) -> Option<String> {
        self.src_lang.borrow().clone()
    }

    /// Texts are in this language from now on.
    ///
    /// # Errors
    /// [`TextError::Language`] where the tokenizer has no such, [`TextError::NoLanguages`] where it has none.
    pub fn set_src_lang(&self, language: &str) -> Result<(), TextError> {
        let none = || TextError::NoLanguages { language: language.to_owned() };
        let languages = self.config.languages.as_ref().ok_or_else(none)?;
        let eos = self.config.special_tokens.iter().find(|(name, _)| name == "eos_token");
        let eos = eos.map_or("</s>", |(_, token)| token.content.as_str());
        let framing = languages.framing(language, eos, |token| self.token_to_id(token))?;
        self.post_processor.replace(framing);
        self.src_lang.replace(Some(language.to_owned()));
        Ok(())
    }

    /// The ids of `text`, and of `pair` after it; an empty `pair` is none.
    ///
    /// `add_special_tokens` puts in what the tokenizer adds around a text (BOS, `[CLS]`, …). A rendered chat template has
    /// them already. With `max_length` the texts are cut, the longer one first, so that with those tokens there are no more;
    /// at their ends, or at their starts where the config says so.
    pub fn encode(
        &self,
        text: &str,
        pair: Option<&str>,
        add_special_tokens: bool,
        max_length: Option<usize>,
    ) -> Result<Encoding, TextError> {
        let failed = |reason: String| TextError::Tokenizer { action: "encode this text", reason };
        let post_processor = self.post_processor.borrow();
        let one = |text| self.inner.encode_fast(text, false).map_err(|e| failed(e.to_string()));
        let (mut first, mut second) = (one(text)?, pair.filter(|pair| !pair.is_empty()).map(one).transpose()?);
        if let Some(max_length) = max_length {
            let added = if add_special_tokens { post_processor.added_tokens(second.is_some()) } else { 0 };
            let max_length = max_length.checked_sub(added).ok_or_else(|| {
                failed(format!("a max_length of {max_length} has no room for the {added} special tokens"))
            })?;
            let direction =
                if self.config.truncate_left { TruncationDirection::Left } else { TruncationDirection::Right };
            let params = TruncationParams { max_length, direction, ..TruncationParams::default() };
            (first, second) = truncate_encodings(first, second, &params).map_err(|e| failed(e.to_string()))?;
            for encoding in [Some(&mut first), second.as_mut()].into_iter().flatten() {
                encoding.take_overflowing();
            }
        }
        let encoding = post_processor.process(first, second, add_special_tokens);
        let encoding = encoding.map_err(|e| failed(e.to_string()))?;
        Ok(Encoding {
            ids: encoding.get_ids().to_vec(),
            type_ids: encoding.get_type_ids().to_vec(),
            attention_mask: encoding.get_attention_mask().to_vec(),
        })
    }

    /// The text of `ids`. Ids that the vocabulary lacks give nothing, as in transformers.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, TextError> {
        let text = self.inner.decode(ids, skip_special_tokens);
        let text = text.map_err(|e| TextError::Tokenizer { action: "decode these ids", reason: e.to_string() })?;
        Ok(if self.cleans_up() { clean_up(text) } else { text })
    }

    /// Whether decoding removes the spaces before punctuation.
    pub(super) fn cleans_up(&self) -> bool {
        let bpe = matches!(self.inner.get_model(), ModelWrapper::BPE(_));
        self.config.clean_up_tokenization_spaces && (!bpe || self.config.clean_up_even_for_bpe)
    }

    /// A token's id, added tokens included.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// An id's token, added tokens included, as the vocabulary writes it.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// How many tokens the vocabulary has, without added ones: transformers' `vocab_size`.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(false)
    }

    /// How many tokens there are, added ones included: transformers' `len(tokenizer)`.
    pub fn full_vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The named special tokens: name, content and id, in transformers' order.
    pub fn special_tokens(&self) -> impl Iterator<Item = (&str, &str, Option<u32>)> {
        let tokens = self.config.special_tokens.iter();
        tokens.map(|(name, token)| (name.as_str(), token.content.as_str(), self.token_to_id(&token.content)))
    }

    /// The ids of all special tokens, ascending: what `skip_special_tokens` leaves out.
    pub fn all_special_ids(&self) -> Vec<u32> {
        let added = self.inner.get_added_tokens_decoder();
        let mut ids: Vec<u32> = added.into_iter().filter(|(_, token)| token.special).map(|(id, _)| id).collect();
        ids.sort_unstable();
        ids
    }

    /// What `tokenizer_config.json` says.
    pub fn config(&self) -> &TokenizerConfig {
        &self.config
    }

    /// The chat templates of the model.
    pub fn chat_templates(&self) -> &ChatTemplates {
        &self.chat_templates
    }

    /// Renders a conversation (a JSON list of messages) as the model's prompt.
    ///
    /// `chat_template` is a template, or the name of one of the model's; without it the model's own is taken. Fails with
    /// [`TextError::NoChatTemplate`], [`TextError::ChatInput`] or [`TextError::ChatTemplate`].
    pub fn apply_chat_template(
        &self,
        messages: serde_json::Value,
        chat_template: Option<&str>,
        mut options: RenderOptions,
    ) -> Result<String, TextError> {
        let template = self.chat_templates.choose(chat_template, options.tools.is_some())?;
        for (name, content, _) in self.special_tokens() {
            options.variables.entry(name).or_insert_with(|| content.into());
        }
        ChatTemplate::compile(template)?.render(messages, options)
    }
}

/// Adds the config's tokens that the file lacks or describes differently.
fn add_tokens(inner: &mut tokenizers::Tokenizer, config: &TokenizerConfig) -> Result<(), String> {
    let present = inner.get_added_tokens_decoder();
    let listed = config.added_tokens.iter().filter(|(id, token)| present.get(id) != Some(token));
    let mut tokens: Vec<AddedToken> = listed.map(|(_, token)| token.clone()).collect();
    let special = config.special_tokens.iter().map(|(_, token)| token).chain(&config.extra_special_tokens);
    for token in special {
        let known = present.values().chain(&tokens).any(|other| other.content == token.content);
        if !known {
            tokens.push(token.clone());
        }
    }
    if tokens.is_empty() {
        return Ok(());
    }
    inner.add_tokens(tokens).map(|_| ()).map_err(|e| e.to_string())
}

/// transformers' `clean_up_tokenization`.
fn clean_up(mut text: String) -> String {
    for (from, to) in [
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ] {
        if text.contains(from) {
            text = text.replace(from, to);
        }
    }
    text
}
