//! What the Hub client asks of HTTP. The browser's `fetch` is the one implementation that ships; the face exists so
//! that everything above it (ranges, retries, errors) is tested natively.

use std::cell::Cell;
use std::ops::Range;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use super::Chunk;

/// A GET.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub url: &'a str,
    /// Sent as one `bytes=a-b`: any other form costs a CORS preflight. Never empty.
    pub range: Option<&'a Range<u64>>,
    /// Sent as a bearer token.
    pub token: Option<&'a str>,
    pub cache: Cache,
}

/// What the browser's own cache may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cache {
    /// For files at a pinned commit.
    Default,
    /// For what may change under the same URL.
    Revalidate,
    /// For ranges: Chromium locks a cache entry, which would make concurrent ranges of one file wait for each other.
    Bypass,
}

/// Why there is no (further) answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TransportError {
    Aborted,
    Network(String),
}

/// Sends requests.
pub(crate) trait Transport {
    /// Follows redirects and resolves with the last response's head.
    fn get<'a>(&'a self, request: Request<'a>) -> LocalBoxFuture<'a, Result<Box<dyn Response>, TransportError>>;

    /// Waits, or less when aborted. Nothing is left of it when it is dropped.
    fn sleep(&self, duration: Duration) -> LocalBoxFuture<'_, ()>;

    /// How long it is until a date as HTTP writes it; `None` where it is none, or past.
    fn until(&self, http_date: &str) -> Option<Duration>;

    /// A number in 0..1.
    fn random(&self) -> f64;
}

/// An answer's head, and its body as it arrives. Dropping it cancels the rest.
pub(crate) trait Response {
    fn status(&self) -> u16;

    /// `None` also where CORS hides the header.
    fn header(&self, name: &str) -> Option<String>;

    /// The origin that answered, where a redirect led to it.
    fn redirected_to(&self) -> Option<String>;

    /// The body's next bytes; `None` after the last.
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Chunk>, TransportError>>;
}

/// Counts what went over the network.
#[derive(Debug, Default)]
pub struct Traffic {
    requests: Cell<u64>,
    bytes: Cell<u64>,
}

impl Traffic {
    /// Requests sent, retries included; redirects are not counted.
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// Body bytes received.
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    pub(super) fn count_request(&self) {
        self.requests.set(self.requests.get().saturating_add(1));
    }

    pub(super) fn count_bytes(&self, n: usize) {
        self.bytes.set(self.bytes.get().saturating_add(n as u64));
    }
}

/// A parsed `Content-Range: bytes a-b/total`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContentRange {
    pub range: Range<u64>,
    /// `None` for `*`.
    pub total: Option<u64>,
}

impl ContentRange {
    pub(super) fn parse(header: &str) -> Option<ContentRange> {
        let (range, total) = header.trim().strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        let total = match total.trim() {
            "*" => None,
            n => Some(n.parse().ok()?),
        };
        let end = last.checked_add(1)?;
        (first <= last && total.is_none_or(|total| end <= total)).then_some(ContentRange { range: first..end, total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        let parsed = |range, total| Some(ContentRange { range, total });
        assert_eq!(ContentRange::parse("bytes 0-99/100"), parsed(0..100, Some(100)));
        assert_eq!(ContentRange::parse("bytes 5-5/*"), parsed(5..6, None));
        for bad in [
            "",
            "bytes",
            "bytes */100",
            "bytes 5-4/100",
            "bytes 0-100/100",
            "bytes 0-/9",
            "items 0-1/2",
            "bytes -1-2/3",
            "bytes 0-18446744073709551615/*",
        ] {
            assert_eq!(ContentRange::parse(bad), None, "{bad}");
        }
    }
}
