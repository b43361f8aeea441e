//! A range of a file, as it arrives, resumed at the byte reached where the connection breaks.

use std::ops::Range;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;

use super::connection::{Connection, content_length};
use super::http::{Cache, ContentRange, Response, TransportError};
use super::retry::Backoff;
use super::{ByteStream, Chunk, HubError, Prefix};

pub(super) struct RangeStream {
    hub: Rc<Connection>,
    path: String,
    url: String,
    /// What is still to come.
    rest: Range<u64>,
    /// Whether the file surely has all of `rest`. If not, the end of a body is taken for the end of the file.
    exact: bool,
    /// From Content-Range, where it could be read.
    file_size: Option<u64>,
    body: Option<Body>,
    backoff: Backoff,
}

struct Body {
    response: Box<dyn Response>,
    /// Bytes in front of `rest`: a server that ignores Range sends the file from its start.
    skip: u64,
    /// Bytes still to come of it by the server's own word.
    left: Option<u64>,
    /// Whether `left` is the end that a Content-Range names, which counts whatever comes after it.
    bounded: bool,
    /// Whether it is the whole file.
    whole: bool,
}

impl RangeStream {
    pub(super) fn new(hub: Rc<Connection>, path: &str, url: String, range: Range<u64>) -> Self {
        RangeStream {
            backoff: Backoff::patient(hub.timeouts.retry),
            hub,
            path: path.to_owned(),
            url,
            rest: range,
            exact: true,
            file_size: None,
            body: None,
        }
    }

    /// Asks for what is still to come.
    pub(super) async fn connect(&mut self) -> Result<(), HubError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        let asked = self.hub.asked(Some(&self.path), Some(&self.rest));
        let response = self.hub.send(&self.url, asked, Cache::Bypass, &mut self.backoff).await?;
        let whole = response.status() != 206;
        let length = content_length(&*response);
        let mut body = Body { response, skip: self.rest.start, left: length, bounded: false, whole };
        let mut size = length;
        if !whole {
            body.skip = 0;
            let header = |name| body.response.header(name);
            if header("content-type").is_some_and(|kind| kind.starts_with("multipart/")) {
                return Err(asked.bad_response("several parts instead of one range"));
            }
            if let Some(encoding) = header("content-encoding").filter(|name| !name.eq_ignore_ascii_case("identity")) {
                return Err(asked.bad_response(format!("a range of a {encoding} stream instead of the file's bytes")));
            }
            // A 206 whose Content-Range CORS hides is taken at its word.
            let sent = header("content-range").map(|header| {
                let sent = ContentRange::parse(&header).filter(|sent| sent.range.start == self.rest.start);
                sent.ok_or_else(|| asked.bad_response(format!("it is of another range: {header:?}")))
            });
            size = None;
            if let Some(sent) = sent.transpose()? {
                size = sent.total;
                body.left = Some(sent.range.end - sent.range.start);
                body.bounded = true;
            }
            self.file_size = size.or(self.file_size);
        }
        self.hub.agree(&self.path, &*body.response, size)?;
        if self.exact && self.file_size.is_some_and(|size| size < self.rest.end) {
            return Err(asked.beyond_the_end());
        }
        if body.skip > 0 {
            self.hub.may_skip(&self.path, body.skip)?;
        }
        self.body = Some(body);
        Ok(())
    }

    /// As many of the bytes as the file has.
    pub(super) async fn read_prefix(mut self) -> Result<Prefix, HubError> {
        self.exact = false;
        match self.connect().await {
            // A range from 0 can only lie beyond the end of an empty file.
            Err(HubError::RangeNotSatisfiable { .. }) => return Ok(Prefix { bytes: Vec::new(), file_size: Some(0) }),
            result => result?,
        }
        if let Some(size) = self.file_size {
            self.rest.end = self.rest.end.min(size);
            self.exact = true;
        }
        let asked_end = self.rest.end;
        let mut bytes = Vec::new();
        while let Some(chunk) = self.next().await? {
            bytes.extend_from_slice(&chunk.to_vec());
        }
        let read = bytes.len() as u64;
        Ok(Prefix { bytes, file_size: self.file_size.or((read < asked_end).then_some(read)) })
    }

    /// The part of `chunk` that belongs to the range.
    fn take(&mut self, chunk: Chunk) -> Option<Chunk> {
        let len = chunk.len() as u64;
        let body = self.body.as_mut()?;
        let usable = body.left.filter(|_| body.bounded).map_or(len, |left| left.min(len));
        body.left = body.left.map(|left| left.saturating_sub(len));
        let skip = body.skip.min(usable);
        body.skip -= skip;
        let n = (usable - skip).min(self.rest.end - self.rest.start);
        if n == 0 {
            return None;
        }
        self.rest.start += n;
        self.backoff.reset();
        if n == len {
            return Some(chunk);
        }
        // Both lie within the chunk, whose length is a usize.
        Some(chunk.slice(skip as usize..(skip + n) as usize))
    }
}

impl ByteStream for RangeStream {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Chunk>, HubError>> {
        Box::pin(async move {
            loop {
                if self.rest.is_empty() {
                    self.body = None;
                    return Ok(None);
                }
                let Some(body) = &mut self.body else {
                    self.connect().await?;
                    continue;
                };
                if body.bounded && body.left == Some(0) {
                    // A server may send less than it was asked for, if it says so: that is no failure.
                    self.body = None;
                    continue;
                }
                let reason = match self.hub.next(&mut *body.response).await {
                    Ok(Some(chunk)) => match self.take(chunk) {
                        Some(chunk) => return Ok(Some(chunk)),
                        None => continue,
                    },
                    Ok(None) if body.left.is_none_or(|left| left == 0) && !self.exact => {
                        self.rest.end = self.rest.start;
                        continue;
                    }
                    Ok(None) if body.whole && body.left == Some(0) => {
                        return Err(self.hub.asked(Some(&self.path), Some(&self.rest)).beyond_the_end());
                    }
                    Ok(None) => format!("the answer ended at byte {}", self.rest.start),
                    Err(TransportError::Aborted) => return Err(self.hub.asked(None, None).aborted()),
                    Err(TransportError::Network(reason)) => reason,
                };
                self.body = None;
                let failure = self.hub.asked(Some(&self.path), Some(&self.rest)).network(reason);
                self.hub.wait(&mut self.backoff, None, failure).await?;
            }
        })
    }
}
