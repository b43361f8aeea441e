//! What a repo may be called, and where its files are: URLs.

use super::HubError;

/// Checks `id` by huggingface_hub's rules: `name` or `namespace/name`, each of 1 to 96 characters of `[A-Za-z0-9_.-]`
/// that neither start nor end with `-` or `.`, no `--` or `..`, no final `.git`.
pub(super) fn validate_repo_id(id: &str) -> Result<(), HubError> {
    let fail = |reason| Err(HubError::InvalidRepoId { id: id.to_owned(), reason });
    if id.bytes().filter(|b| *b == b'/').count() > 1 {
        return fail("it has more than one '/'");
    }
    for part in id.split('/') {
        if part.is_empty() || part.len() > 96 {
            return fail("each of its parts must have 1 to 96 characters");
        }
        if !part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')) {
            return fail("only letters, digits, '-', '_' and '.' are allowed");
        }
        if part.starts_with(['-', '.']) || part.ends_with(['-', '.']) {
            return fail("a part must not start or end with '-' or '.'");
        }
    }
    if id.contains("--") || id.contains("..") {
        return fail("'--' and '..' are not allowed");
    }
    if id.ends_with(".git") {
        return fail("it must not end with '.git'");
    }
    Ok(())
}

/// The endpoint without a final slash. Relative ones are refused: a worker made from a blob has nothing to resolve
/// them against.
pub(super) fn validate_endpoint(endpoint: &str) -> Result<&str, HubError> {
    let trimmed = endpoint.trim_end_matches('/');
    let host = trimmed.strip_prefix("https://").or_else(|| trimmed.strip_prefix("http://"));
    match host {
        Some(host)
            if !host.is_empty()
                && !host.starts_with('/')
                && !host.contains(|c: char| c.is_whitespace() || c.is_control() || "?#@\\".contains(c)) =>
        {
            Ok(trimmed)
        }
        _ => Err(HubError::InvalidEndpoint { endpoint: endpoint.to_owned() }),
    }
}

/// Whether `path` is a relative path of plain segments. `.` and `..` would be resolved by the URL parser, even when
/// they are percent-encoded, and reach another repo.
pub(crate) fn is_plain_path(path: &str) -> bool {
    !path.contains(['\\', '\0']) && path.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}

/// Whether `revision` is a full commit hash.
pub(super) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// `{endpoint}/{id}/resolve/{revision}/{path}`
pub(super) fn resolve_url(endpoint: &str, id: &str, revision: &str, path: &str) -> String {
    format!("{endpoint}/{id}/resolve/{}/{}", encode(revision), encode_path(path))
}

/// The path with each of its segments percent-encoded.
pub(super) fn encode_path(path: &str) -> String {
    path.split('/').map(encode).collect::<Vec<_>>().join("/")
}

/// `{endpoint}/api/models/{id}/revision/{revision}`
pub(super) fn revision_url(endpoint: &str, id: &str, revision: &str) -> String {
    format!("{endpoint}/api/models/{id}/revision/{}", encode(revision))
}

/// `https://host:port` of an absolute URL.
pub(super) fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(host..).and_then(|rest| rest.find(['/', '?', '#'])).map_or(url.len(), |at| host + at);
    url.get(..end).unwrap_or(url)
}

/// Percent-encodes everything but RFC 3986's unreserved characters, as Python's `quote(safe="")`.
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repo_ids() {
        let long = "a".repeat(97);
        for id in ["gpt2", "foo/bar", "123", "Foo-BAR_foo.bar123", "_a/b_", "HuggingFaceTB/SmolLM2-135M-Instruct"] {
            assert_eq!(validate_repo_id(id), Ok(()), "{id}");
        }
        for id in [
            "",
            "/",
            "a/",
            "/a",
            "datasets/foo/bar",
            ".repo_id",
            "foo--bar",
            "foo..bar",
            "foo.git",
            "a b",
            "café",
            "a/-b",
            "a./b",
            "a?b",
            "a\\b",
            &long,
        ] {
            let error = validate_repo_id(id).unwrap_err();
            assert_eq!(error.code(), "INVALID_REPO_ID", "{id}");
            assert!(error.to_string().contains(&format!("{id:?}")), "{error}");
        }
    }

    #[test]
    fn endpoints() {
        assert_eq!(validate_endpoint("https://huggingface.co"), Ok("https://huggingface.co"));
        assert_eq!(validate_endpoint("http://127.0.0.1:8080/hub//"), Ok("http://127.0.0.1:8080/hub"));
        for bad in [
            "",
            "huggingface.co",
            "/hub",
            "ftp://a",
            "https://",
            "https:///a",
            "https://a b",
            "http://a?b",
            "https://u:p@h",
        ] {
            assert_eq!(validate_endpoint(bad).unwrap_err().code(), "INVALID_ENDPOINT", "{bad}");
        }
    }

    #[test]
    fn urls() {
        assert_eq!(
            resolve_url("https://h", "a/b", "refs/pr/1", "sub dir/ü#?.json"),
            "https://h/a/b/resolve/refs%2Fpr%2F1/sub%20dir/%C3%BC%23%3F.json"
        );
        assert_eq!(revision_url("https://h", "gpt2", "main"), "https://h/api/models/gpt2/revision/main");
    }

    #[test]
    fn origins() {
        for (url, expected) in [
            ("https://h/a/b", "https://h"),
            ("http://127.0.0.1:80?q=/", "http://127.0.0.1:80"),
            ("https://h", "https://h"),
            ("", ""),
        ] {
            assert_eq!(origin(url), expected);
        }
    }

    #[test]
    fn paths() {
        for good in ["config.json", "a/b.safetensors", "..a", "a/..b"] {
            assert!(is_plain_path(good), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", "..", "../a", "a/../b", "./a", "a\\b", "C:\\a", "a\0"] {
            assert!(!is_plain_path(bad), "{bad:?}");
        }
    }

    #[test]
    fn commits() {
        assert!(is_commit("0123456789abcdef0123456789abcdef01234567"));
        assert!(!is_commit("0123456789ABCDEF0123456789abcdef01234567"));
        assert!(!is_commit("main"));
    }
}
