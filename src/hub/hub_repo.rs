//! A repo on the Hub, or on whatever speaks the Hub's protocol.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use serde::Deserialize;

use super::connection::{Connection, Timeouts};
use super::http::{Cache, Traffic, Transport};
use super::id::{
    encode_path, is_commit, is_plain_path, resolve_url, revision_url, validate_endpoint, validate_repo_id,
};
use super::retry::Backoff;
use super::stream::RangeStream;
use super::{Abort, ByteStream, HubError, Prefix, Repo};

/// The revision API lists every file of the repo beside the commit.
const MAX_REVISION_ANSWER: u64 = 16 << 20;

/// Where and how to reach a repo.
#[derive(Clone)]
pub struct HubOptions {
    /// The Hub's address, or a mirror's.
    pub endpoint: String,
    /// A branch, a tag or a commit.
    pub revision: String,
    /// A user access token. It goes to the endpoint's origin only.
    pub token: Option<String>,
    /// The folder in the repo that every path is relative to.
    pub subfolder: Option<String>,
    /// When a connection counts as dropped.
    pub timeouts: Timeouts,
}

impl Default for HubOptions {
    fn default() -> Self {
        HubOptions {
            endpoint: "https://huggingface.co".to_owned(),
            revision: "main".to_owned(),
            token: None,
            subfolder: None,
            timeouts: Timeouts::default(),
        }
    }
}

impl std::fmt::Debug for HubOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubOptions")
            .field("endpoint", &self.endpoint)
            .field("revision", &self.revision)
            .field("token", &self.token.as_ref().map(|_| "(hidden)"))
            .field("subfolder", &self.subfolder)
            .field("timeouts", &self.timeouts)
            .finish()
    }
}

/// A model repo at one commit.
#[derive(Clone)]
pub struct HubRepo(Rc<Connection>);

impl HubRepo {
    /// Looks up the commit that `options.revision` means now, so that a push during the load can't mix two commits.
    ///
    /// Every request of this repo and of its streams ends with [`HubError::Aborted`] once `abort` is.
    #[cfg(target_arch = "wasm32")]
    pub async fn pin(id: &str, options: HubOptions, abort: Abort) -> Result<HubRepo, HubError> {
        let transport = Box::new(super::fetch::Fetch::new(abort.clone()));
        Self::pin_by(transport, id, options, abort).await
    }

    pub(super) async fn pin_by(
        transport: Box<dyn Transport>,
        id: &str,
        options: HubOptions,
        abort: Abort,
    ) -> Result<HubRepo, HubError> {
        validate_repo_id(id)?;
        let endpoint = validate_endpoint(&options.endpoint)?.to_owned();
        if matches!(options.revision.as_str(), "" | "." | "..") {
            return Err(HubError::RevisionNotFound { repo: id.to_owned(), revision: options.revision });
        }
        let mut connection = Self::connection(transport, id, endpoint, options, abort)?;
        if !is_commit(&connection.revision)
            && let Some(commit) = connection.find_commit().await?
        {
            connection.revision = commit;
        }
        Ok(HubRepo(Rc::new(connection)))
    }

    /// The files under a URL, as a web server has them: nothing is known of commits there, so nothing is kept of them,
    /// and a file that changes during the load is noticed by its validators alone.
    #[cfg(target_arch = "wasm32")]
    pub fn at_url(base: &str, options: HubOptions, abort: Abort) -> Result<HubRepo, HubError> {
        let transport = Box::new(super::fetch::Fetch::new(abort.clone()));
        Self::at_url_by(transport, base, options, abort)
    }

    pub(super) fn at_url_by(
        transport: Box<dyn Transport>,
        base: &str,
        options: HubOptions,
        abort: Abort,
    ) -> Result<HubRepo, HubError> {
        let base = validate_endpoint(base)?.to_owned();
        let mut connection = Self::connection(transport, &base, base.clone(), options, abort)?;
        connection.revision = "(no revisions)".to_owned();
        connection.base = Some(base);
        Ok(HubRepo(Rc::new(connection)))
    }

    fn connection(
        transport: Box<dyn Transport>,
        id: &str,
        endpoint: String,
        options: HubOptions,
        abort: Abort,
    ) -> Result<Connection, HubError> {
        let subfolder = options.subfolder.filter(|folder| !folder.is_empty());
        if let Some(path) = subfolder.as_ref().filter(|folder| !is_plain_path(folder)) {
            return Err(HubError::InvalidPath { repo: id.to_owned(), path: path.clone() });
        }
        let token = options.token.filter(|token| !token.is_empty());
        // A header can't hold such a token, and fetch's own message would print it.
        if token.as_ref().is_some_and(|token| !token.bytes().all(|b| b.is_ascii_graphic())) {
            return Err(HubError::Unauthorized { repo: id.to_owned() });
        }
        Ok(Connection {
            transport,
            abort,
            traffic: Rc::default(),
            timeouts: options.timeouts,
            endpoint,
            base: None,
            id: id.to_owned(),
            revision: options.revision,
            token,
            subfolder,
            absent: RefCell::default(),
            versions: RefCell::default(),
        })
    }

