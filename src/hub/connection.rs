//! Requests to an endpoint: sent, timed, tried again, and their answers told apart. What a repo shares with the streams
//! that it has opened.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};

use super::classify::{Answer, Asked, classify};
use super::http::{Cache, Request, Response, Traffic, Transport, TransportError};
use super::id::origin;
use super::retry::{Backoff, is_retryable};
use super::version::{Validators, Version};
use super::{Abort, HubError};

/// Fresh URLs asked for in place of one that a CDN refuses: it may have expired, or the CDN means what it says.
const FRESH_URLS: usize = 2;
/// A file shorter than this can be shorter than its compressed form, whose length is all that a header told.
const SURELY_COMPRESSIBLE: u64 = 1024;

/// How long to wait for a sign of life before a connection counts as dropped, and before the next try. There is no limit
/// while bytes flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For an answer's head. A browser may hold a request back until one of its few connections to the host is free.
    pub answer: Duration,
    /// For the next byte of a body.
    pub silence: Duration,
    /// Between the first try and the second: later waits are up to eight times as long.
    pub retry: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts { answer: Duration::from_secs(60), silence: Duration::from_secs(20), retry: Duration::from_secs(1) }
    }
}

pub(super) struct Connection {
    pub(super) transport: Box<dyn Transport>,
    pub(super) abort: Abort,
    pub(super) traffic: Rc<Traffic>,
    pub(super) timeouts: Timeouts,
    pub(super) endpoint: String,
    /// Where the files are, where that is no repo of the Hub's but a folder of some web server.
    pub(super) base: Option<String>,
    pub(super) id: String,
    pub(super) revision: String,
    pub(super) token: Option<String>,
    pub(super) subfolder: Option<String>,
    /// By path: what ranges of the file have told of it.
    pub(super) versions: RefCell<BTreeMap<String, Version>>,
    /// URLs of files that the endpoint has said, in the Hub's own words, that the commit lacks.
    pub(super) absent: RefCell<BTreeSet<String>>,
}

