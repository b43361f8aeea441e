//! A range of a file, as it arrives, resumed at the byte reached where the connection breaks.

use std::ops::Range;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;

use super::http::{Backoff, Cache, ContentRange, Response, TransportError};
use super::hub_repo::Connection;
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
}

impl RangeStream {
    pub(super) fn new(hub: Rc<Connection>, path: &str, url: String, range: Range<u64>) -> Self {
        RangeStream {
            hub,
            path: path.to_owned(),
            url,
            rest: range,
            exact: true,
            file_size: None,
            body: None,
            backoff: Backoff::patient(),
        }
    }

    /// Asks for what is still to come.
    pub(super) async fn connect(&mut self) -> Result<(), HubError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        let asked = self.hub.asked(Some(&self.path), Some(&self.rest));
        let response = self.hub.send(&self.url, asked, Cache::Bypass, &mut self.backoff).await?;
        let mut skip = self.rest.start;
        if response.status() == 206 {
            skip = 0;
            if response.header("content-type").is_some_and(|kind| kind.starts_with("multipart/")) {
                return Err(asked.bad_response("several parts instead of one range"));
            }
            // A 206 whose Content-Range CORS hides is taken at its word.
            if let Some(header) = response.header("content-range") {
                let sent = ContentRange::parse(&header)
                    .filter(|sent| sent.range.start == self.rest.start)
                    .ok_or_else(|| asked.bad_response(format!("it is of another range: {header:?}")))?;
                self.file_size = sent.total;
            }
        }
        self.body = Some(Body { response, skip });
        Ok(())
    }

    /// As many of the bytes as the file has.
    pub(super) async fn read_prefix(mut self) -> Result<Prefix, HubError> {
        match self.connect().await {
            // A range from 0 can only lie beyond the end of an empty file.
            Err(HubError::RangeNotSatisfiable { .. }) => return Ok(Prefix { bytes: Vec::new(), file_size: Some(0) }),
            result => result?,
        }
        match self.file_size {
            Some(size) => self.rest.end = self.rest.end.min(size),
            None => self.exact = false,
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
        let skip = self.body.as_mut().map_or(0, |body| {
            let skip = body.skip.min(len);
            body.skip -= skip;
            skip
        });
        let n = (len - skip).min(self.rest.end - self.rest.start);
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
                let reason = match body.response.next().await {
                    Ok(Some(chunk)) => {
                        self.hub.traffic.count_bytes(chunk.len());
                        match self.take(chunk) {
                            Some(chunk) => return Ok(Some(chunk)),
                            None => continue,
                        }
                    }
                    Ok(None) if !self.exact => {
                        self.rest.end = self.rest.start;
                        continue;
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
