//! From an answer that is no success to an error, in huggingface_hub's order: the Hub's own code comes first, because
//! statuses overlap (a missing repo is a 401 to an anonymous caller).

use std::ops::Range;

use super::HubError;

/// What the error is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub endpoint: &'a str,
    /// Whether the endpoint has repos, rather than files alone.
    pub is_hub: bool,
    pub repo: &'a str,
    pub revision: &'a str,
    pub token: bool,
    /// `None`: the revision itself.
    pub path: Option<&'a str>,
    pub range: Option<&'a Range<u64>>,
}

impl Asked<'_> {
    /// For messages: "bytes 0..8 of model.safetensors".
    pub(super) fn what(&self) -> String {
        match (self.path, self.range) {
            (None, _) => format!("revision {}", self.revision),
            (Some(path), None) => path.to_owned(),
            (Some(path), Some(range)) => format!("bytes {}..{} of {path}", range.start, range.end),
        }
    }

    pub(super) fn network(&self, reason: impl Into<String>) -> HubError {
        HubError::Network {
            repo: self.repo.to_owned(),
            what: self.what(),
            endpoint: self.endpoint.to_owned(),
            reason: reason.into(),
        }
    }

    pub(super) fn bad_response(&self, reason: impl Into<String>) -> HubError {
        HubError::BadResponse { repo: self.repo.to_owned(), what: self.what(), reason: reason.into() }
    }

    pub(super) fn beyond_the_end(&self) -> HubError {
        HubError::RangeNotSatisfiable { repo: self.repo.to_owned(), what: self.what() }
    }

    pub(super) fn aborted(&self) -> HubError {
        HubError::Aborted { repo: self.repo.to_owned() }
    }
}

/// The parts of an answer that tell what went wrong. The headers are `None` where CORS hides them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Answer<'a> {
    pub status: u16,
    /// `X-Error-Code`
    pub code: Option<&'a str>,
    /// `X-Error-Message`
    pub message: Option<&'a str>,
    /// Another origin than the endpoint's, to which the endpoint sent the request on.
    pub elsewhere: Option<&'a str>,
}

/// The error for `answer`.
pub(super) fn classify(asked: &Asked<'_>, answer: Answer<'_>) -> HubError {
    let repo = asked.repo.to_owned();
    match (answer.code, answer.message) {
        (Some("RevisionNotFound"), _) => {
            return HubError::RevisionNotFound { repo, revision: asked.revision.to_owned() };
        }
        (Some("EntryNotFound"), _) => return entry_not_found(asked),
        (Some("GatedRepo"), _) => {
            return HubError::Gated { page: format!("{}/{repo}", asked.endpoint), repo };
        }
        (_, Some("Access to this resource is disabled.")) => return HubError::Disabled { repo },
        (Some("RepoNotFound"), _) => return repo_not_found(asked),
        _ => {}
    }
    match answer.status {
        // Without a token the Hub hides a missing repo behind a 401, and its code may be hidden by CORS.
        // It knows of no repos: it refused a signed URL.
        401 | 403 if answer.elsewhere.is_some() => {
            HubError::Forbidden { repo, what: asked.what(), reason: said(answer) }
        }
        401 if !asked.token && asked.is_hub => repo_not_found(asked),
        // A store whose listing is private refuses what it doesn't have.
        403 if !asked.is_hub && asked.path.is_some() => entry_not_found(asked),
        401 => HubError::Unauthorized { repo },
        403 => HubError::Forbidden { repo, what: asked.what(), reason: said(answer) },
        404 if asked.path.is_some() => entry_not_found(asked),
        404 => repo_not_found(asked),
        416 => HubError::RangeNotSatisfiable { repo, what: asked.what() },
        429 => HubError::RateLimited { repo, what: asked.what() },
        _ => asked.bad_response(said(answer)),
    }
}

fn said(answer: Answer<'_>) -> String {
    let from = answer.elsewhere.map(|origin| format!(" from {origin}")).unwrap_or_default();
    match answer.message {
        Some(message) => format!("status {}{from}: {message}", answer.status),
        None => format!("status {}{from}", answer.status),
    }
}

