//! Faults by script: which requests, how often, and what goes wrong.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::{
    journal::{Kind, Origin},
    lock,
};

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Action {
    /// Answer with this instead; the request's body is not read and nothing is done.
    Status {
        /// The status code.
        code: u16,
        /// Header lines of the answer.
        headers: Vec<(String, String)>,
        /// The answer's body.
        body: String,
    },
    /// Wait before doing anything.
    Delay(Duration),
    /// Send this many bytes of the response body, then break the connection (HTTP/2: reset the stream).
    CutResponseAfter(u64),
    /// Read this many bytes of the request body, then break the connection (HTTP/2: reset the stream).
    CutRequestAfter(u64),
    /// Flip one bit of the response body at this offset.
    CorruptByte(u64),
    /// Send only this many bytes of the body, with a `Content-Length` that says so.
    TruncateBody(u64),
    /// Send one byte more than there is, with a `Content-Length` that says so.
    ExtraByte,
    /// Break the connection without an answer (HTTP/2: reset the stream).
    Reset,
    /// HTTP/2: refuse the stream unprocessed (`REFUSED_STREAM`); HTTP/1.1: as [`Action::Reset`].
    RefuseStream,
    /// Answer this request, and tell the client to leave the connection (`GOAWAY`, `Connection: close`).
    GoAway,
    /// HTTP/2: do nothing, and end the connection with all that is on it by `GOAWAY` with `ENHANCE_YOUR_CALM`, as a proxy
    /// does that has had enough; HTTP/1.1: as [`Action::Reset`].
    EnhanceYourCalm,
    /// Take the request and never answer.
    Stall,
    /// Do what was asked, then break the connection instead of answering.
    DoThenReset,
    /// Send this many bytes of the response body, then nothing more.
    StallResponseAfter(u64),
    /// Put this into the `Location` header.
    Location(String),
    /// Set a response header.
    Header {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// Leave a response header out.
    DropHeader(String),
    /// Do what was asked, and say that it went well with this status instead.
    AnswerAs(u16),
    /// Read this many bytes of the request body, then no more, and never answer.
    StallRequestAfter(u64),
    /// Read the request body at this many bytes a second.
    SlowRead(u64),
    /// Send the response body at this many bytes a second.
    SlowWrite(u64),
    /// Send the body without `Content-Length`.
    NoContentLength,
}

impl Action {
    /// A status with an error body of the specification's form.
    #[must_use]
    pub fn error(code: u16, error: &str, message: &str) -> Self {
        let body = serde_json::json!({"errors": [{"code": error, "message": message}]}).to_string();
        Self::Status { code, headers: vec![("Content-Type".into(), "application/json".into())], body }
    }

    /// A bare status without a body.
    #[must_use]
    pub fn status(code: u16) -> Self {
        Self::Status { code, headers: Vec::new(), body: String::new() }
    }

    /// 429 in the specification's form, with `Retry-After` in seconds where given.
    #[must_use]
    pub fn throttle(retry_after: Option<u64>) -> Self {
        let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"Rate exceeded"}]}"#.to_owned();
        let mut headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
        headers.extend(retry_after.map(|seconds| ("Retry-After".to_owned(), seconds.to_string())));
        Self::Status { code: 429, headers, body }
    }

    /// Docker Hub's abuse limiter: 429 in plain text with `Retry-After`.
    #[must_use]
    pub fn hub_abuse_limit(retry_after: u64) -> Self {
        let headers = vec![
            ("Content-Type".to_owned(), "text/plain".to_owned()),
            ("Retry-After".to_owned(), retry_after.to_string()),
        ];
        Self::Status { code: 429, headers, body: "Too Many Requests (HAP429).\n".to_owned() }
    }

    /// 429 as the proxy in front of Quay says it: a page, without `Retry-After`.
    #[must_use]
    pub fn quay_rate_limit() -> Self {
        let body = "<html>\r\n<head><title>429 Too Many Requests</title></head>\r\n<body>\r\n\
                    <center><h1>429 Too Many Requests</h1></center>\r\n<hr><center>nginx</center>\r\n\
                    </body>\r\n</html>\r\n";
        Self::Status {
            code: 429,
            headers: vec![("Content-Type".to_owned(), "text/html".to_owned())],
            body: body.to_owned(),
        }
    }

    /// Whether this happens to the answer rather than to the request.
    fn late(&self) -> bool {
        match self {
            Self::Status { .. }
            | Self::Delay(_)
            | Self::CutRequestAfter(_)
            | Self::StallRequestAfter(_)
            | Self::Reset
            | Self::RefuseStream
            | Self::GoAway
            | Self::EnhanceYourCalm
            | Self::Stall
            | Self::DoThenReset
            | Self::SlowRead(_) => false,
            Self::Location(_) | Self::Header { .. } | Self::DropHeader(_) | Self::AnswerAs(_) => true,
            _ => self.on_body(),
        }
    }

    /// Whether this needs a response body to happen to.
    fn on_body(&self) -> bool {
        matches!(
            self,
            Self::CutResponseAfter(_)
                | Self::CorruptByte(_)
                | Self::TruncateBody(_)
                | Self::ExtraByte
                | Self::StallResponseAfter(_)
                | Self::SlowWrite(_)
                | Self::NoContentLength
        )
    }
}

