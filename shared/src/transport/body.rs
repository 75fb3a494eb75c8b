//! Bodies, both ways. A body of unknown or large size is streamed and never collected.

use std::{fmt, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, combinators::BoxBody};

use super::{Failure, meter::Progress};
use crate::deadline::Deadline;

/// The body of a request.
pub enum RequestBody {
    /// None.
    Empty,
    /// Bytes that can be sent again.
    Bytes(Bytes),
    /// A stream, which can't.
    Stream(StreamBody),
}

/// A body that is sent while it is made. Its size hint must be exact: it becomes `Content-Length`.
pub struct StreamBody {
    /// The bytes. A failure ends the request without ending its body, so that no server takes it for whole.
    pub body: BoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>,
    /// How far it has come, to tell a slow transfer from a stalled one.
    pub progress: Arc<Progress>,
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// An answer: status, headers, and a body that is still to be read.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    body: reqwest::Body,
    stall: Duration,
    deadline: Deadline,
}

impl Response {
    pub(super) fn new(response: reqwest::Response, stall: Duration, deadline: Deadline) -> Self {
        let (parts, body) = http::Response::<reqwest::Body>::from(response).into_parts();
        Self { status: parts.status, headers: parts.headers, body, stall, deadline }
    }

    /// The size that the headers promise, in bytes.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.headers.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }

    /// A header as text; `None` where it is missing or no text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The whole body, if it has at most `limit` bytes; `Err(None)` where it has more.
    ///
    /// # Errors
    /// What broke, or nothing where the body is too long.
    pub async fn collect(mut self, limit: u64) -> Result<Bytes, Option<Failure>> {
        if self.content_length().is_some_and(|length| length > limit) {
            return Err(None);
        }
        let mut whole = BytesMut::new();
        while let Some(bytes) = self.next_bytes().await? {
            if whole.len() as u64 + bytes.len() as u64 > limit {
                return Err(None);
            }
            whole.extend_from_slice(&bytes);
        }
        Ok(whole.freeze())
    }

    /// The start of the body, for an error's text; whatever goes wrong, what came is enough.
    pub async fn excerpt(mut self) -> Bytes {
        const ENOUGH: usize = 16 * 1024;
        let mut start = BytesMut::new();
        while start.len() < ENOUGH {
            match self.next_bytes().await {
                Ok(Some(bytes)) => start.extend_from_slice(&bytes[..bytes.len().min(ENOUGH - start.len())]),
                Ok(None) | Err(_) => break,
            }
        }
        start.freeze()
    }

    /// The body, to be streamed on. Whoever streams watches for stalls itself.
    #[must_use]
    pub fn into_body(self) -> BoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>> {
        self.body.map_err(|error| Box::new(error.without_url()) as Box<dyn std::error::Error + Send + Sync>).boxed()
    }

    async fn next_bytes(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let stall = self.stall;
            let next = self.deadline.bound(tokio::time::timeout(stall, self.body.frame())).await?;
            match next.map_err(|_| Failure::Stalled(stall))? {
                None => return Ok(None),
                Some(Err(error)) => return Err(Failure::Broken(Box::new(error.without_url()))),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }
}

impl RequestBody {
    pub(super) fn into_parts(self) -> (reqwest::Body, Option<Arc<Progress>>) {
        match self {
            Self::Empty => (reqwest::Body::default(), None),
            Self::Bytes(bytes) => (bytes.into(), None),
            Self::Stream(stream) => {
                debug_assert!(stream.body.size_hint().exact().is_some(), "a streamed body's size must be exact");
                (reqwest::Body::wrap(stream.body), Some(stream.progress))
            }
        }
    }
}
