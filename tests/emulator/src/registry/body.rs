//! Bodies in both directions: counted, and spoilt where the script says so.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::Sleep;

use crate::{
    fault::Action,
    journal::{Open, Pen},
    registry::reply::{Halt, Payload, refuse},
};

/// Pieces of a response: chosen, four HTTP/2 frames.
const PIECE: usize = 64 * 1024;

/// Time for the bytes before a cut to leave: chosen, loopback needs a fraction.
const FLUSH: Duration = Duration::from_millis(20);

/// A request's body.
pub(crate) struct Upstream {
    body: Incoming,
    pen: Pen,
    read: u64,
    cut_after: Option<u64>,
    stall_after: Option<u64>,
    per_second: Option<u64>,
    owed: Duration,
}

/// What a body that is read slowly waits at least, where it waits.
const SHORTEST_SLEEP: Duration = Duration::from_millis(5);

impl Upstream {
    pub(crate) fn new(body: Incoming, pen: Pen, actions: &[Action]) -> Self {
        let mut this =
            Self { body, pen, read: 0, cut_after: None, stall_after: None, per_second: None, owed: Duration::ZERO };
        for action in actions {
            match action {
                Action::CutRequestAfter(bytes) => this.cut_after = Some(*bytes),
                Action::StallRequestAfter(bytes) => this.stall_after = Some(*bytes),
                Action::SlowRead(rate) => this.per_second = Some((*rate).max(1)),
                _ => {}
            }
        }
        this
    }

    /// The next bytes; none at the end. A client that goes away, or a scripted cut, ends the request.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Halt> {
        loop {
            if self.cut_after.is_some_and(|after| self.read >= after) {
                return Err(Halt::Abort);
            }
            if self.stall_after.is_some_and(|after| self.read >= after) {
                std::future::pending::<()>().await;
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let Ok(frame) = frame else { return Err(Halt::Abort) };
            let Ok(mut bytes) = frame.into_data() else { continue };
            if let Some(after) = self.cut_after {
                bytes.truncate(usize::try_from(after - self.read).unwrap_or(usize::MAX));
            }
            self.read += bytes.len() as u64;
            self.pen.received(bytes.len());
            if let Some(rate) = self.per_second {
                // A timer has milliseconds; frames may have a byte.
                self.owed += pace(bytes.len(), rate);
                if self.owed >= SHORTEST_SLEEP {
                    tokio::time::sleep(std::mem::take(&mut self.owed)).await;
                }
            }
            return Ok(Some(bytes));
        }
    }

    /// Whether there is no body, as far as the head of the request tells.
    pub(crate) fn is_empty(&self) -> bool {
        Body::is_end_stream(&self.body) || Body::size_hint(&self.body).exact() == Some(0)
    }

    /// A small body in one; 413 when it is larger.
    pub(crate) async fn collect(&mut self, limit: usize) -> Result<Bytes, Halt> {
        let mut out = BytesMut::new();
        while let Some(bytes) = self.chunk().await? {
            if out.len() + bytes.len() > limit {
                return Err(refuse(413, "SIZE_INVALID", "the body is larger than the registry takes"));
            }
            out.extend_from_slice(&bytes);
        }
        Ok(out.freeze())
    }

    /// Reads on a little after an early answer, so that the client gets to see it over HTTP/1.1.
    pub(crate) async fn linger(&mut self, limit: u64) {
        if self.cut_after.is_some() || self.per_second.is_some() {
            return;
        }
        if Body::size_hint(&self.body).lower() > limit {
            return;
        }
        let start = self.read;
        while self.read - start <= limit {
            match tokio::time::timeout(Duration::from_millis(500), self.chunk()).await {
                Ok(Ok(Some(_))) => {}
                _ => return,
            }
        }
    }
}

fn pace(bytes: usize, per_second: u64) -> Duration {
    Duration::from_micros((bytes as u64).saturating_mul(1_000_000) / per_second)
}

