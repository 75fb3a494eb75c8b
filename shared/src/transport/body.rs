//! Bodies, both ways. A body of unknown or large size is streamed and never collected.

use std::{
    any::Any,
    collections::VecDeque,
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, combinators::BoxBody};
use hyper::body::Incoming;

use super::{
    Failure,
    meter::Progress,
    unread::{OpenRead, Unread},
};
use crate::deadline::Deadline;

type SentBody = BoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// The body of a request.
pub enum RequestBody {
    /// None.
    Empty,
    /// Bytes that can be sent again, in one piece or several.
    Pieces(Vec<Bytes>),
    /// A stream, which can't.
    Stream(StreamBody),
}

/// A body that is sent while it is made. Its size hint must be exact: it becomes `Content-Length`.
pub struct StreamBody {
    /// The bytes. A failure ends the request without ending its body, so that no server takes it for whole.
    pub body: SentBody,
    /// How far it has come, to tell a slow transfer from a stalled one.
    pub progress: Arc<Progress>,
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Pieces(pieces) => write!(f, "Pieces({})", pieces.iter().map(Bytes::len).sum::<usize>()),
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
    /// Whether it came over HTTP/2.
    pub h2: bool,
    body: ReadBody,
    stall: Duration,
    deadline: Deadline,
}

impl Response {
    pub(super) fn new(response: http::Response<Incoming>, stall: Duration, deadline: Deadline) -> Self {
        let (parts, body) = response.into_parts();
        let h2 = parts.version == Version::HTTP_2;
        let read = parts.extensions.get::<Arc<Unread>>().map(Unread::open);
        let body = ReadBody { body, read, kept: None };
        Self { status: parts.status, headers: parts.headers, h2, body, stall, deadline }
    }

    /// Keeps leave that was needed for the exchange until the answer has been read or dropped.
    #[must_use]
    pub fn keeping(mut self, leave: impl Any + Send + Sync) -> Self {
        self.body.kept = Some(Box::new((self.body.kept.take(), leave)));
        self
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
        self.body.boxed()
    }

    /// The next bytes of the body; `None` at its end.
    ///
    /// # Errors
    /// What broke.
    pub async fn next_bytes(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let stall = self.stall;
            let next = self.deadline.bound(tokio::time::timeout(stall, self.body.frame())).await?;
            match next.map_err(|_| Failure::Stalled(stall))? {
                None => return Ok(None),
                Some(Err(error)) => return Err(Failure::Broken(error)),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }
}

/// A body that says what is taken of it, and keeps what was needed for it, until it ends or is dropped.
#[derive(Debug)]
struct ReadBody {
    body: Incoming,
    read: Option<OpenRead>,
    kept: Option<Box<dyn Any + Send + Sync>>,
}

impl Body for ReadBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let next = ready!(Pin::new(&mut self.body).poll_frame(context));
        match (&next, &mut self.read) {
            (Some(Ok(frame)), Some(read)) => read.took(frame.data_ref().map_or(0, |bytes| bytes.len() as u64)),
            (None, Some(read)) => read.end(),
            _ => {}
        }
        if !matches!(next, Some(Ok(_))) {
            (self.read, self.kept) = (None, None);
        }
        Poll::Ready(next.map(|frame| frame.map_err(Into::into)))
    }
}

impl RequestBody {
    pub(super) fn into_parts(self) -> (SentBody, Option<Arc<Progress>>) {
        match self {
            Self::Empty => (Empty::new().map_err(|never| match never {}).boxed(), None),
            Self::Pieces(pieces) => {
                let progress = Arc::<Progress>::default();
                (Pieces::new(pieces, &progress).map_err(|never| match never {}).boxed(), Some(progress))
            }
            Self::Stream(stream) => {
                debug_assert!(stream.body.size_hint().exact().is_some(), "a streamed body's size must be exact");
                (stream.body, Some(stream.progress))
            }
        }
    }
}

/// Pieces on their way, cut small, so that a slow transfer of many bytes is told from one that stands still.
struct Pieces {
    left: VecDeque<Bytes>,
    bytes: u64,
    progress: Arc<Progress>,
}

/// Of one frame. Chosen: a few of h2's, and a second's worth of the slowest connection that is worth waiting for.
const PIECE_BYTES: usize = 64 * 1024;

impl Pieces {
    fn new(pieces: Vec<Bytes>, progress: &Arc<Progress>) -> Self {
        let left: VecDeque<Bytes> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        let bytes = left.iter().map(|piece| piece.len() as u64).sum();
        Self { left, bytes, progress: Arc::clone(progress) }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(piece) = self.left.front_mut() else { return Poll::Ready(None) };
        let frame = piece.split_to(piece.len().min(PIECE_BYTES));
        if piece.is_empty() {
            self.left.pop_front();
        }
        self.bytes -= frame.len() as u64;
        self.progress.add(frame.len() as u64);
        if self.left.is_empty() {
            self.progress.end();
        }
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes)
    }
}