impl Connection {
    pub(super) fn asked<'a>(&'a self, path: Option<&'a str>, range: Option<&'a std::ops::Range<u64>>) -> Asked<'a> {
        Asked {
            endpoint: &self.endpoint,
            is_hub: self.base.is_none(),
            repo: &self.id,
            revision: &self.revision,
            token: self.token.is_some(),
            path,
            range,
        }
    }

    /// A whole body, of at most `max_bytes`. A retry starts anew.
    pub(super) async fn read(
        &self,
        url: &str,
        asked: Asked<'_>,
        max_bytes: u64,
        cache: Cache,
        mut backoff: Backoff,
    ) -> Result<Vec<u8>, HubError> {
        loop {
            let mut response = self.send(url, asked, cache, &mut backoff).await?;
            let length = content_length(&*response);
            let mut bytes = Vec::new();
            let failure = loop {
                match self.next(&mut *response).await {
                    Ok(Some(chunk)) => {
                        if bytes.len() as u64 + chunk.len() as u64 > max_bytes {
                            let (repo, path) = (self.id.clone(), asked.what());
                            return Err(HubError::TooLarge { repo, path, max_bytes });
                        }
                        bytes.extend_from_slice(&chunk.to_vec());
                    }
                    // Not every browser takes a body that is cut short for an error.
                    Ok(None) => match length.filter(|n| *n >= SURELY_COMPRESSIBLE && *n > bytes.len() as u64) {
                        Some(length) => break asked.network(format!("the answer ended before its {length} bytes")),
                        None => return Ok(bytes),
                    },
                    Err(TransportError::Aborted) => return Err(asked.aborted()),
                    Err(TransportError::Network(reason)) => break asked.network(reason),
                }
            };
            self.wait(&mut backoff, None, failure).await?;
        }
    }

    /// The head of a successful answer: 200, or 206 where a range was asked for.
    pub(super) async fn send(
        &self,
        url: &str,
        asked: Asked<'_>,
        mut cache: Cache,
        backoff: &mut Backoff,
    ) -> Result<Box<dyn Response>, HubError> {
        loop {
            if self.abort.is_aborted() {
                return Err(asked.aborted());
            }
            self.traffic.count_request();
            let request = Request { url, range: asked.range, token: self.token.as_deref(), cache };
            let answered = self.within(self.timeouts.answer, "no answer", self.transport.get(request)).await;
            let (failure, retry_after) = match answered {
                Ok(response) => {
                    let status = response.status();
                    if status == 200 || (status == 206 && asked.range.is_some()) {
                        return Ok(response);
                    }
                    let (code, message) = (response.header("x-error-code"), response.header("x-error-message"));
                    let elsewhere = response.redirected_to().filter(|place| place != origin(&self.endpoint));
                    let answer = Answer {
                        status,
                        code: code.as_deref(),
                        message: message.as_deref(),
                        elsewhere: elsewhere.as_deref(),
                    };
                    let failure = self.or_changed(&asked, classify(&asked, answer));
                    if self.is_expired(&asked, answer) && backoff.tried() < FRESH_URLS {
                        // The endpoint is asked each time, for a fresh URL; the browser must not answer in its place.
                        cache = Cache::Bypass;
                    } else if !is_retryable(status) {
                        if code.as_deref() == Some("EntryNotFound") {
                            self.absent.borrow_mut().insert(url.to_owned());
                        }
                        return Err(failure);
                    }
                    (failure, response.header("retry-after").and_then(|value| self.retry_after(&value)))
                }
                Err(TransportError::Aborted) => return Err(asked.aborted()),
                Err(TransportError::Network(reason)) => (asked.network(reason), None),
            };
            self.wait(backoff, retry_after, failure).await?;
        }
    }

    /// The body's next bytes, or that none have come for too long.
    pub(super) async fn next(&self, response: &mut dyn Response) -> Result<Option<super::Chunk>, TransportError> {
        let chunk = self.within(self.timeouts.silence, "no byte", response.next()).await?;
        self.traffic.count_bytes(chunk.as_ref().map_or(0, super::Chunk::len));
        Ok(chunk)
    }

    /// Waits before the next try, or gives `failure` back when there have been enough.
    pub(super) async fn wait(
        &self,
        backoff: &mut Backoff,
        retry_after: Option<Duration>,
        failure: HubError,
    ) -> Result<(), HubError> {
        let duration = backoff.next(retry_after, self.transport.random()).ok_or(failure)?;
        self.transport.sleep(duration).await;
        if self.abort.is_aborted() {
            return Err(HubError::Aborted { repo: self.id.clone() });
        }
        Ok(())
    }

    /// Checks that an answer is of the same file as those before it.
    pub(super) fn agree(&self, path: &str, response: &dyn Response, size: Option<u64>) -> Result<(), HubError> {
        let said = Validators { etag: response.header("etag"), last_modified: response.header("last-modified"), size };
        let from = response.redirected_to().unwrap_or_default();
        let mut versions = self.versions.borrow_mut();
        versions.entry(path.to_owned()).or_default().agree(&from, &said).map_err(|difference| HubError::FileChanged {
            repo: self.id.clone(),
            path: path.to_owned(),
            difference,
        })
    }

    /// Checks that `bytes` of the file are not too many to throw away.
    pub(super) fn may_skip(&self, path: &str, bytes: u64) -> Result<(), HubError> {
        match self.versions.borrow_mut().entry(path.to_owned()).or_default().may_skip(bytes) {
            true => Ok(()),
            false => Err(HubError::RangesUnsupported { repo: self.id.clone(), path: path.to_owned() }),
        }
    }

    /// The end of a file that had more bytes before is a change.
    fn or_changed(&self, asked: &Asked<'_>, failure: HubError) -> HubError {
        let (HubError::RangeNotSatisfiable { .. }, Some(path), Some(range)) = (&failure, asked.path, asked.range)
        else {
            return failure;
        };
        match self.versions.borrow().get(path).and_then(Version::size) {
            Some(size) if range.end <= size => HubError::FileChanged {
                repo: self.id.clone(),
                path: path.to_owned(),
                difference: format!("it had {size} bytes, now it ends before byte {}", range.end),
            },
            _ => failure,
        }
    }

    /// Whether a CDN may have refused a signed URL only because that was too old. A file that has been there before
    /// may be "not found" for that too.
    fn is_expired(&self, asked: &Asked<'_>, answer: Answer<'_>) -> bool {
        let known = || asked.path.is_some_and(|path| self.versions.borrow().contains_key(path));
        let refused = matches!(answer.status, 401 | 403) || (matches!(answer.status, 404 | 410) && known());
        refused && answer.code.is_none() && answer.elsewhere.is_some()
    }

    /// Seconds, or a date.
    fn retry_after(&self, value: &str) -> Option<Duration> {
        value.trim().parse().ok().map(Duration::from_secs).or_else(|| self.transport.until(value))
    }

    async fn within<T>(
        &self,
        limit: Duration,
        missing: &str,
        work: impl Future<Output = Result<T, TransportError>>,
    ) -> Result<T, TransportError> {
        match select(pin!(work), self.transport.sleep(limit)).await {
            Either::Left((result, _)) => result,
            Either::Right(_) if self.abort.is_aborted() => Err(TransportError::Aborted),
            Either::Right(_) => Err(TransportError::Network(format!("{missing} for {limit:?}"))),
        }
    }
}

/// The body's length as the server tells it: of the compressed form where it is compressed, which CORS may hide.
pub(super) fn content_length(response: &dyn Response) -> Option<u64> {
    match response.header("content-encoding") {
        Some(encoding) if !encoding.eq_ignore_ascii_case("identity") => None,
        _ => response.header("content-length")?.trim().parse().ok(),
    }
}
