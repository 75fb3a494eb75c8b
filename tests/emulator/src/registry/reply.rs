//! Answers in the making, and the errors that end a request early.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::store::Content;

/// What follows the head of an answer.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    Empty,
    Bytes(Bytes),
    /// Part of a blob, from the first offset up to the second.
    Content(Content, u64, u64),
}

impl Payload {
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Content(_, from, to) => to - from,
        }
    }

    pub(crate) fn read(&self, offset: u64, max: usize) -> Bytes {
        match self {
            Self::Empty => Bytes::new(),
            Self::Bytes(bytes) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                bytes.slice(from..bytes.len().min(from.saturating_add(max)))
            }
            Self::Content(content, from, to) => {
                let at = from + offset;
                let left = usize::try_from(to.saturating_sub(at)).unwrap_or(usize::MAX);
                content.read(at, max.min(left))
            }
        }
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
}

impl Reply {
    pub(crate) fn new(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, headers: HeaderMap::new(), payload: Payload::Empty }
    }

    /// Sets a header; a name or value that HTTP does not allow is left out.
    pub(crate) fn header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value.as_ref())) {
            self.headers.insert(name, value);
        }
        self
    }

    pub(crate) fn body(mut self, content_type: &str, bytes: impl Into<Bytes>) -> Self {
        self.payload = Payload::Bytes(bytes.into());
        self.header("content-type", content_type)
    }

    pub(crate) fn json(self, value: &Value) -> Self {
        self.body("application/json", value.to_string())
    }

    pub(crate) fn error(status: u16, code: &str, message: &str) -> Self {
        Self::new(status).json(&json!({"errors": [{"code": code, "message": message, "detail": null}]}))
    }
}

/// Why a handler stopped.
pub(crate) enum Halt {
    /// With this answer.
    Refuse(Box<Reply>),
    /// With the end of the connection (HTTP/2: of the stream).
    Abort,
}

impl From<Reply> for Halt {
    fn from(reply: Reply) -> Self {
        Self::Refuse(Box::new(reply))
    }
}

pub(crate) type Answer = Result<Reply, Halt>;

/// An error answer, to be returned with `Err` or `?`.
pub(crate) fn refuse(status: u16, code: &str, message: &str) -> Halt {
    Reply::error(status, code, message).into()
}
