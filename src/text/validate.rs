//! Checks a `tokenizer.json` for what the `tokenizers` crate takes on trust.
//!
//! The crate panics on some malformed parts, at once or in the middle of a text, and a panic in wasm ends the module.

use base64::Engine as _;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

/// Parts that may nest in each other are followed this far.
const MAX_DEPTH: usize = 16;

/// The parts of a `tokenizer.json` that are looked into; the vocabulary, which is most of the file, is skipped.
#[derive(Deserialize)]
struct Outline {
    model: IgnoredAny,
    #[serde(default)]
    normalizer: Option<Value>,
    #[serde(default)]
    pre_tokenizer: Option<Value>,
    #[serde(default)]
    post_processor: Option<Value>,
    #[serde(default)]
    decoder: Option<Value>,
}

/// Says what is wrong with a `tokenizer.json`, as far as the crate wouldn't say it itself.
pub(super) fn check(tokenizer_json: &[u8]) -> Result<(), String> {
    let outline: Outline = serde_json::from_slice(tokenizer_json).map_err(|e| e.to_string())?;
    let Outline { model: IgnoredAny, normalizer, pre_tokenizer, post_processor, decoder } = outline;
    for (name, part) in [
        ("normalizer", normalizer),
        ("pre_tokenizer", pre_tokenizer),
        ("post_processor", post_processor),
        ("decoder", decoder),
    ] {
        if let Some(part) = part {
            check_part(&part, name, 0).map_err(|(path, reason)| format!("`{path}`: {reason}"))?;
        }
    }
    Ok(())
}

/// The error is the part's path and what is wrong with it.
fn check_part(part: &Value, path: &str, depth: usize) -> Result<(), (String, String)> {
    let wrong = |reason: &str| Err((path.to_owned(), reason.to_owned()));
    if depth > MAX_DEPTH {
        return wrong("it is nested too deeply");
    }
    let Some(fields) = part.as_object() else { return wrong("it must be an object") };
    let checked = match fields.get("type").and_then(Value::as_str) {
        Some("Precompiled") => check_precompiled(fields),
        Some("TemplateProcessing") => check_template(fields),
        Some("FixedLength") if fields.get("length").is_some_and(|length| length.as_u64() == Some(0)) => {
            Err("its length must be at least 1".into())
        }
        _ => Ok(()),
    };
    checked.map_err(|reason| (path.to_owned(), reason))?;
    for key in ["normalizers", "pretokenizers", "processors", "decoders"] {
        let parts = fields.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for (i, part) in parts.iter().enumerate() {
            check_part(part, &format!("{path}.{key}[{i}]"), depth + 1)?;
        }
    }
    Ok(())
}

fn check_precompiled(fields: &Map<String, Value>) -> Result<(), String> {
    let map = fields.get("precompiled_charsmap").and_then(Value::as_str);
    let map = map.ok_or("its `precompiled_charsmap` must be a base64 string")?;
    let map = base64::engine::general_purpose::STANDARD.decode(map);
    let map = map.map_err(|e| format!("its `precompiled_charsmap` is not base64: {e}"))?;
    super::precompiled::check(&map).map_err(|reason| format!("its `precompiled_charsmap` is malformed: {reason}"))
}

/// A template names special tokens of its own list, and has as many sequences as there are texts.
fn check_template(fields: &Map<String, Value>) -> Result<(), String> {
    for (template, sequences) in [("single", &["A"][..]), ("pair", &["A", "B"])] {
        let pieces = fields.get(template).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for piece in pieces {
            if let Some(id) = piece.pointer("/SpecialToken/id").and_then(Value::as_str)
                && fields.get("special_tokens").and_then(|tokens| tokens.get(id)).is_none()
            {
                return Err(format!("its `{template}` uses {id:?}, which its `special_tokens` lack"));
            }
            if let Some(id) = piece.pointer("/Sequence/id").and_then(Value::as_str)
                && !sequences.contains(&id)
            {
                return Err(format!("its `{template}` uses sequence {id:?}, where there is none"));
            }
        }
    }
    Ok(())
}
