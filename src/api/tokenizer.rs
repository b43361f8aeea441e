//! `Tokenizer` and `DecodeStream` for JavaScript.

use std::rc::Rc;

use futures_util::future::{join3, join4};
use js_sys::{JSON, Object, Reflect, Uint8Array, Uint32Array};
use serde_json::{Map, Value};
use wasm_bindgen::prelude::*;

use super::error::{to_js, with_code};
use super::options::Options;
use super::source;
use crate::hub::{HubError, Repo};
use crate::text::{self, RenderOptions, TextError, TokenizerFiles, Vocabulary};

/// The largest `tokenizer.json` known are about 35 MB.
const MAX_TOKENIZER: u64 = 128 << 20;
/// The other files are small, but for lists of added tokens.
const MAX_SMALL_FILE: u64 = 16 << 20;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
export interface Encoding {
  ids: Uint32Array;
  type_ids: Uint32Array;
  attention_mask: Uint32Array;
}
export interface ChatTemplateOptions {
  add_generation_prompt?: boolean;
  continue_final_message?: boolean;
  chat_template?: string;
  tools?: object[];
  documents?: object[];
  [variable: string]: unknown;
}
"#;

#[wasm_bindgen]
extern "C" {
    /// `{ids, type_ids, attention_mask}`
    #[wasm_bindgen(typescript_type = "Encoding")]
    pub type JsEncoding;
    /// Where a repo is and how to reach it.
    #[wasm_bindgen(typescript_type = "object | undefined")]
    pub type JsFromPretrainedOptions;
    /// A conversation.
    #[wasm_bindgen(typescript_type = "object[]")]
    pub type JsMessages;
    /// What a template sees beside the messages.
    #[wasm_bindgen(typescript_type = "ChatTemplateOptions | undefined")]
    pub type JsChatTemplateOptions;
    /// Special tokens and their ids by name.
    #[wasm_bindgen(typescript_type = "Record<string, string | number>")]
    pub type JsSpecialTokens;
}

/// A model's tokenizer and chat template.
#[wasm_bindgen]
pub struct Tokenizer {
    inner: Rc<text::Tokenizer>,
    config: String,
}

#[wasm_bindgen]
impl Tokenizer {
    /// Reads the tokenizer of a repo: `tokenizer.json`, and what it has of `tokenizer_config.json`,
    /// `special_tokens_map.json` and `chat_template.jinja`, all at one commit. Where it lacks the first, its `vocab.txt`, or
    /// `vocab.json` and `merges.txt`, must do.
    ///
    /// Throws with the hub's codes (`REPO_NOT_FOUND`, `ENTRY_NOT_FOUND`, …) and `TOKENIZER`.
    pub async fn from_pretrained(source: JsValue, options: JsFromPretrainedOptions) -> Result<Self, JsValue> {
        let options = Options::new("Tokenizer.from_pretrained", &options);
        let repo = source::open(&source, &options, &options.abort()?).await?.repo;
        let (tokenizer_json, config, special_tokens_map, chat_template) = join4(
            repo.read("tokenizer.json", MAX_TOKENIZER),
            read_optional(&*repo, "tokenizer_config.json"),
            read_optional(&*repo, "special_tokens_map.json"),
            read_optional(&*repo, "chat_template.jinja"),
        )
        .await;
        let (config, special_tokens_map) = (config?, special_tokens_map?);
        let tokenizer_json = match tokenizer_json {
            Ok(bytes) => bytes,
            Err(absent @ HubError::EntryNotFound { .. }) => {
                let of_vocabulary = of_vocabulary(&*repo, config.as_deref(), special_tokens_map.as_deref()).await?;
                of_vocabulary.ok_or_else(|| to_js(&absent.into()))?
            }
            Err(error) => return Err(to_js(&error.into())),
        };
        let chat_template = chat_template?.map(|bytes| {
            let wrong =
                |_| with_code("CHAT_TEMPLATE", &format!("{}: chat_template.jinja is not UTF-8 text", repo.id()));
            String::from_utf8(bytes).map_err(wrong)
        });
        Self::load(TokenizerFiles {
            tokenizer_json: &tokenizer_json,
            tokenizer_config_json: config.as_deref(),
            special_tokens_map_json: special_tokens_map.as_deref(),
            chat_template: chat_template.transpose()?.as_deref(),
        })
    }

