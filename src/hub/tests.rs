//! The protocol against an endpoint that answers from a script: what is asked for, and what becomes of each answer.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{LocalBoxFuture, pending, ready};
use pollster::block_on;

use super::http::{Cache, Request, Response, Transport, TransportError};
use super::*;

const SHA: &str = "0123456789abcdef0123456789abcdef01234567";
const FILE: &str = "model.safetensors";

/// One answer: status, headers, the body's pieces, and whether the connection breaks after them.
#[derive(Default)]
struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: VecDeque<Vec<u8>>,
    end: End,
    redirected_to: Option<&'static str>,
}

/// What comes after the body's pieces.
#[derive(Default, Clone, Copy, PartialEq)]
enum End {
    #[default]
    Clean,
    Breaks,
    /// The connection stays open and nothing comes.
    Stalls,
}

fn reply(status: u16, body: &[&[u8]]) -> Reply {
    Reply { status, body: body.iter().map(|piece| piece.to_vec()).collect(), ..Reply::default() }
}

impl Reply {
    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn breaking(self) -> Self {
        Reply { end: End::Breaks, ..self }
    }

    fn stalling(self) -> Self {
        Reply { end: End::Stalls, ..self }
    }

    /// Answered by this origin, to which the endpoint sent the request on.
    fn from(self, origin: &'static str) -> Self {
        Reply { redirected_to: Some(origin), ..self }
    }
}

impl Response for Reply {
    fn status(&self) -> u16 {
        self.status
    }

    fn header(&self, name: &str) -> Option<String> {
        self.headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone())
    }

    fn redirected_to(&self) -> Option<String> {
        self.redirected_to.map(str::to_owned)
    }

    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Chunk>, TransportError>> {
        match (self.body.pop_front(), self.end) {
            (None, End::Breaks) => Box::pin(ready(Err(TransportError::Network("connection reset".to_owned())))),
            (None, End::Stalls) => Box::pin(pending()),
            (piece, _) => Box::pin(ready(Ok(piece.map(Chunk::from)))),
        }
    }
}

#[derive(Default)]
struct Log {
    /// `None`: no answer at all.
    script: VecDeque<Option<Reply>>,
    /// "url [a..b]"
    asked: Vec<String>,
    tokens: Vec<Option<String>>,
    caches: Vec<Cache>,
    slept: Vec<u64>,
    abort_in_sleep: Option<Abort>,
}

#[derive(Clone, Default)]
struct Scripted(Rc<RefCell<Log>>);

impl Scripted {
    fn new(script: impl IntoIterator<Item = Option<Reply>>) -> Self {
        let scripted = Scripted::default();
        scripted.0.borrow_mut().script = script.into_iter().collect();
        scripted
    }

    fn pin(&self, options: HubOptions) -> Result<HubRepo, HubError> {
        block_on(HubRepo::pin_by(Box::new(self.clone()), "a/b", options, Abort::new()))
    }

    /// A repo at a known commit, which needs no request.
    fn repo(&self) -> HubRepo {
        self.pin(at(SHA)).unwrap()
    }

    fn asked(&self) -> Vec<String> {
        self.0.borrow().asked.clone()
    }

    fn slept(&self) -> Vec<u64> {
        self.0.borrow().slept.clone()
    }
}

impl Transport for Scripted {
    fn get<'a>(&'a self, request: Request<'a>) -> LocalBoxFuture<'a, Result<Box<dyn Response>, TransportError>> {
        let mut log = self.0.borrow_mut();
        let range = request.range.map(|range| format!(" [{}..{}]", range.start, range.end)).unwrap_or_default();
        log.asked.push(format!("{}{range}", request.url));
        log.tokens.push(request.token.map(str::to_owned));
        log.caches.push(request.cache);
        let reply = log.script.pop_front().expect("more requests than the script has answers");
        match reply {
            // No head ever comes.
            Some(reply) if reply.status == 0 => Box::pin(pending()),
            Some(reply) => Box::pin(ready(Ok(Box::new(reply) as Box<dyn Response>))),
            None => Box::pin(ready(Err(TransportError::Network("refused".to_owned())))),
        }
    }