/// A response's body. The request counts as open until this is done or dropped.
pub(crate) struct Downstream {
    payload: Payload,
    position: u64,
    end: u64,
    cut_after: Option<u64>,
    stall_after: Option<u64>,
    corrupt: Option<u64>,
    per_second: Option<u64>,
    sleep: Option<Pin<Box<Sleep>>>,
    flushed: bool,
    open: Option<Open>,
    pen: Pen,
}

impl Downstream {
    pub(crate) fn new(payload: Payload, open: Open, actions: &[Action]) -> Self {
        let end = payload.size();
        let pen = open.pen();
        let mut this = Self {
            payload,
            position: 0,
            end,
            cut_after: None,
            stall_after: None,
            corrupt: None,
            per_second: None,
            sleep: None,
            flushed: false,
            open: Some(open),
            pen,
        };
        for action in actions {
            match action {
                Action::CutResponseAfter(bytes) => this.cut_after = Some(*bytes),
                Action::StallResponseAfter(bytes) => this.stall_after = Some(*bytes),
                Action::CorruptByte(at) => this.corrupt = Some(*at),
                Action::SlowWrite(rate) => this.per_second = Some((*rate).max(1)),
                Action::TruncateBody(bytes) => this.end = this.end.min(*bytes),
                Action::ExtraByte => this.end = this.payload.size() + 1,
                _ => {}
            }
        }
        if this.end == 0 {
            this.close();
        }
        this
    }

    pub(crate) fn length(&self) -> u64 {
        self.end
    }

    fn close(&mut self) {
        self.pen.finished();
        self.open = None;
    }

    fn next(&mut self) -> Bytes {
        let mut max = PIECE;
        for stop in [self.cut_after, self.stall_after, Some(self.end)].into_iter().flatten() {
            if stop > self.position {
                max = max.min(usize::try_from(stop - self.position).unwrap_or(usize::MAX));
            }
        }
        if let Some(rate) = self.per_second {
            // Ten pieces a second, so that a slow answer is slow and not lumpy.
            max = max.min(usize::try_from(rate / 10).unwrap_or(usize::MAX).max(1));
        }
        let mut piece = self.payload.read(self.position, max);
        if piece.is_empty() {
            // The extra byte, or content that was discarded.
            piece = Bytes::from_static(b"!");
        }
        let corrupt = self.corrupt.and_then(|at| usize::try_from(at.checked_sub(self.position)?).ok());
        if let Some(at) = corrupt.filter(|at| *at < piece.len()) {
            let mut spoilt = BytesMut::from(piece.as_ref());
            spoilt[at] ^= 1;
            piece = spoilt.freeze();
        }
        piece
    }
}

impl Body for Downstream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(sleep) = self.sleep.as_mut() {
            ready!(sleep.as_mut().poll(context));
            self.sleep = None;
        }
        if self.cut_after.is_some_and(|after| self.position >= after) {
            if !self.flushed {
                // An error takes along what hyper holds still: let the bytes before the cut get out first.
                self.flushed = true;
                self.sleep = Some(Box::pin(tokio::time::sleep(FLUSH)));
                return self.poll_frame(context);
            }
            self.open = None;
            return Poll::Ready(Some(Err(io::Error::other("cut by the script"))));
        }
        if self.position >= self.end {
            return Poll::Ready(None);
        }
        if self.stall_after.is_some_and(|after| self.position >= after) {
            // Nothing will ever wake this: the client has to give up.
            return Poll::Pending;
        }
        let piece = self.next();
        self.position += piece.len() as u64;
        self.pen.sent(piece.len());
        if let Some(rate) = self.per_second {
            self.sleep = Some(Box::pin(tokio::time::sleep(pace(piece.len(), rate))));
        }
        if self.position >= self.end && self.cut_after.is_none() {
            self.close();
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.position >= self.end && self.cut_after.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        // `Content-Length` is a header of the answer, which the script may leave out.
        SizeHint::default()
    }
}
