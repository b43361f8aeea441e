//! Where things lie in the cache.
//!
//! ```text
//! models--org--name--{hash of the endpoint}/
//!   +repo                what it is: endpoint and id
//!   +refs/{ref}          the commit that a branch or tag was last seen at
//!   {commit}/
//!     +used              when it was last opened
//!     {file}/
//!       {offset}         a segment of the file
//!       absent           the commit has no such file
//! ```
//!
//! Refs and files are percent-encoded whole, so that a name never begins with a `+` of its own.

use super::super::id::encode;
use super::segment::identity;

/// Says what a repo's folder is of.
pub(super) const REPO: &str = "+repo";
/// The folder of refs.
pub(super) const REFS: &str = "+refs";
/// When a commit was last opened.
pub(super) const USED: &str = "+used";
/// Stands in a file's folder where the commit has no such file.
pub(super) const ABSENT: &str = "absent";

/// The longest name. File systems take 255 bytes; what is longer goes uncached.
const MAX_NAME: usize = 200;

/// The folder of a repo. Neither part of an id holds `--`.
pub(super) fn repo_folder(endpoint: &str, id: &str) -> String {
    format!("models--{}--{:016x}", id.replace('/', "--"), identity(&[endpoint]))
}

/// Where a ref's commit is.
pub(super) fn ref_path(repo_folder: &str, revision: &str) -> Option<String> {
    Some(format!("{repo_folder}/{REFS}/{}", name(revision)?))
}

/// The folder of a file's segments.
pub(super) fn file_folder(snapshot: &str, path: &str) -> Option<String> {
    Some(format!("{snapshot}/{}", name(path)?))
}

fn name(text: &str) -> Option<String> {
    let name = encode(text);
    (!name.is_empty() && name.len() <= MAX_NAME && !name.starts_with('.')).then_some(name.clone()).or_else(|| {
        // `.` and `..` are no names, and a dot may hide a file; encoded otherwise, it is one.
        let hidden = name.strip_prefix('.')?;
        (name.len() <= MAX_NAME).then(|| format!("%2E{hidden}"))
    })
}

/// What [`name`] encoded; `None` where it can't have.
pub(super) fn decode(name: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [first, tail @ ..] = rest {
        match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                bytes.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
                rest = tail;
            }
            (b'%', _) => return None,
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

/// The top folder of a cache, whatever the user calls it.
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
pub(super) fn cache_folder(cache_dir: &str) -> String {
    name(cache_dir).unwrap_or_else(|| format!("{:016x}", identity(&[cache_dir])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_a_name_of_its_own_that_can_be_read_again() {
        let long = "a".repeat(200);
        let paths = ["config.json", "a/b.json", "a%2Fb.json", ".hidden", "%2Ehidden", "ü #?+", "absent", "0", &long];
        let names: std::collections::BTreeSet<String> = paths.iter().map(|path| name(path).unwrap()).collect();
        assert_eq!(names.len(), paths.len());
        for path in paths {
            let name = name(path).unwrap();
            assert!(!name.starts_with(['.', '+']) && !name.contains('/'), "{name}");
            assert_eq!(decode(&name).as_deref(), Some(path));
        }
        assert_eq!((name(""), name(&"a".repeat(201)), decode("%"), decode("%zz")), (None, None, None, None));
    }

    #[test]
    fn repos_of_two_endpoints_are_two() {
        let here = repo_folder("https://h", "org/name");
        assert!(here.starts_with("models--org--name--"), "{here}");
        assert_ne!(here, repo_folder("https://g", "org/name"));
        assert_eq!(ref_path(&here, "refs/pr/1").unwrap(), format!("{here}/+refs/refs%2Fpr%2F1"));
        assert_eq!(cache_folder("layerline"), "layerline");
        assert_eq!(cache_folder("../x"), "%2E.%2Fx");
    }
}
