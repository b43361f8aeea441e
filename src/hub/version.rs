//! Whether two answers are of one and the same file. `If-Range` would ask the server, but a browser sends it only after
//! a preflight that CDNs refuse: so the client compares.

use std::collections::BTreeMap;

/// What a server says of the file's version, as far as CORS lets it be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Validators {
    pub etag: Option<String>,
    pub last_modified: Option<String>,
    /// The whole file's size.
    pub size: Option<u64>,
}

/// What has been said so far of one file.
#[derive(Debug, Default)]
pub(super) struct Version {
    size: Option<u64>,
    /// By the origin that answered: the Hub's ETag is the file's hash, its CDN's another one.
    by_origin: BTreeMap<String, Validators>,
    /// Bytes that came only to be thrown away, because the server ignores Range.
    skipped: u64,
}

impl Version {
    /// Nothing asked for by range may cost more than this in bytes that nobody asked for, or a file of 5 GB would be
    /// fetched hundreds of times over.
    const MAX_SKIPPED: u64 = 256 << 20;

    /// Takes an answer's word. `Err` says what differs from an earlier one.
    pub(super) fn agree(&mut self, origin: &str, said: &Validators) -> Result<(), String> {
        if let (Some(before), Some(now)) = (self.size, said.size)
            && before != now
        {
            return Err(format!("it had {before} bytes, now it has {now}"));
        }
        let known = self.by_origin.entry(origin.to_owned()).or_default();
        match (&known.etag, &said.etag) {
            (Some(before), Some(now)) if strong(before) != strong(now) => {
                return Err(format!("its ETag was {before}, now it is {now}"));
            }
            (Some(_), Some(_)) => {}
            _ => {
                if let (Some(before), Some(now)) = (&known.last_modified, &said.last_modified)
                    && before != now
                {
                    return Err(format!("it was of {before}, now it is of {now}"));
                }
            }
        }
        self.size = self.size.or(said.size);
        known.etag = known.etag.take().or_else(|| said.etag.clone());
        known.last_modified = known.last_modified.take().or_else(|| said.last_modified.clone());
        Ok(())
    }

    /// The file's size, where an answer told it.
    pub(super) fn size(&self) -> Option<u64> {
        self.size
    }

    /// Whether `bytes` more may be thrown away.
    pub(super) fn may_skip(&mut self, bytes: u64) -> bool {
        self.skipped = self.skipped.saturating_add(bytes);
        self.skipped <= Self::MAX_SKIPPED
    }
}

/// The part of an ETag that a compressing server or proxy leaves alone: it weakens the tag (`W/"x"`), or marks the
/// variant (`"x-gzip"`, `"x;gzip"`, `"x--gzip"`).
fn strong(etag: &str) -> &str {
    let tag = etag.trim().trim_start_matches("W/").trim_matches('"');
    let marks = ["gzip", "br", "zstd", "deflate"];
    marks.iter().find_map(|mark| tag.strip_suffix(mark)?.strip_suffix(['-', ';'])).unwrap_or(tag).trim_end_matches('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(etag: &str, last_modified: &str, size: u64) -> Validators {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Validators { etag: text(etag), last_modified: text(last_modified), size: (size > 0).then_some(size) }
    }

    /// Whether the two agree, both from one origin.
    fn agree(before: Validators, now: Validators) -> bool {
        let mut version = Version::default();
        version.agree("https://h", &before).unwrap();
        version.agree("https://h", &now).is_ok()
    }

    #[test]
    fn the_same_file() {
        assert!(agree(said("\"a\"", "Mon", 9), said("\"a\"", "Mon", 9)));
        // Two servers of one host need not have copied the file at the same time.
        assert!(agree(said("\"a\"", "Mon", 9), said("\"a\"", "Tue", 9)));
        for variant in ["W/\"a\"", "\"a-gzip\"", "\"a;br\"", "W/\"a--gzip\"", "a"] {
            assert!(agree(said("\"a\"", "", 0), said(variant, "", 0)), "{variant}");
        }
        // What is hidden says nothing.
        assert!(agree(said("\"a\"", "Mon", 9), said("", "", 0)));
        assert!(agree(said("", "Mon", 0), said("\"a\"", "Mon", 9)));
    }

    #[test]
    fn another_file() {
        assert!(!agree(said("\"a\"", "Mon", 9), said("\"b\"", "Mon", 9)));
        assert!(!agree(said("\"a\"", "", 9), said("\"a\"", "", 10)));
        assert!(!agree(said("", "Mon", 9), said("", "Tue", 9)));
        assert!(!agree(said("\"a\"", "Mon", 0), said("", "Tue", 0)));
        assert!(!agree(said("\"a-b\"", "", 0), said("\"a\"", "", 0)));
    }

    #[test]
    fn what_was_hidden_first_is_compared_from_when_it_shows() {
        let mut version = Version::default();
        for later in [said("", "Mon", 0), said("\"a\"", "", 0), said("", "", 9)] {
            version.agree("https://h", &later).unwrap();
        }
        assert!(version.agree("https://h", &said("\"b\"", "", 0)).is_err());
        assert!(version.agree("https://h", &said("", "Tue", 0)).is_err());
        assert!(version.agree("https://h", &said("", "", 8)).is_err());
        assert_eq!(version.size(), Some(9));
    }

    #[test]
    fn origins_have_their_own_tags_but_one_size() {
        let mut version = Version::default();
        version.agree("https://hub", &said("\"sha\"", "Mon", 9)).unwrap();
        version.agree("https://cdn", &said("\"xet\"", "Tue", 9)).unwrap();
        assert!(version.agree("https://cdn", &said("\"sha\"", "", 0)).is_err());
        assert!(version.agree("https://cdn2", &said("\"s3\"", "", 8)).is_err());
    }

    #[test]
    fn skipping_is_bounded() {
        let mut version = Version::default();
        assert!(version.may_skip(Version::MAX_SKIPPED));
        assert!(!version.may_skip(1));
        assert!(!Version::default().may_skip(u64::MAX));
    }
}