    /// Reads a tokenizer from the contents of its files. `chat_template` is that of `chat_template.jinja` (or
    /// `chat_template.json`) and goes before the config's own.
    ///
    /// Throws with code `TOKENIZER`.
    pub fn from_files(
        tokenizer_json: &[u8],
        tokenizer_config_json: Option<Uint8Array>,
        chat_template: Option<String>,
    ) -> Result<Self, JsValue> {
        let config = tokenizer_config_json.map(|bytes| bytes.to_vec());
        Self::load(TokenizerFiles {
            tokenizer_json,
            tokenizer_config_json: config.as_deref(),
            special_tokens_map_json: None,
            chat_template: chat_template.as_deref(),
        })
    }

    /// The language that texts are in, where the tokenizer says it in a token.
    pub fn src_lang(&self) -> Option<String> {
        self.inner.src_lang()
    }

    /// Texts are in this language from now on.
    ///
    /// Throws with code `TOKENIZER` where there is no such.
    pub fn set_src_lang(&self, language: &str) -> Result<(), JsValue> {
        self.inner.set_src_lang(language).map_err(thrown)
    }

    /// The ids of `text`, and of `text_pair` after it; at most `max_length`, special tokens included.
    ///
    /// Throws with code `TOKENIZER`.
    pub fn encode(
        &self,
        text: &str,
        text_pair: Option<String>,
        add_special_tokens: bool,
        max_length: Option<u32>,
    ) -> Result<JsEncoding, JsValue> {
        let max_length = max_length.map(|length| length as usize);
        let encoding = self.inner.encode(text, text_pair.as_deref(), add_special_tokens, max_length).map_err(thrown)?;
        let object = Object::new();
        for (name, list) in
            [("ids", encoding.ids), ("type_ids", encoding.type_ids), ("attention_mask", encoding.attention_mask)]
        {
            Reflect::set(&object, &name.into(), &Uint32Array::from(list.as_slice()))?;
        }
        Ok(object.unchecked_into())
    }

    /// The text of `ids`.
    ///
    /// Throws with code `TOKENIZER`.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, JsValue> {
        self.inner.decode(ids, skip_special_tokens).map_err(thrown)
    }

    /// A stream that gives the text of ids as they come.
    pub fn decode_stream(&self, skip_special_tokens: bool) -> DecodeStream {
        DecodeStream { tokenizer: self.inner.clone(), stream: text::DecodeStream::new(skip_special_tokens) }
    }

    /// A token's id.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// An id's token, as the vocabulary writes it.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// How many tokens there are without added ones: transformers' `vocab_size`.
    pub fn vocab_size(&self) -> usize {
        self.inner.vocab_size()
    }

    /// How many tokens there are with added ones: transformers' `len(tokenizer)`.
    pub fn full_vocab_size(&self) -> usize {
        self.inner.full_vocab_size()
    }

    /// `{bos_token, bos_token_id, …}`, those that the model has.
    pub fn special_tokens(&self) -> Result<JsSpecialTokens, JsValue> {
        let object = Object::new();
        for (name, content, id) in self.inner.special_tokens() {
            Reflect::set(&object, &name.into(), &content.into())?;
            if let Some(id) = id {
                Reflect::set(&object, &format!("{name}_id").into(), &id.into())?;
            }
        }
        Ok(object.unchecked_into())
    }

    /// The ids of all special tokens: what `skip_special_tokens` leaves out.
    pub fn all_special_ids(&self) -> Vec<u32> {
        self.inner.all_special_ids()
    }

    /// The text of `tokenizer_config.json`, `{}` where the repo has none.
    pub fn config(&self) -> String {
        self.config.clone()
    }

    /// Renders a conversation as the model's prompt.
    ///
    /// Throws with code `CHAT_TEMPLATE`.
    pub fn apply_chat_template(&self, messages: JsMessages, options: JsChatTemplateOptions) -> Result<String, JsValue> {
        let messages = json(&messages, "messages")?;
        let options: JsValue = options.into();
        let mut variables = match if options.is_undefined() { Value::Null } else { json(&options, "options")? } {
            Value::Object(options) => options,
            Value::Null => Map::new(),
            _ => return Err(with_code("CHAT_TEMPLATE", "apply_chat_template's options must be an object")),
        };
        let chat_template = match variables.shift_remove("chat_template") {
            Some(Value::String(template)) => Some(template),
            None | Some(Value::Null) => None,
            Some(_) => return Err(with_code("CHAT_TEMPLATE", "the option chat_template must be a string")),
        };
        let mut list = |name: &str| variables.shift_remove(name).filter(|value| !value.is_null());
        let (tools, documents) = (list("tools"), list("documents"));
        let mut flag = |name: &str| match variables.shift_remove(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(with_code("CHAT_TEMPLATE", &format!("the option {name} must be a boolean"))),
        };
        let add_generation_prompt = flag("add_generation_prompt")?;
        let continue_final_message = flag("continue_final_message")?;
        let options = RenderOptions { add_generation_prompt, continue_final_message, tools, documents, variables };
        self.inner.apply_chat_template(messages, chat_template.as_deref(), options).map_err(thrown)
    }
}