/// One rule: every request that fits, after the first `skip`, for `times` requests.
#[derive(Debug, Clone)]
pub struct Fault {
    kind: Option<Kind>,
    origin: Option<Origin>,
    method: Option<String>,
    path: Option<String>,
    skip: usize,
    times: Option<usize>,
    actions: Vec<Action>,
    fired: Arc<Mutex<usize>>,
}

impl Fault {
    /// A rule for requests of one kind. It fires once unless told otherwise.
    ///
    /// What happens to a response body ([`Action::CorruptByte`] and its like) waits for a successful answer
    /// with a body: a blob read that is redirected is hit at the blob origin, not by its 307.
    #[must_use]
    pub fn on(kind: Kind) -> Self {
        Self { kind: Some(kind), ..Self::any() }
    }

    /// A rule for any request.
    #[must_use]
    pub fn any() -> Self {
        Self {
            kind: None,
            origin: None,
            method: None,
            path: None,
            skip: 0,
            times: Some(1),
            actions: Vec::new(),
            fired: Arc::default(),
        }
    }

    /// Only at this server.
    #[must_use]
    pub fn at(mut self, origin: Origin) -> Self {
        self.origin = Some(origin);
        self
    }

    /// Only this method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Only paths (with query) that contain this text.
    #[must_use]
    pub fn path(mut self, part: &str) -> Self {
        self.path = Some(part.to_owned());
        self
    }

    /// Let this many requests that fit pass first.
    #[must_use]
    pub fn skip(mut self, count: usize) -> Self {
        self.skip = count;
        self
    }

    /// Fire this often.
    #[must_use]
    pub fn times(mut self, count: usize) -> Self {
        self.times = Some(count);
        self
    }

    /// Fire on every request that fits.
    #[must_use]
    pub fn forever(mut self) -> Self {
        self.times = None;
        self
    }

    /// What goes wrong; several things may.
    #[must_use]
    pub fn then(mut self, action: Action) -> Self {
        self.actions.push(action);
        self
    }

    fn fits(&self, asked: &Asked<'_>) -> bool {
        self.kind.is_none_or(|kind| kind == asked.kind)
            && self.origin.is_none_or(|origin| origin == asked.origin)
            && self.method.as_deref().is_none_or(|method| method.eq_ignore_ascii_case(asked.method))
            && self.path.as_deref().is_none_or(|part| asked.path.contains(part))
    }

    /// Rules that only touch the answer are decided when there is one.
    fn late(&self) -> bool {
        !self.actions.is_empty() && self.actions.iter().all(Action::late)
    }

    fn needs_body(&self) -> bool {
        self.actions.iter().any(Action::on_body)
    }

    fn spend(&mut self) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        match &mut self.times {
            Some(0) => return false,
            Some(left) => *left -= 1,
            None => {}
        }
        *lock(&self.fired) += 1;
        true
    }
}

/// Tells how often a rule fired.
#[derive(Debug, Clone)]
pub struct Fired(Arc<Mutex<usize>>);

impl Fired {
    /// How often so far.
    #[must_use]
    pub fn count(&self) -> usize {
        *lock(&self.0)
    }
}

/// The script of one registry, its blob origin and its token service. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Vec<Fault>>>);

impl Faults {
    /// Adds a rule. All rules that fit a request fire on it.
    pub fn add(&self, fault: Fault) -> Fired {
        let fired = Fired(Arc::clone(&fault.fired));
        lock(&self.0).push(fault);
        fired
    }

    /// Forgets all rules.
    pub fn clear(&self) {
        lock(&self.0).clear();
    }

    /// How often rules that are still in the script have fired.
    #[must_use]
    pub fn fired(&self) -> usize {
        lock(&self.0).iter().map(|fault| *lock(&fault.fired)).sum()
    }

    /// What happens to a request that has just arrived.
    pub(crate) fn on_request(&self, asked: &Asked<'_>) -> Vec<Action> {
        self.fire(|fault| !fault.late() && fault.fits(asked))
    }

    /// What more happens to its answer.
    pub(crate) fn on_answer(&self, asked: &Asked<'_>, with_body: bool) -> Vec<Action> {
        self.fire(|fault| fault.late() && fault.fits(asked) && (with_body || !fault.needs_body()))
    }

    fn fire(&self, fits: impl Fn(&Fault) -> bool) -> Vec<Action> {
        let mut rules = lock(&self.0);
        rules
            .iter_mut()
            .filter(|fault| fits(fault))
            .filter_map(|fault| fault.spend().then(|| fault.actions.clone()))
            .flatten()
            .collect()
    }
}

/// What of a request the rules look at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) origin: Origin,
    pub(crate) kind: Kind,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
}
