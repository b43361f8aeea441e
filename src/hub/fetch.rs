//! HTTP by the global `fetch`, which a page, a worker and Node all have.

use std::time::Duration;

use futures_util::future::{LocalBoxFuture, select};
use wasm_bindgen::prelude::*;
use web_sys::{
    AbortController, Headers, ReferrerPolicy, RequestCache, RequestCredentials, RequestInit, RequestMode,
    RequestRedirect,
};

use super::http::{Cache, Request, Response, Transport, TransportError};
use super::id::origin;
use super::lending::Lender;
use super::reader::Reader;
use super::timer::Timer;
use super::{Abort, Chunk};

#[wasm_bindgen]
extern "C" {
    // Through `Window` or `WorkerGlobalScope` it would work in one of the three only.
    #[wasm_bindgen(catch, js_name = fetch)]
    async fn global_fetch(url: &str, init: &RequestInit) -> Result<JsValue, JsValue>;
}

/// Bytes of a body that are read at a time, at most.
const CHUNK: u32 = 256 << 10;

/// Ends a request, wherever it is, when it is dropped: what waits for it no longer wants it.
struct Cancel(AbortController);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) struct Fetch {
    abort: Abort,
    lender: Lender,
}

impl Fetch {
    pub(super) fn new(abort: Abort) -> Self {
        Fetch { abort, lender: Lender::new(CHUNK) }
    }

    async fn get(&self, request: Request<'_>) -> Result<Box<dyn Response>, TransportError> {
        let failed = |error: JsValue| transport_error(&self.abort, &error);
        let headers = Headers::new().map_err(failed)?;
        if let Some(range) = request.range {
            let last = range.end.saturating_sub(1);
            headers.set("Range", &format!("bytes={}-{last}", range.start)).map_err(failed)?;
        }
        if let Some(token) = request.token {
            // `fetch` drops it on a redirect to another origin.
            headers.set("Authorization", &format!("Bearer {token}")).map_err(failed)?;
        }
        let init = RequestInit::new();
        init.set_headers(&headers);
        init.set_mode(RequestMode::Cors);
        init.set_redirect(RequestRedirect::Follow);
        // The CDN's `Access-Control-Allow-Origin: *` forbids credentials; a referrer makes some CDNs refuse.
        init.set_credentials(RequestCredentials::Omit);
        init.set_referrer_policy(ReferrerPolicy::NoReferrer);
        init.set_cache(match request.cache {
            Cache::Default => RequestCache::Default,
            Cache::Revalidate => RequestCache::NoCache,
            Cache::Bypass => RequestCache::NoStore,
        });
        let cancel = Cancel(AbortController::new().map_err(failed)?);
        init.set_signal(Some(&cancel.0.signal()));
        let response: web_sys::Response = global_fetch(request.url, &init).await.map_err(failed)?.unchecked_into();
        let reader = response.body().map(|body| Reader::of(&body));
        let (abort, lender) = (self.abort.clone(), self.lender.clone());
        Ok(Box::new(FetchResponse { abort, lender, response, reader, _cancel: cancel }))
    }
}

impl Transport for Fetch {
    fn get<'a>(&'a self, request: Request<'a>) -> LocalBoxFuture<'a, Result<Box<dyn Response>, TransportError>> {
        Box::pin(self.get(request))
    }

    fn sleep(&self, duration: Duration) -> LocalBoxFuture<'_, ()> {
        Box::pin(async move {
            select(Timer::new(duration), self.abort.aborted()).await;
        })
    }

    fn until(&self, http_date: &str) -> Option<Duration> {
        let milliseconds = js_sys::Date::parse(http_date) - js_sys::Date::now();
        // What is no date is not a number.
        Duration::try_from_secs_f64(milliseconds / 1000.0).ok()
    }

    fn random(&self) -> f64 {
        js_sys::Math::random()
    }
}

struct FetchResponse {
    abort: Abort,
    lender: Lender,
    response: web_sys::Response,
    /// `None` when there is no body, or no more of it.
    reader: Option<Reader>,
    _cancel: Cancel,
}

impl Response for FetchResponse {
    fn status(&self) -> u16 {
        self.response.status()
    }

    fn header(&self, name: &str) -> Option<String> {
        self.response.headers().get(name).ok().flatten()
    }

    fn redirected_to(&self) -> Option<String> {
        self.response.redirected().then(|| origin(&self.response.url()).to_owned())
    }

    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Chunk>, TransportError>> {
        Box::pin(async move {
            while let Some(reader) = &self.reader {
                match reader.read(&self.lender).await {
                    Ok(Some(chunk)) if !chunk.is_empty() => return Ok(Some(chunk)),
                    Ok(Some(_)) => {}
                    Ok(None) => self.reader = None,
                    Err(error) => {
                        self.reader = None;
                        return Err(transport_error(&self.abort, &error));
                    }
                }
            }
            Ok(None)
        })
    }
}

fn transport_error(abort: &Abort, error: &JsValue) -> TransportError {
    if abort.is_aborted() {
        return TransportError::Aborted;
    }
    let Some(error) = error.dyn_ref::<js_sys::Error>() else {
        return TransportError::Network(format!("{error:?}"));
    };
    let mut reason = String::from(error.message());
    // Node puts what happened ("connect ECONNREFUSED …") in the cause of a bare "fetch failed".
    if let Some(cause) = error.cause().dyn_ref::<js_sys::Error>() {
        reason.push_str(": ");
        reason.push_str(&String::from(cause.message()));
    }
    TransportError::Network(reason)
}
