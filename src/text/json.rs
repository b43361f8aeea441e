//! The `tojson` filter as transformers defines it: Python's `json.dumps`, without HTML escapes.

use std::fmt::Write as _;

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind};

/// Values nested deeper than this are refused, as they would exhaust the stack.
const MAX_DEPTH: usize = 128;

/// `value|tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False)`
pub(super) fn tojson(
    value: &Value,
    ensure_ascii: Option<Value>,
    indent: Option<Value>,
    separators: Option<Value>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let arg = |positional: Option<Value>, name: &str| -> Result<Option<Value>, Error> {
        let value = if positional.is_some() { positional } else { kwargs.get(name)? };
        Ok(value.filter(|value| !value.is_none() && !value.is_undefined()))
    };
    let ensure_ascii = arg(ensure_ascii, "ensure_ascii")?.is_some_and(|value| value.is_true());
    let indent = arg(indent, "indent")?.map(indent_text).transpose()?;
    let separators = arg(separators, "separators")?;
    let sort_keys = arg(None, "sort_keys")?.is_some_and(|value| value.is_true());
    kwargs.assert_all_used()?;

    let (item, key) = match separators {
        Some(pair) => {
            let part = |i: i64| -> Result<String, Error> { Ok(pair.get_item(&i.into())?.to_string()) };
            (part(0)?, part(1)?)
        }
        // With an indent Python leaves out the space at the end of a line.
        None => (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()),
    };
    let mut writer = Writer { out: String::new(), ensure_ascii, indent, item, key, sort_keys };
    writer.value(value, 0)?;
    Ok(Value::from(writer.out))
}

/// An indent is a number of spaces or the text itself.
fn indent_text(indent: Value) -> Result<String, Error> {
    if let Some(text) = indent.as_str() {
        return Ok(text.to_owned());
    }
    let spaces = i64::try_from(indent)?.clamp(0, 64);
    Ok(" ".repeat(usize::try_from(spaces).unwrap_or_default()))
}

struct Writer {
    out: String,
    ensure_ascii: bool,
    indent: Option<String>,
    item: String,
    key: String,
    sort_keys: bool,
}

impl Writer {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(Error::new(ErrorKind::InvalidOperation, "tojson: the value is nested too deeply"));
        }
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self.out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.number(value),
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Seq => self.list(value, depth)?,
            ValueKind::Map => self.object(value, depth)?,
            kind => {
                let message = format!("tojson: an object of type {kind} is not JSON serializable");
                return Err(Error::new(ErrorKind::InvalidOperation, message));
            }
        }
        Ok(())
    }

    /// Python writes a float with an exponent from 1e16 on and below 1e-4, with two digits at least.
    fn number(&mut self, value: &Value) {
        let text = value.to_string();
        let float = if value.is_integer() { None } else { text.parse::<f64>().ok() };
        let _ = match float {
            None => write!(self.out, "{text}"),
            Some(float) if float.is_nan() => write!(self.out, "NaN"),
            Some(float) if float.is_infinite() => write!(self.out, "{}Infinity", if float < 0.0 { "-" } else { "" }),
            Some(float) if float != 0.0 && !(1e-4..1e16).contains(&float.abs()) => {
                let text = format!("{float:e}");
                let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
                let sign = if exponent.starts_with('-') { '-' } else { '+' };
                write!(self.out, "{digits}e{sign}{:0>2}", exponent.trim_start_matches('-'))
            }
            Some(float) => write!(self.out, "{float:?}"),
        };
    }

    fn list(&mut self, list: &Value, depth: usize) -> Result<(), Error> {
        let items: Vec<Value> = list.try_iter()?.collect();
        self.out.push('[');
        for (i, item) in items.iter().enumerate() {
            self.start_item(i, depth);
            self.value(item, depth + 1)?;
        }
        self.end(']', items.is_empty(), depth);
        Ok(())
    }

    fn object(&mut self, object: &Value, depth: usize) -> Result<(), Error> {
        let mut keys: Vec<Value> = object.try_iter()?.collect();
        if self.sort_keys {
            keys.sort();
        }
        self.out.push('{');
        for (i, key) in keys.iter().enumerate() {
            self.start_item(i, depth);
            match key.kind() {
                ValueKind::String => self.string(key.as_str().unwrap_or_default()),
                ValueKind::Bool => self.string(if key.is_true() { "true" } else { "false" }),
                ValueKind::None => self.string("null"),
                _ => self.string(&key.to_string()),
            }
            self.out.push_str(&self.key);
            self.value(&object.get_item(key)?, depth + 1)?;
        }
        self.end('}', keys.is_empty(), depth);
        Ok(())
    }

    fn start_item(&mut self, index: usize, depth: usize) {
        if index > 0 {
            self.out.push_str(&self.item);
        }
        self.new_line(depth + 1);
    }

    fn end(&mut self, bracket: char, empty: bool, depth: usize) {
        if !empty {
            self.new_line(depth);
        }
        self.out.push(bracket);
    }

    fn new_line(&mut self, depth: usize) {
        if let Some(indent) = &self.indent {
            self.out.push('\n');
            for _ in 0..depth {
                self.out.push_str(indent);
            }
        }
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                c if c < ' ' || (self.ensure_ascii && c > '~') => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        // Writing to a String can't fail.
                        let _ = write!(self.out, "\\u{unit:04x}");
                    }
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}
