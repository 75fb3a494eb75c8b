//! The body between the two connections: it hashes and counts what passes, and lets the end through only when digest
//! and size are right.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::task::AtomicWaker;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::BoxBody;

use crate::{
    error::{Error, ErrorType, chain},
    limits::Admitted,
    oci::{Blob, Digest, Hasher},
    transport::Progress,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Why a body ended before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    /// The source broke off or failed, and the tries to read on were used up.
    Source(Error),
    /// The bytes are not those that were promised; they will not be others next time.
    Mismatch(String),
}

/// A place in a blob, and the sum of what is before it: a body may begin there.
#[derive(Clone)]
pub(in crate::sync) struct Mark {
    /// Bytes before it.
    pub(in crate::sync) offset: u64,
    pub(in crate::sync) hasher: Hasher,
}

impl Mark {
    /// Where `blob` begins.
    pub(super) fn start(blob: &Blob) -> Self {
        Self { offset: 0, hasher: blob.digest.hasher() }
    }
}

/// What a copy's owner can see of its body while the HTTP client has it.
#[derive(Default)]
pub(super) struct Watch {
    pub(super) progress: Arc<Progress>,
    /// Whether the owner has turned away: what is left of the body is not worth reading.
    abandoned: AtomicBool,
    /// Who has the body and waits, to be told that it is abandoned.
    waiting: AtomicWaker,
    broken: Mutex<Option<Broken>>,
    /// Where the last frame that was given on begins, and where it ends.
    marks: Mutex<[Option<Mark>; 2]>,
}

impl Watch {
    /// Whether the whole blob has passed and was right. A destination may answer before it has read a body to its end.
    pub(super) fn verified(&self) -> bool {
        self.progress.has_ended()
    }

    /// Ends a body that an HTTP connection may still hold on to.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
        self.waiting.wake();
    }

    /// The last known place that is not behind `offset`, if that is within the last frame.
    pub(super) fn mark(&self, offset: u64) -> Option<Mark> {
        let marks = self.marks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        marks.iter().flatten().rev().find(|mark| mark.offset <= offset).cloned()
    }

    pub(super) fn broken(&self) -> Option<Broken> {
        self.broken.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

/// A blob on its way. One frame is held back: the last one leaves when the source has ended and the sum is right, so
/// that a destination never has all bytes of a blob that is not whole.
pub(super) struct VerifiedBody {
    source: BoxBody<Bytes, Failure>,
    /// Over what was given on; none when the body has ended.
    hasher: Option<Hasher>,
    promised: Digest,
    size: u64,
    /// Bytes taken from the source.
    taken: u64,
    /// Bytes given on.
    given: u64,
    held: Option<Bytes>,
    watch: Arc<Watch>,
    /// Counts what was read, over all tries.
    read: Arc<AtomicU64>,
    /// The copy's leave: it lasts as long as an HTTP client has this body, or any of its bytes.
    leave: Admitted,
    /// How many bytes may be on their way before no more are taken.
    pipe: u64,
}

impl VerifiedBody {
    /// `source` gives the bytes of `blob` behind `begin`.
    pub(super) fn new(
        source: BoxBody<Bytes, Failure>,
        blob: &Blob,
        read: Arc<AtomicU64>,
        leave: Admitted,
        pipe: u64,
        begin: Mark,
    ) -> (Self, Arc<Watch>) {
        let watch = Arc::new(Watch { marks: Mutex::new([None, Some(begin.clone())]), ..Watch::default() });
        let body = Self {
            source,
            hasher: Some(begin.hasher),
            promised: blob.digest.clone(),
            size: blob.size,
            taken: begin.offset,
            given: begin.offset,
            held: None,
            watch: Arc::clone(&watch),
            read,
            leave,
            pipe,
        };
        (body, watch)
    }

    fn fail(&mut self, broken: Broken) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let text = match &broken {
            Broken::Source(error) => error.message.clone(),
            Broken::Mismatch(text) => text.clone(),
        };
        *self.watch.broken.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(broken);
        self.held = None;
        self.hasher = None;
        Poll::Ready(Some(Err(text.into())))
    }

    fn give(&mut self, bytes: Bytes) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        self.given += bytes.len() as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&bytes);
            let mut marks = self.watch.marks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            marks.swap(0, 1);
            marks[1] = Some(Mark { offset: self.given, hasher: hasher.clone() });
        }
        self.watch.progress.add(bytes.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    /// The source has ended: the last frame may leave if the sum is right.
    fn end(&mut self) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let Some(mut hasher) = self.hasher.take() else { return Poll::Ready(None) };
        if self.taken < self.size {
            // A connection that breaks is an error of its own: this end was the source's word that there is no more.
            let reason = format!("the source has {} of the {} bytes that the manifest says", self.taken, self.size);
            return self.fail(Broken::Mismatch(reason));
        }
        hasher.update(self.held.as_deref().unwrap_or_default());
        let digest = hasher.finish();
        if digest != self.promised {
            return self.fail(Broken::Mismatch(format!("the source's {} bytes have the digest {digest}", self.taken)));
        }
        self.watch.progress.end();
        match self.held.take() {
            Some(last) => self.give(last),
            None => Poll::Ready(None),
        }
    }
}

impl Body for VerifiedBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = &mut *self;
        if this.hasher.is_none() {
            return Poll::Ready(None);
        }
        this.watch.waiting.register(context.waker());
        if this.watch.abandoned.load(Ordering::Acquire) {
            return this.fail(Broken::Source(Error::new(ErrorType::Unavailable, "given up")));
        }
        loop {
            // The frame that is held back is beside the limit, or one as large as the limit would wait for itself.
            let held = this.held.as_ref().map_or(0, |held| held.len() as u64);
            if this.leave.lease().poll_room(this.pipe + held, context).is_pending() {
                this.watch.progress.starve(false);
                return Poll::Pending;
            }
            let polled = Pin::new(&mut this.source).poll_frame(context);
            this.watch.progress.starve(polled.is_pending());
            let bytes = match ready!(polled) {
                None => return this.end(),
                Some(Err(failure)) => {
                    let error = failure.downcast::<Error>().map(|error| *error);
                    let untyped = |failure: Failure| Error::new(ErrorType::Unavailable, chain(failure.as_ref()));
                    return this.fail(Broken::Source(error.unwrap_or_else(untyped)));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) if !bytes.is_empty() => bytes,
                    Ok(_) | Err(_) => continue, // nothing, or trailers
                },
            };
            this.taken += bytes.len() as u64;
            this.read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            if this.taken > this.size {
                let reason = format!("the source has more than the {} bytes that the manifest says", this.size);
                return this.fail(Broken::Mismatch(reason));
            }
            if let Some(before) = this.held.replace(this.leave.lease().hold(bytes)) {
                return this.give(before);
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.hasher.is_none() && self.held.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.size - self.given)
    }
}

#[cfg(test)]
#[path = "pipe_tests.rs"]
mod tests;
