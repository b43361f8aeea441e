//! What can go wrong between a repo id and its bytes.

/// Why a repo's files could not be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The id can't name a repo.
    #[error("{id:?} is not a repo id: {reason}. A repo id is \"name\" or \"namespace/name\"")]
    InvalidRepoId {
        /// The id as given.
        id: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// The endpoint can't be one.
    #[error("{endpoint:?} is not an endpoint: give an http:// or https:// address without a query")]
    InvalidEndpoint {
        /// The endpoint as given.
        endpoint: String,
    },
    /// A path that leaves the repo or that no repo can hold.
    #[error("{repo}: {path:?} is not the path of a file in a repo")]
    InvalidPath {
        /// `org/name`
        repo: String,
        /// The path as given.
        path: String,
    },
    /// There is no such repo, or it is private and no token was given: the Hub doesn't tell which.
    #[error(
        "{repo} is not a model repo on {endpoint}. Check the id; if the repo is private, pass a token that has access to it"
    )]
    RepoNotFound {
        /// `org/name`
        repo: String,
        /// Where it was looked for.
        endpoint: String,
    },
    /// The repo has no such branch, tag or commit.
    #[error("{repo} has no revision {revision:?}: give a branch, a tag or a commit that it has")]
    RevisionNotFound {
        /// `org/name`
        repo: String,
        /// The revision asked for.
        revision: String,
    },
    /// The repo has no such file.
    #[error("{repo} does not appear to have a file named {path} at revision {revision}")]
    EntryNotFound {
        /// `org/name`
        repo: String,
        /// The commit or branch asked for.
        revision: String,
        /// The file's path in the repo.
        path: String,
    },
    /// Access must be asked for on the repo's page.
    #[error("{repo} is gated: ask for access at {page}, and pass a token of an account that has it")]
    Gated {
        /// `org/name`
        repo: String,
        /// The page where access is asked for.
        page: String,
    },
    /// The Hub has taken the repo down.
    #[error("access to {repo} is disabled by the Hub")]
    Disabled {
        /// `org/name`
        repo: String,
    },
    /// The token is not a valid one.
    #[error(
        "{repo}: the endpoint does not accept the token that was passed. Pass a valid token, or none for a public repo"
    )]
    Unauthorized {
        /// `org/name`
        repo: String,
    },
    /// The token doesn't reach this repo.
    #[error("{repo}: access to {what} is forbidden ({reason})")]
    Forbidden {
        /// `org/name`
        repo: String,
        /// What was asked for.
        what: String,
        /// What the endpoint said.
        reason: String,
    },
    /// Too many requests, also after waiting.
    #[error("{repo}: the endpoint answered 429 (too many requests) for {what}, also after waiting. Try again later")]
    RateLimited {
        /// `org/name`
        repo: String,
        /// What was asked for.
        what: String,
    },
    /// The file ends before the bytes asked for.
    #[error("{repo}: {what} lies beyond the end of the file")]
    RangeNotSatisfiable {
        /// `org/name`
        repo: String,
        /// What was asked for.
        what: String,
    },
    /// No answer, or one that broke off, also after retrying.
    #[error(
        "{repo}: {what} could not be fetched from {endpoint}: {reason}. Check the connection, and that the endpoint allows this origin (CORS)"
    )]
    Network {
        /// `org/name`
        repo: String,
        /// What was asked for.
        what: String,
        /// The Hub, which may have sent the request on to another host.
        endpoint: String,
        /// What the transport said.
        reason: String,
    },
    /// An answer that the protocol doesn't have.
    #[error("{repo}: unusable answer for {what}: {reason}")]
    BadResponse {
        /// `org/name`
        repo: String,
        /// What was asked for.
        what: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The file is not the one that it was when the load began.
    #[error(
        "{repo}: {path} changed on the server during the load: {difference}. Load the model again; where the endpoint has commits, give one as the revision"
    )]
    FileChanged {
        /// `org/name`
        repo: String,
        /// The file's path in the repo.
        path: String,
        /// What differs.
        difference: String,
    },
    /// The server sends whole files where a part was asked for.
    #[error(
        "{repo}: the server of {path} ignores Range requests and sends the whole file each time, which is too much for a file of this size. Serve it from a host that answers ranges"
    )]
    RangesUnsupported {
        /// `org/name`
        repo: String,
        /// The file's path in the repo.
        path: String,
    },
    /// The file is larger than its kind can sensibly be.
    #[error("{repo}: {path} is larger than {max_bytes} bytes, too large for what it should hold")]
    TooLarge {
        /// `org/name`
        repo: String,
        /// The file's path in the repo.
        path: String,
        /// The limit.
        max_bytes: u64,
    },
    /// A file of a local folder can't be read.
    #[error("{repo}: {path} can't be read: {reason}")]
    Unreadable {
        /// The folder.
        repo: String,
        /// The file's path in it.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// Only the cache may be read, and it lacks this.
    #[error(
        "{repo}: {what} is not in the cache, and outgoing traffic has been disabled. To look it up and download it, leave local_files_only out"
    )]
    NotCached {
        /// `org/name`
        repo: String,
        /// What was asked for.
        what: String,
    },
    /// The caller gave up.
    #[error("{repo}: aborted")]
    Aborted {
        /// `org/name`
        repo: String,
    },
}

impl HubError {
    /// The stable code that JavaScript sees.
    pub fn code(&self) -> &'static str {
        match self {
            HubError::InvalidRepoId { .. } => "INVALID_REPO_ID",
            HubError::InvalidEndpoint { .. } => "INVALID_ENDPOINT",
            HubError::InvalidPath { .. } => "INVALID_PATH",
            HubError::RepoNotFound { .. } => "REPO_NOT_FOUND",
            HubError::RevisionNotFound { .. } => "REVISION_NOT_FOUND",
            HubError::EntryNotFound { .. } => "ENTRY_NOT_FOUND",
            HubError::Gated { .. } => "GATED_REPO",
            HubError::Disabled { .. } => "DISABLED_REPO",
            HubError::Unauthorized { .. } => "UNAUTHORIZED",
            HubError::Forbidden { .. } => "FORBIDDEN",
            HubError::RateLimited { .. } => "RATE_LIMITED",
            HubError::RangeNotSatisfiable { .. } => "RANGE_NOT_SATISFIABLE",
            HubError::Network { .. } => "NETWORK",
            HubError::BadResponse { .. } => "BAD_RESPONSE",
            HubError::FileChanged { .. } => "FILE_CHANGED",
            HubError::RangesUnsupported { .. } => "RANGES_UNSUPPORTED",
            HubError::TooLarge { .. } => "TOO_LARGE",
            HubError::Unreadable { .. } => "UNREADABLE",
            HubError::NotCached { .. } => "NOT_CACHED",
            HubError::Aborted { .. } => "ABORTED",
        }
    }
}