impl Tokenizer {
    fn load(files: TokenizerFiles<'_>) -> Result<Self, JsValue> {
        let inner = Rc::new(text::Tokenizer::from_files(files).map_err(thrown)?);
        let config = String::from_utf8_lossy(files.tokenizer_config_json.unwrap_or(b"{}")).into_owned();
        Ok(Self { inner, config })
    }
}

/// Ids to text, one at a time, at a cost that doesn't grow with the text.
#[wasm_bindgen]
pub struct DecodeStream {
    tokenizer: Rc<text::Tokenizer>,
    stream: text::DecodeStream,
}

#[wasm_bindgen]
impl DecodeStream {
    /// Takes the next id; gives the text that became certain with it, if any.
    pub fn push(&mut self, id: u32) -> Result<Option<String>, JsValue> {
        self.stream.push(&self.tokenizer, id).map_err(thrown)
    }

    /// Ends the stream: gives the text that was held back. The stream can be used again.
    pub fn flush(&mut self) -> Result<String, JsValue> {
        self.stream.flush(&self.tokenizer).map_err(thrown)
    }
}

/// The `tokenizer.json` of an older repo's vocabulary, if it has one of a kind that is known.
async fn of_vocabulary(
    repo: &dyn Repo,
    config: Option<&[u8]>,
    special_tokens_map: Option<&[u8]>,
) -> Result<Option<Vec<u8>>, JsValue> {
    let (vocab_txt, vocab_json, merges) =
        join3(read_optional(repo, "vocab.txt"), read_optional(repo, "vocab.json"), read_optional(repo, "merges.txt"))
            .await;
    let text = |bytes: Option<Vec<u8>>| bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let (vocab_txt, vocab_json, merges) = (text(vocab_txt?), text(vocab_json?), text(merges?));
    let vocabulary = match (&vocab_txt, &vocab_json, &merges) {
        (Some(vocab), ..) => Vocabulary::WordPieces(vocab),
        (None, Some(vocab), Some(merges)) => Vocabulary::BytePairs { vocab, merges },
        _ => return Ok(None),
    };
    text::tokenizer_json(vocabulary, config, special_tokens_map).map(Some).map_err(thrown)
}

/// A file's content, or `None` where the repo lacks it.
async fn read_optional(repo: &dyn Repo, path: &str) -> Result<Option<Vec<u8>>, JsValue> {
    match repo.read(path, MAX_SMALL_FILE).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(HubError::EntryNotFound { .. }) => Ok(None),
        Err(error) => Err(to_js(&error.into())),
    }
}

fn thrown(error: TextError) -> JsValue {
    to_js(&error.into())
}

/// A JS value as JSON, as `JSON.stringify` sees it: `undefined` fields are left out.
fn json(value: &JsValue, what: &str) -> Result<Value, JsValue> {
    let wrong = || with_code("CHAT_TEMPLATE", &format!("apply_chat_template's {what} can't be written as JSON"));
    let text = JSON::stringify(value).map_err(|_| wrong())?.as_string().ok_or_else(wrong)?;
    serde_json::from_str(&text).map_err(|_| wrong())
}
