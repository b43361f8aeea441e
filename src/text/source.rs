//! A template's source, rewritten where transformers' Jinja reads what `minijinja` doesn't.

/// Rewrites `{% generation %}` blocks and strings that go on over a line's end. Lines keep their numbers.
///
/// `generation` is transformers' own tag: it marks the assistant's words for training and changes nothing in the text.
/// Like it `with` opens a scope of its own. A backslash at a line's end inside a string joins the lines, as in Python.
pub(super) fn adapt(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    let mut raw = false;
    while let Some(start) = rest.find('{') {
        let (text, tag) = rest.split_at(start);
        out.push_str(text);
        let close = match tag.get(..2) {
            Some("{%") => "%}",
            Some("{{") if !raw => "}}",
            Some("{#") if !raw => "#}",
            _ => {
                out.push('{');
                rest = tag.get(1..).unwrap_or_default();
                continue;
            }
        };
        let (tag, after) = tag.split_at(tag_length(tag, close));
        let name = tag.trim_matches(['{', '%', '}', '-', '+', ' ', '\t', '\n', '\r']);
        match name {
            "raw" | "endraw" if close == "%}" => {
                raw = name == "raw";
                out.push_str(tag);
            }
            "generation" if close == "%}" && !raw => out.push_str(&tag.replacen("generation", "with", 1)),
            "endgeneration" if close == "%}" && !raw => out.push_str(&tag.replacen("endgeneration", "endwith", 1)),
            _ if close == "#}" || raw => out.push_str(tag),
            _ => push_joined(&mut out, tag),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// A tag's length up to and with its closing delimiter, which doesn't count inside a string.
fn tag_length(tag: &str, close: &str) -> usize {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in tag.char_indices().skip(2) {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'') && close != "#}" => quote = Some(c),
            None if tag.get(at..).is_some_and(|rest| rest.starts_with(close)) => return at + close.len(),
            None => {}
        }
    }
    tag.len()
}

/// Joins the lines of a tag that end in a backslash, which only strings can, and puts the line breaks at the tag's end.
fn push_joined(out: &mut String, tag: &str) {
    let joined = tag.replace("\\\n", "");
    let breaks = (tag.len() - joined.len()) / 2;
    let inner = joined.trim_end_matches(['}', '%', '-', '+']);
    let (inner, close) = if breaks == 0 { (joined.as_str(), "") } else { joined.split_at(inner.len()) };
    out.push_str(inner);
    out.extend(std::iter::repeat_n('\n', breaks));
    out.push_str(close);
}