    fn sleep(&self, duration: Duration) -> LocalBoxFuture<'_, ()> {
        // A limit that isn't reached is dropped before it is polled: time passes only where there is nothing else to do.
        Box::pin(async move {
            let mut log = self.0.borrow_mut();
            log.slept.push(duration.as_secs());
            if let Some(abort) = &log.abort_in_sleep {
                abort.abort();
            }
        })
    }

    fn until(&self, http_date: &str) -> Option<Duration> {
        (http_date == "in 30 seconds").then_some(Duration::from_secs(30))
    }

    fn random(&self) -> f64 {
        0.0
    }
}

fn at(revision: &str) -> HubOptions {
    HubOptions { endpoint: "https://h".to_owned(), revision: revision.to_owned(), ..HubOptions::default() }
}

fn partial(range: &str, body: &[&[u8]]) -> Reply {
    reply(206, body).with("content-range", format!("bytes {range}"))
}

fn read_range(repo: &HubRepo, range: std::ops::Range<u64>) -> Result<Vec<u8>, HubError> {
    block_on(async { repo.open(FILE, range).await?.collect().await })
}

#[test]
fn a_branch_is_pinned_to_its_commit() {
    let hub = Scripted::new([
        Some(reply(200, &[format!(r#"{{"id":"a/b","sha":"{SHA}","siblings":[]}}"#).as_bytes()])),
        Some(reply(200, &[b"{}"])),
    ]);
    let options =
        HubOptions { token: Some("hf_x".to_owned()), subfolder: Some("onto/here".to_owned()), ..at("refs/pr/1") };
    let repo = hub.pin(options).unwrap();
    assert_eq!(repo.commit(), SHA);
    assert_eq!(block_on(repo.read("config.json", 10)).unwrap(), b"{}");
    assert_eq!(
        hub.asked(),
        [
            "https://h/api/models/a/b/revision/refs%2Fpr%2F1".to_owned(),
            format!("https://h/a/b/resolve/{SHA}/onto/here/config.json"),
        ]
    );
    assert_eq!(hub.0.borrow().tokens, [Some("hf_x".to_owned()), Some("hf_x".to_owned())]);
    assert_eq!(repo.traffic().requests(), 2);
}

#[test]
fn a_commit_needs_no_request() {
    let hub = Scripted::new([]);
    assert_eq!(hub.repo().commit(), SHA);
}

#[test]
fn an_endpoint_without_the_api_may_still_tell_the_commit() {
    let hub = Scripted::new([Some(reply(200, &[b"<html>"])), Some(reply(200, &[b"{}"]).with("x-repo-commit", SHA))]);
    assert_eq!(hub.pin(at("main")).unwrap().commit(), SHA);
    let hub = Scripted::new([Some(reply(501, &[])), Some(reply(200, &[b"{}"]))]);
    assert_eq!(hub.pin(at("main")).unwrap().commit(), "main");
    let hub = Scripted::new([Some(reply(200, &[b"{\"sha\":\"../..\"}"])), Some(reply(404, &[]))]);
    assert_eq!(hub.pin(at("main")).unwrap().commit(), "main");
}

#[test]
fn pinning_fails_with_what_is_wrong() {
    for (reply, code) in [
        (reply(404, &[]).with("x-error-code", "RepoNotFound"), "REPO_NOT_FOUND"),
        (reply(404, &[]).with("x-error-code", "RevisionNotFound"), "REVISION_NOT_FOUND"),
        (reply(401, &[]).with("x-error-code", "GatedRepo"), "GATED_REPO"),
        (reply(401, &[]), "REPO_NOT_FOUND"),
    ] {
        assert_eq!(Scripted::new([Some(reply)]).pin(at("main")).unwrap_err().code(), code);
    }
    for (options, code) in [
        (at(""), "REVISION_NOT_FOUND"),
        (at(".."), "REVISION_NOT_FOUND"),
        (HubOptions { subfolder: Some("../x".to_owned()), ..at("main") }, "INVALID_PATH"),
        (HubOptions { token: Some("a\nb".to_owned()), ..at("main") }, "UNAUTHORIZED"),
        (HubOptions { endpoint: "hub".to_owned(), ..at("main") }, "INVALID_ENDPOINT"),
    ] {
        let hub = Scripted::new([]);
        assert_eq!(hub.pin(options).unwrap_err().code(), code);
    }
}

#[test]
fn a_wrong_address_is_said_soon() {
    let hub = Scripted::new([None, None, None]);
    let error = hub.pin(at("main")).unwrap_err();
    assert_eq!((error.code(), hub.slept()), ("NETWORK", vec![1, 2]));
    assert!(error.to_string().contains("revision main") && error.to_string().contains("refused"), "{error}");
}

#[test]
fn options_do_not_print_the_token() {
    let options = HubOptions { token: Some("hf_secret".to_owned()), ..HubOptions::default() };
    assert!(!format!("{options:?}").contains("secret"));
}

#[test]
fn small_files_are_bounded_and_retried_from_the_start() {
    let hub = Scripted::new([
        Some(reply(200, &[b"ab"]).breaking()),
        Some(reply(503, &[])),
        Some(reply(200, &[b"ab", b"cd"])),
        Some(reply(200, &[b"abcd"])),
    ]);
    let repo = hub.repo();
    assert_eq!(block_on(repo.read("config.json", 4)).unwrap(), b"abcd");
    assert_eq!(hub.slept(), [1, 2]);
    assert_eq!(repo.traffic().bytes(), 6);
    assert_eq!(block_on(repo.read("config.json", 3)).unwrap_err().code(), "TOO_LARGE");
    assert_eq!(block_on(repo.read("../config.json", 3)).unwrap_err().code(), "INVALID_PATH");
}

#[test]
fn a_range_resumes_at_the_byte_reached() {
    let hub = Scripted::new([
        Some(partial("10-19/100", &[b"abc"]).breaking()),
        None,
        Some(reply(502, &[])),
        Some(partial("13-19/100", &[b"def"])),
        Some(partial("16-19/100", &[b"ghij"])),
    ]);
    assert_eq!(read_range(&hub.repo(), 10..20).unwrap(), b"abcdefghij");
    let url = format!("https://h/a/b/resolve/{SHA}/{FILE}");
    let ranges = ["[10..20]", "[13..20]", "[13..20]", "[13..20]", "[16..20]"];
    assert_eq!(hub.asked(), ranges.map(|range| format!("{url} {range}")));
    // Progress makes the next failure a first one again.
    assert_eq!(hub.slept(), [1, 2, 4, 1]);
}

#[test]
fn a_range_is_given_up_after_five_retries() {
    let hub = Scripted::new((0..6).map(|_| Some(partial("10-19/100", &[]))));
    let error = read_range(&hub.repo(), 10..20).unwrap_err();
    assert_eq!((error.code(), hub.slept()), ("NETWORK", vec![1, 2, 4, 8, 8]));
    assert!(error.to_string().contains("bytes 10..20 of model.safetensors"), "{error}");
    let hub = Scripted::new((0..6).map(|_| Some(reply(429, &[]).with("retry-after", "9"))));
    let error = read_range(&hub.repo(), 10..20).unwrap_err();
    assert_eq!((error.code(), hub.slept()), ("RATE_LIMITED", vec![9; 5]));
}

/// A reply to a request that no head ever comes for.
fn hangs() -> Reply {
    reply(0, &[])
}

#[test]
fn waits_as_long_as_it_is_told() {
    for (header, waited) in [("9", 9), ("in 30 seconds", 30), ("99999", 60), ("soon", 1), ("0", 1)] {
        let hub =
            Scripted::new([Some(reply(503, &[]).with("retry-after", header)), Some(partial("4-7/10", &[b"4567"]))]);
        assert_eq!(read_range(&hub.repo(), 4..8).unwrap(), b"4567");
        assert_eq!(hub.slept(), [waited], "{header}");
    }
}

#[test]
fn silence_counts_as_a_drop() {
    // 60 s without a head, 20 s without a byte; then the schedule's wait.
    let hub = Scripted::new([
        Some(hangs()),
        Some(partial("10-19/100", &[b"abc"]).stalling()),
        Some(partial("13-19/100", &[b"defghij"])),
    ]);
    assert_eq!(read_range(&hub.repo(), 10..20).unwrap(), b"abcdefghij");
    assert_eq!(hub.slept(), [60, 1, 20, 1]);
    assert!(hub.asked()[2].ends_with("[13..20]"));

    let hub = Scripted::new((0..6).map(|_| Some(partial("10-19/100", &[]).stalling())));
    let error = read_range(&hub.repo(), 10..20).unwrap_err();
    assert!(error.code() == "NETWORK" && error.to_string().contains("no byte for 20s"), "{error}");

    let hub = Scripted::new([Some(reply(200, &[b"ab"]).stalling()), Some(hangs()), Some(reply(200, &[b"abcd"]))]);
    assert_eq!(block_on(hub.repo().read("config.json", 9)).unwrap(), b"abcd");
    assert_eq!(hub.slept(), [20, 1, 60, 2]);
}

#[test]
fn a_limit_is_what_the_options_say() {
    let timeouts =
        Timeouts { answer: Duration::from_secs(7), silence: Duration::from_secs(3), retry: Duration::from_secs(5) };
    let hub = Scripted::new([Some(hangs()), Some(reply(200, &[]).stalling()), Some(reply(200, &[b"{}"]))]);
    let repo = hub.pin(HubOptions { timeouts, ..at(SHA) }).unwrap();
    block_on(repo.read("config.json", 9)).unwrap();
    assert_eq!(hub.slept(), [7, 5, 3, 10]);
}

#[test]
fn a_small_file_that_is_cut_short_is_asked_for_again() {
    // Some browsers take such a body for a whole one.
    let hub = Scripted::new([
        Some(reply(200, &[&[b' '; 2000]]).with("content-length", "2001")),
        Some(reply(200, &[&[b' '; 2001]]).with("content-length", "2001")),
        // The length of the compressed form.
        Some(reply(200, &[&[b' '; 2001]]).with("content-length", "44")),
        Some(reply(200, &[b"tiny"]).with("content-length", "30")),
    ]);
    let repo = hub.repo();
    for size in [2001, 2001, 4] {
        assert_eq!(block_on(repo.read("config.json", 9999)).unwrap().len(), size);
    }
    assert_eq!(hub.slept(), [1]);
}

#[test]
fn a_server_may_send_less_than_it_was_asked_for_if_it_says_so() {
    let hub = Scripted::new([
        Some(partial("10-14/100", &[b"abcde"])),
        // Whatever follows what it announced doesn't count.
        Some(partial("15-17/100", &[b"fg", b"h??????"])),
        Some(partial("18-29/100", &[b"ijklmnopqrst"])),
    ]);
    assert_eq!(read_range(&hub.repo(), 10..20).unwrap(), b"abcdefghij");
    assert!(hub.slept().is_empty());
    // Less than announced is a drop, whether or not Content-Range can be read.
    let hub = Scripted::new([
        Some(reply(206, &[b"ab"]).with("content-length", "4")),
        Some(reply(206, &[b"cd"]).with("content-length", "2")),
    ]);
    assert_eq!(block_on(hub.repo().read_prefix(FILE, 4)).unwrap().bytes, b"abcd");
    assert_eq!(hub.slept(), [1]);
}

#[test]
fn a_file_that_ends_too_soon_is_not_asked_for_again_and_again() {
    let hub = Scripted::new([Some(partial("4-6/7", &[b"456"]))]);
    assert_eq!(read_range(&hub.repo(), 4..8).unwrap_err().code(), "RANGE_NOT_SATISFIABLE");
    let hub = Scripted::new([Some(reply(200, &[b"0123456"]).with("content-length", "7"))]);
    assert_eq!(read_range(&hub.repo(), 4..8).unwrap_err().code(), "RANGE_NOT_SATISFIABLE");
}

#[test]
fn the_url_that_a_cdn_refuses_is_asked_for_anew() {
    let url = format!("https://h/a/b/resolve/{SHA}/{FILE}");
    for status in [401, 403, 404, 410] {
        let hub = Scripted::new([
            Some(partial("10-19/100", &[b"abc"]).from("https://cdn").breaking()),
            Some(reply(status, &[]).from("https://cdn")),
            Some(partial("13-19/100", &[b"defghij"]).from("https://cdn2")),
        ]);
        assert_eq!(read_range(&hub.repo(), 10..20).unwrap(), b"abcdefghij", "{status}");
        // Never the CDN's own URL.
        assert!(hub.asked().iter().all(|asked| asked.starts_with(&url)));
    }
    // Nor may the browser remember where the endpoint sent it.
    let hub = Scripted::new([Some(reply(403, &[]).from("https://cdn")), Some(reply(200, &[b"{}"]))]);
    block_on(hub.repo().read("config.json", 9)).unwrap();
    assert_eq!(hub.0.borrow().caches, [Cache::Default, Cache::Bypass]);
}

#[test]
fn a_cdn_that_goes_on_refusing_is_believed() {
    let hub = Scripted::new((0..3).map(|_| Some(reply(403, &[]).from("https://cdn"))));
    let error = read_range(&hub.repo(), 10..20).unwrap_err();
    assert!(error.code() == "FORBIDDEN" && error.to_string().contains("status 403 from https://cdn"), "{error}");
    assert_eq!(hub.slept(), [1, 2]);
    // What has never been there is just not there, and the endpoint's own word counts at once.
    for (reply, code) in [
        (reply(404, &[]).from("https://cdn"), "ENTRY_NOT_FOUND"),
        (reply(403, &[]).from("https://cdn").with("x-error-code", "GatedRepo"), "GATED_REPO"),
        (reply(403, &[]).from("https://h"), "FORBIDDEN"),
        (reply(403, &[]), "FORBIDDEN"),
    ] {
        let hub = Scripted::new([Some(reply)]);
        assert_eq!((read_range(&hub.repo(), 10..20).unwrap_err().code(), hub.slept()), (code, vec![]));
    }
}

#[test]
fn versions_of_a_file_are_never_mixed() {
    let first = || partial("10-19/100", &[b"abc"]).with("etag", "\"1\"").breaking();
    for (second, differs) in [
        (partial("13-19/100", &[b"DEFGHIJ"]).with("etag", "\"2\""), "its ETag was \"1\", now it is \"2\""),
        (partial("13-19/90", &[b"DEFGHIJ"]).with("etag", "\"1\""), "it had 100 bytes, now it has 90"),
        (reply(200, &[b"ABCDEFGHIJ"]).with("content-length", "90"), "it had 100 bytes, now it has 90"),
        (reply(416, &[]), "now it ends before byte 20"),
    ] {
        let hub = Scripted::new([Some(first()), Some(second)]);
        let error = read_range(&hub.repo(), 10..20).unwrap_err();
        assert_eq!(error.code(), "FILE_CHANGED");
        assert!(error.to_string().contains(differs) && error.to_string().contains(FILE), "{error}");
    }
    // Nor between the header and the tensors that it tells of.
    let dated = |body, date| partial(body, &[b"0123"]).with("last-modified", date);
    let hub = Scripted::new([
        Some(dated("0-3/100", "Mon, 02 Nov 2026 00:00:00 GMT")),
        Some(dated("4-7/100", "Tue, 03 Nov 2026 00:00:00 GMT")),
    ]);
    let repo = hub.repo();
    block_on(repo.read_prefix(FILE, 4)).unwrap();
    assert_eq!(read_range(&repo, 4..8).unwrap_err().code(), "FILE_CHANGED");
}

#[test]
fn other_words_for_the_same_version_are_no_alarm() {
    let hub = Scripted::new([
        Some(partial("10-19/100", &[b"abc"]).with("etag", "\"sha\"").breaking()),
        Some(partial("13-19/100", &[b"de"]).with("etag", "\"xet\"").from("https://cdn").breaking()),
        Some(partial("15-19/100", &[b"fg"]).with("etag", "W/\"sha-gzip\"").breaking()),
        Some(partial("17-19/*", &[b"hij"])),
    ]);
    assert_eq!(read_range(&hub.repo(), 10..20).unwrap(), b"abcdefghij");
}

#[test]
fn whole_files_in_place_of_ranges_cost_no_more_than_they_may() {
    let whole = || Some(reply(200, &[]).with("content-length", "5000000000"));
    let hub = Scripted::new([whole(), whole()]);
    let repo = hub.repo();
    block_on(repo.open(FILE, 200_000_000..200_000_008)).map(drop).unwrap();
    let error = read_range(&repo, 200_000_000..200_000_008).unwrap_err();
    assert!(error.code() == "RANGES_UNSUPPORTED" && error.to_string().contains(FILE), "{error}");
}

#[test]
fn a_server_that_ignores_range_is_not_misread() {
    let hub = Scripted::new([Some(reply(200, &[b"012", b"345", b"678", b"9"]))]);
    assert_eq!(read_range(&hub.repo(), 4..8).unwrap(), b"4567");
}

#[test]
fn bytes_beyond_the_range_are_cut() {
    let hub = Scripted::new([Some(partial("4-7/10", &[b"45", b"6789"]))]);
    assert_eq!(read_range(&hub.repo(), 4..8).unwrap(), b"4567");
}

#[test]
fn a_cdn_may_hide_content_range() {
    let hub = Scripted::new([Some(reply(206, &[b"45"])), Some(reply(206, &[b"67"]))]);
    assert_eq!(read_range(&hub.repo(), 4..8).unwrap(), b"4567");
}

#[test]
fn an_empty_range_asks_for_nothing() {
    assert_eq!(read_range(&Scripted::new([]).repo(), 4..4).unwrap(), b"");
}

#[test]
fn answers_of_another_range_are_refused() {
    for bad in [
        partial("0-7/10", &[b"01234567"]),
        partial("nonsense", &[b"4567"]),
        partial("4-7/10", &[]).with("content-type", "multipart/byteranges; boundary=x"),
        partial("4-7/10", &[]).with("content-encoding", "gzip"),
        reply(204, &[]),
    ] {
        assert_eq!(read_range(&Scripted::new([Some(bad)]).repo(), 4..8).unwrap_err().code(), "BAD_RESPONSE");
    }
    let hub = Scripted::new([Some(reply(416, &[]))]);
    assert_eq!(read_range(&hub.repo(), 4..8).unwrap_err().code(), "RANGE_NOT_SATISFIABLE");
    let hub = Scripted::new([Some(reply(404, &[]).with("x-error-code", "EntryNotFound"))]);
    let error = read_range(&hub.repo(), 4..8).unwrap_err();
    assert!(error.to_string().contains(SHA) && error.to_string().contains(FILE), "{error}");
}

#[test]
fn prefixes() {
    let prefix = |script: Vec<Reply>| {
        let hub = Scripted::new(script.into_iter().map(Some));
        let prefix = block_on(hub.repo().read_prefix(FILE, 4)).unwrap();
        (prefix.bytes, prefix.file_size)
    };
    assert_eq!(prefix(vec![partial("0-3/10", &[b"01", b"23"])]), (b"0123".to_vec(), Some(10)));
    assert_eq!(prefix(vec![partial("0-2/3", &[b"012"])]), (b"012".to_vec(), Some(3)));
    assert_eq!(prefix(vec![partial("0-2/3", &[b"0"]), partial("1-2/3", &[b"12"])]), (b"012".to_vec(), Some(3)));
    assert_eq!(prefix(vec![partial("0-3/*", &[b"0123"])]), (b"0123".to_vec(), None));
    assert_eq!(prefix(vec![reply(206, &[b"01"])]), (b"01".to_vec(), Some(2)));
    assert_eq!(prefix(vec![reply(200, &[b"012345"])]), (b"0123".to_vec(), None));
    assert_eq!(prefix(vec![reply(200, &[b"012"])]), (b"012".to_vec(), Some(3)));
    assert_eq!(prefix(vec![reply(416, &[])]), (vec![], Some(0)));
}

#[test]
fn aborting_ends_what_waits_and_what_comes_later() {
    // In a wait between tries, without a head, and without a byte.
    for reply in [None, Some(hangs()), Some(partial("0-3/4", &[b"01"]).stalling())] {
        let hub = Scripted::new([reply]);
        let abort = Abort::new();
        let repo = block_on(HubRepo::pin_by(Box::new(hub.clone()), "a/b", at(SHA), abort.clone())).unwrap();
        hub.0.borrow_mut().abort_in_sleep = Some(abort);
        assert_eq!(read_range(&repo, 0..4).unwrap_err().code(), "ABORTED");
        assert_eq!(block_on(repo.read("config.json", 10)).unwrap_err().code(), "ABORTED");
        assert_eq!((hub.asked().len(), hub.slept().len()), (1, 1));
    }
}

#[test]
fn a_folder_and_memory_are_repos_too() {
    let folder = std::env::temp_dir().join(format!("layerline-directory-repo-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    // Longer than one chunk of either.
    let bytes: Vec<u8> = (0..(3 << 19)).map(|i: u32| i.to_le_bytes()[1]).collect();
    std::fs::write(folder.join(FILE), &bytes).unwrap();
    let mut memory = MemoryRepo::new("a/b");
    memory.insert(FILE, bytes.clone());
    let size = bytes.len() as u64;
    for repo in [&DirectoryRepo::new(&folder) as &dyn Repo, &memory] {
        block_on(async {
            assert_eq!(repo.read(FILE, size).await.unwrap(), bytes);
            assert_eq!(repo.read(FILE, size - 1).await.unwrap_err().code(), "TOO_LARGE");
            assert_eq!(repo.read("other", 9).await.unwrap_err().code(), "ENTRY_NOT_FOUND");
            let prefix = repo.read_prefix(FILE, 100).await.unwrap();
            assert_eq!((prefix.bytes.as_slice(), prefix.file_size), (&bytes[..100], Some(size)));
            assert_eq!(repo.read_prefix(FILE, u64::MAX).await.unwrap().bytes, bytes);
            assert_eq!(repo.open(FILE, 7..size).await.unwrap().collect().await.unwrap(), bytes[7..]);
            assert_eq!(repo.open(FILE, 9..9).await.unwrap().collect().await.unwrap(), b"");
            assert_eq!(repo.open(FILE, 7..size + 1).await.err().unwrap().code(), "RANGE_NOT_SATISFIABLE");
        });
    }
    let outside = block_on(DirectoryRepo::new(&folder).read("../x", 9)).unwrap_err();
    assert_eq!(outside.code(), "INVALID_PATH");
    std::fs::remove_dir_all(&folder).unwrap();
}