fn repo_not_found(asked: &Asked<'_>) -> HubError {
    HubError::RepoNotFound { repo: asked.repo.to_owned(), endpoint: asked.endpoint.to_owned() }
}

fn entry_not_found(asked: &Asked<'_>) -> HubError {
    HubError::EntryNotFound {
        repo: asked.repo.to_owned(),
        revision: asked.revision.to_owned(),
        path: asked.path.unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Asked<'_> = Asked {
        is_hub: true,
        endpoint: "https://hub.test",
        repo: "a/b",
        revision: "main",
        token: false,
        path: Some("config.json"),
        range: None,
    };
    const REVISION: Asked<'_> = Asked { path: None, ..FILE };

    fn code(asked: Asked<'_>, status: u16, code: Option<&str>, message: Option<&str>) -> &'static str {
        classify(&asked, Answer { status, code, message, elsewhere: None }).code()
    }

    #[test]
    fn the_hubs_code_comes_before_the_status() {
        assert_eq!(code(FILE, 404, Some("RevisionNotFound"), None), "REVISION_NOT_FOUND");
        assert_eq!(code(FILE, 404, Some("EntryNotFound"), None), "ENTRY_NOT_FOUND");
        assert_eq!(code(FILE, 401, Some("GatedRepo"), None), "GATED_REPO");
        assert_eq!(code(FILE, 403, Some("GatedRepo"), None), "GATED_REPO");
        assert_eq!(code(FILE, 404, Some("RepoNotFound"), None), "REPO_NOT_FOUND");
        assert_eq!(code(FILE, 401, Some("RepoNotFound"), None), "REPO_NOT_FOUND");
        assert_eq!(code(FILE, 403, None, Some("Access to this resource is disabled.")), "DISABLED_REPO");
        assert_eq!(code(FILE, 403, Some("GatedRepo"), Some("Access to this resource is disabled.")), "GATED_REPO");
    }

    #[test]
    fn statuses_without_a_code() {
        let with_token = Asked { token: true, ..FILE };
        assert_eq!(code(FILE, 401, None, None), "REPO_NOT_FOUND");
        assert_eq!(code(with_token, 401, None, None), "UNAUTHORIZED");
        assert_eq!(code(with_token, 401, None, Some("Invalid credentials in Authorization header")), "UNAUTHORIZED");
        assert_eq!(code(FILE, 403, None, None), "FORBIDDEN");
        assert_eq!(code(FILE, 404, None, None), "ENTRY_NOT_FOUND");
        assert_eq!(code(REVISION, 404, None, None), "REPO_NOT_FOUND");
        assert_eq!(code(FILE, 416, None, None), "RANGE_NOT_SATISFIABLE");
        assert_eq!(code(FILE, 429, None, None), "RATE_LIMITED");
        assert_eq!(code(FILE, 500, None, None), "BAD_RESPONSE");
        assert_eq!(code(FILE, 304, None, None), "BAD_RESPONSE");
    }

    #[test]
    fn a_refusal_of_a_signed_url_is_not_the_repos() {
        for status in [401, 403] {
            let answer = Answer { status, elsewhere: Some("https://cdn.test"), ..Answer::default() };
            let error = classify(&FILE, answer);
            assert_eq!(error.code(), "FORBIDDEN");
            assert!(error.to_string().contains(&format!("status {status} from https://cdn.test")), "{error}");
            // A mirror may send everything on, the Hub's own words included.
            let error = classify(&FILE, Answer { code: Some("GatedRepo"), ..answer });
            assert_eq!(error.code(), "GATED_REPO");
        }
    }

    #[test]
    fn messages_say_what_and_what_to_do() {
        let range = 5..9;
        let asked = Asked { range: Some(&range), ..FILE };
        let error = classify(&asked, Answer { status: 500, message: Some("boom"), ..Answer::default() });
        assert_eq!(error.to_string(), "a/b: unusable answer for bytes 5..9 of config.json: status 500: boom");
        let error = classify(&FILE, Answer { status: 403, code: Some("GatedRepo"), ..Answer::default() });
        assert!(error.to_string().contains("ask for access at https://hub.test/a/b"), "{error}");
        let error = classify(&REVISION, Answer { status: 401, ..Answer::default() });
        assert!(error.to_string().contains("pass a token"), "{error}");
    }
}
