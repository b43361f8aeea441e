//! Chat templates: a conversation to the text that the model was trained on.
//!
//! Templates come from repos, so they are untrusted programs: the time and memory of a render are bounded, and a
//! template can neither change its inputs nor reach anything but them.
//!
//! What templates can do is what transformers' Jinja environment lets them do, but for rarities that `minijinja` lacks:
//! `"%s" % value`, a few filters for HTML and prose (`striptags`, `truncate`, `wordcount`, …), and a default for
//! `"text"|int` and `"text"|float`.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value};
use serde::Deserialize as _;
use serde_json::{Map, Value as Json};

use super::strftime::Civil;
use super::{TextError, json, python, source};

const NAME: &str = "chat_template";

/// The work a render may do: instructions, or 64 bytes of data each. A long conversation (a megabyte of text) takes
/// about a hundredth of it; an endless template ends in less than a second.
const FUEL: u64 = 4_000_000;

/// The names under which a message carries its reasoning; the first is the standard one.
const REASONING_FIELDS: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// Stands behind the final message's text while it is rendered, to find where to cut.
const CONTINUE_TAG: &str = "CONTINUE_FINAL_MESSAGE_TAG ";

/// What a template sees beside the messages.
#[derive(Debug, Clone, Default)]
pub struct RenderOptions {
    /// Whether the prompt ends with the header of an assistant's message.
    pub add_generation_prompt: bool,
    /// Whether the prompt ends inside the last message, for the model to go on with it.
    pub continue_final_message: bool,
    /// The tools' JSON schemas, a list.
    pub tools: Option<Json>,
    /// Documents for retrieval, a list of objects.
    pub documents: Option<Json>,
    /// Whatever else the template knows: `enable_thinking`, `date_string`, …
    pub variables: Map<String, Json>,
}

/// A compiled chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
}

impl ChatTemplate {
    /// Compiles a template. Fails with [`TextError::ChatTemplate`], which has the line.
    pub fn compile(template: &str) -> Result<Self, TextError> {
        let mut environment = environment()?;
        environment.add_template_owned(NAME, source::adapt(template)).map_err(|e| failed(&e))?;
        Ok(Self { environment })
    }

    /// Renders a conversation, a JSON list of messages, as transformers' `apply_chat_template(tokenize=False)` does.
    pub fn render(&self, messages: Json, options: RenderOptions) -> Result<String, TextError> {
        let mut messages = normalize(messages)?;
        let RenderOptions { add_generation_prompt, continue_final_message, tools, documents, variables } = options;
        let continued = if continue_final_message {
            if add_generation_prompt {
                return input("continue_final_message and add_generation_prompt exclude each other");
            }
            Some(mark_final_message(&mut messages)?)
        } else {
            None
        };

        let mut context = variables;
        context.insert("messages".into(), messages.into());
        context.insert("tools".into(), tools.unwrap_or_default());
        context.insert("documents".into(), documents.unwrap_or_default());
        context.insert("add_generation_prompt".into(), add_generation_prompt.into());
        let template = self.environment.get_template(NAME).map_err(|e| failed(&e))?;
        let context = Value::deserialize(Json::Object(context))
            .map_err(|e| TextError::ChatInput(format!("the template's variables can't be read: {e}")))?;
        let rendered = template.render(context).map_err(|e| failed(&e))?;
        match continued {
            Some(text) => cut_after(rendered, &text),
            None => Ok(rendered),
        }
    }
}

/// The environment that transformers compiles its templates in.
fn environment() -> Result<Environment<'static>, TextError> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(|e| failed(&e))?;
    environment.set_syntax(syntax);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(python::call_method);
    environment.add_filter("tojson", json::tojson);
    // As in Python, where strings and dicts have a length and items too.
    environment.add_test("sequence", |value: &Value| {
        matches!(value.kind(), ValueKind::Seq | ValueKind::String | ValueKind::Map)
    });
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_function("strftime_now", |format: &str| Civil::now().format(format));
    Ok(environment)
}

/// Drops the messages' null fields, whose absence templates understand better, and gives a message's reasoning every
/// name that templates read it by.
fn normalize(messages: Json) -> Result<Vec<Json>, TextError> {
    let Json::Array(messages) = messages else { return input("the conversation must be a list of messages") };
    if messages.is_empty() {
        return input("the conversation is empty; a chat template needs at least one message");
    }
    let message = |(i, message): (usize, Json)| {
        let Json::Object(mut message) = message else {
            return input(format!("messages[{i}] must be an object with `role` and `content`"));
        };
        message.retain(|_, value| !value.is_null());
        if let Some(reasoning) = REASONING_FIELDS.iter().find_map(|name| message.get(*name)).cloned() {
            message.entry("thinking").or_insert_with(|| reasoning.clone());
            message.insert("reasoning_content".into(), reasoning);
        }
        Ok(Json::Object(message))
    };
    messages.into_iter().enumerate().map(message).collect()
}

/// Puts the tag behind the last message's text; gives the text.
fn mark_final_message(messages: &mut [Json]) -> Result<String, TextError> {
    let content = messages.last_mut().and_then(|message| message.get_mut("content"));
    let text = match content {
        Some(text @ Json::String(_)) => Some(text),
        Some(Json::Array(blocks)) => blocks.iter_mut().rev().find_map(|block| block.get_mut("text")),
        _ => None,
    };
    let Some(Json::String(text)) = text else {
        return input("continue_final_message is set but the final message has no text to continue");
    };
    let before = text.clone();
    text.push_str(CONTINUE_TAG);
    Ok(before)
}

/// Cuts the prompt where the tag is; where the template trimmed the text, the text's end is trimmed too.
fn cut_after(mut rendered: String, text: &str) -> Result<String, TextError> {
    let tag = CONTINUE_TAG.trim_end();
    let Some(at) = rendered.rfind(tag).filter(|_| rendered.contains(text.trim())) else {
        return input(
            "continue_final_message is set but the final message does not appear in the rendered chat; the chat \
             template leaves it out or changes it",
        );
    };
    let whole = rendered.get(at..).is_some_and(|rest| rest.starts_with(CONTINUE_TAG));
    rendered.truncate(at);
    if !whole {
        rendered.truncate(rendered.trim_end().len());
    }
    Ok(rendered)
}

fn input<T>(message: impl Into<String>) -> Result<T, TextError> {
    Err(TextError::ChatInput(message.into()))
}

fn failed(error: &Error) -> TextError {
    let message = match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => "it takes too long: it was stopped".to_owned(),
        (ErrorKind::InvalidOperation, Some(detail)) => detail.to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    };
    TextError::ChatTemplate { line: error.line(), message }
}