    /// The commit that every file comes from. Where the endpoint has no way to tell, the revision asked for.
    pub fn commit(&self) -> &str {
        &self.0.revision
    }

    /// The endpoint, without a final slash.
    pub(super) fn endpoint(&self) -> &str {
        &self.0.endpoint
    }

    /// The file's path from the repo's root.
    pub(super) fn full_path(&self, path: &str) -> String {
        self.0.full_path(path)
    }

    /// Whether the endpoint has said in the Hub's own words that the commit lacks the file: a bare 404, from a proxy
    /// perhaps, is not for good.
    pub(super) fn is_known_absent(&self, path: &str) -> bool {
        self.0.file_url(path).is_ok_and(|url| self.0.absent.borrow().contains(&url))
    }

    /// Counters of everything that this repo and its streams have fetched.
    pub fn traffic(&self) -> Rc<Traffic> {
        self.0.traffic.clone()
    }
}

impl std::fmt::Debug for HubRepo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HubRepo({}/{} at {})", self.0.endpoint, self.0.id, self.0.revision)
    }
}

impl Repo for HubRepo {
    fn id(&self) -> &str {
        &self.0.id
    }

    fn read<'a>(&'a self, path: &'a str, max_bytes: u64) -> LocalBoxFuture<'a, Result<Vec<u8>, HubError>> {
        Box::pin(async move {
            let url = self.0.file_url(path)?;
            self.0
                .read(
                    &url,
                    self.0.asked(Some(path), None),
                    max_bytes,
                    Cache::Default,
                    Backoff::patient(self.0.timeouts.retry),
                )
                .await
        })
    }

    fn read_prefix<'a>(&'a self, path: &'a str, max_bytes: u64) -> LocalBoxFuture<'a, Result<Prefix, HubError>> {
        Box::pin(async move {
            let url = self.0.file_url(path)?;
            RangeStream::new(self.0.clone(), path, url, 0..max_bytes).read_prefix().await
        })
    }

    fn open<'a>(
        &'a self,
        path: &'a str,
        range: Range<u64>,
    ) -> LocalBoxFuture<'a, Result<Box<dyn ByteStream>, HubError>> {
        Box::pin(async move {
            let url = self.0.file_url(path)?;
            let mut stream = RangeStream::new(self.0.clone(), path, url, range);
            stream.connect().await?;
            Ok(Box::new(stream) as Box<dyn ByteStream>)
        })
    }
}

impl Connection {
    fn file_url(&self, path: &str) -> Result<String, HubError> {
        if !is_plain_path(path) {
            return Err(HubError::InvalidPath { repo: self.id.clone(), path: path.to_owned() });
        }
        Ok(match &self.base {
            Some(base) => format!("{base}/{}", encode_path(&self.full_path(path))),
            None => resolve_url(&self.endpoint, &self.id, &self.revision, &self.full_path(path)),
        })
    }

    fn full_path(&self, path: &str) -> String {
        match &self.subfolder {
            Some(folder) => format!("{folder}/{path}"),
            None => path.to_owned(),
        }
    }

    /// The commit of the revision; `None` where the endpoint, a plain mirror perhaps, doesn't tell.
    async fn find_commit(&self) -> Result<Option<String>, HubError> {
        #[derive(Deserialize)]
        struct Revision {
            sha: String,
        }
        let url = revision_url(&self.endpoint, &self.id, &self.revision);
        let answer = self
            .read(
                &url,
                self.asked(None, None),
                MAX_REVISION_ANSWER,
                Cache::Revalidate,
                Backoff::brief(self.timeouts.retry),
            )
            .await;
        match answer {
            Ok(bytes) => {
                let found = serde_json::from_slice::<Revision>(&bytes).ok().filter(|found| is_commit(&found.sha));
                if let Some(found) = found {
                    return Ok(Some(found.sha));
                }
            }
            Err(HubError::TooLarge { .. } | HubError::BadResponse { .. }) => {}
            Err(error) => return Err(error),
        }
        // No usable API: the endpoint may still name the commit where it serves a small file itself.
        let path = "config.json";
        let url = self.file_url(path)?;
        match self
            .send(&url, self.asked(Some(path), None), Cache::Revalidate, &mut Backoff::brief(self.timeouts.retry))
            .await
        {
            Ok(response) => Ok(response.header("x-repo-commit").filter(|commit| is_commit(commit))),
            Err(HubError::EntryNotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
