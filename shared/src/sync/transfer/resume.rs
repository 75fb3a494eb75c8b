//! A source body that is cut is opened again where it broke off, so that the upload and the running digest go on: of a
//! layer of gigabytes, what was sent stays sent.

use std::{
    pin::Pin,
    sync::Mutex,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use futures::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::BoxBody;
use tokio::time::{Instant, Sleep};

use crate::{
    error::{Error, ErrorType, chain},
    limits::Admitted,
    oci::Blob,
    registry::{OpenedBlob, Repository},
    retry::RetryPolicy,
};

/// What makes a read that broke off one that got on. Chosen: a second's worth on a slow connection.
const PROGRESS_BYTES: u64 = 1024 * 1024;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The bytes of a blob, over as many reads as it takes.
pub(super) struct ResumingBody {
    source: Repository,
    leave: Admitted,
    blob: Blob,
    policy: RetryPolicy,
    /// Reads that broke in a row, without progress between.
    broken: u32,
    /// Where the last one did.
    broken_at: u64,
    /// Bytes given so far, and those before its beginning.
    given: u64,
    silence: Silence,
    state: State,
}

enum State {
    /// A read is under way; that many of its bytes were given before it broke off and are passed over.
    Reading { body: BoxBody<Bytes, Failure>, pass_over: u64 },
    /// The next read is being opened. The lock only makes it `Sync`, as request bodies must be; it is never contended.
    Opening(Mutex<BoxFuture<'static, Result<OpenedBlob, Error>>>),
    /// All was given, or nothing more can be.
    Ended,
}

/// How long a source has given nothing although it was asked. One timer serves a whole read: it is set anew when it
/// fires, not with each frame.
#[derive(Default)]
struct Silence {
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Silence {
    /// Ready when it has lasted for `limit`; the task is woken then.
    fn poll_longer_than(&mut self, limit: Duration, context: &mut Context<'_>) -> Poll<()> {
        let end = *self.since.get_or_insert_with(Instant::now) + limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
        while timer.as_mut().poll(context).is_ready() {
            if Instant::now() >= end {
                return Poll::Ready(());
            }
            timer.as_mut().reset(end);
        }
        Poll::Pending
    }

    fn end(&mut self) {
        self.since = None;
    }
}

impl ResumingBody {
    /// A body that begins at `offset` (bytes) of the blob, with `opened`, which was opened to begin there.
    pub(super) fn new(
        source: &Repository,
        leave: &Admitted,
        blob: &Blob,
        policy: RetryPolicy,
        opened: OpenedBlob,
        offset: u64,
    ) -> Self {
        // A source that takes no ranges begins at the start.
        let state = State::Reading { body: opened.response.into_body(), pass_over: offset - opened.offset };
        let (source, leave, blob) = (source.clone(), leave.clone(), blob.clone());
        let (broken, silence) = (0, Silence::default());
        Self { source, leave, blob, policy, broken, broken_at: offset, given: offset, silence, state }
    }

    /// Opens the blob again behind what was given, after a wait; the failure itself where there is no further try.
    fn open_again(&mut self, failure: Failure) -> Result<State, Failure> {
        self.silence.end();
        // A source that gets on, however often it breaks off, is worth reading on.
        if self.given - self.broken_at >= PROGRESS_BYTES {
            self.broken = 0;
        }
        (self.broken, self.broken_at) = (self.broken + 1, self.given);
        let Some(wait) = self.policy.backoff(self.broken, None, fastrand::f64()) else {
            let text = format!("reading blob {} at {}: {}", self.blob.digest, self.source, chain(failure.as_ref()));
            let error_type = failure.downcast_ref::<Error>().map_or(ErrorType::Unavailable, |error| error.error_type);
            return Err(Error::new(error_type, text).into());
        };
        let (source, leave, blob) = (self.source.clone(), self.leave.clone(), self.blob.clone());
        let offset = self.given;
        tracing::debug!(blob = %blob.digest, offset, reason = %failure, "reading on after a cut");
        let opening = async move {
            let passed = source.run().deadline.sleep(wait).await;
            passed.map_err(|passed| {
                Error::new(ErrorType::DeadlineExceeded, format!("reading blob {} at {source}: {passed}", blob.digest))
            })?;
            source.run().meter.retry();
            source.open_blob(&leave, &blob, offset).await
        };
        Ok(State::Opening(Mutex::new(Box::pin(opening))))
    }

    /// The next bytes of the read that is under way, those passed over left out; a stall is a failure of it.
    fn poll_source(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Failure>> {
        let State::Reading { body, pass_over } = &mut self.state else { return Poll::Ready(Ok(None)) };
        let Poll::Ready(frame) = Pin::new(body).poll_frame(context) else {
            let limit = self.source.client().transport.stall();
            return match self.silence.poll_longer_than(limit, context) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(()) => {
                    let text = format!("nothing came for {} ms", limit.as_millis());
                    Poll::Ready(Err(Error::new(ErrorType::Timeout, text).into()))
                }
            };
        };
        self.silence.end();
        let Some(frame) = frame.transpose()? else { return Poll::Ready(Ok(None)) };
        let mut bytes = frame.into_data().unwrap_or_default(); // trailers are no bytes
        let over = usize::try_from(*pass_over).unwrap_or(usize::MAX).min(bytes.len());
        bytes.advance(over);
        *pass_over -= over as u64;
        Poll::Ready(Ok(Some(bytes)))
    }

    fn give(&mut self, bytes: Bytes) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        self.given += bytes.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

impl Body for ResumingBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Ended => return Poll::Ready(None),
                State::Opening(opening) => {
                    let opening = opening.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
                    match ready!(opening.as_mut().poll(context)) {
                        Ok(opened) => {
                            // A source that takes no ranges begins at the start again.
                            let pass_over = this.given - opened.offset;
                            this.state = State::Reading { body: opened.response.into_body(), pass_over };
                        }
                        Err(error) => {
                            this.state = State::Ended;
                            return Poll::Ready(Some(Err(error.into())));
                        }
                    }
                }
                State::Reading { .. } => match ready!(this.poll_source(context)) {
                    Ok(None) => {
                        this.state = State::Ended;
                        return Poll::Ready(None);
                    }
                    Ok(Some(bytes)) if bytes.is_empty() => {}
                    Ok(Some(bytes)) => return this.give(bytes),
                    Err(failure) => match this.open_again(failure) {
                        Ok(opening) => this.state = opening,
                        Err(failure) => {
                            this.state = State::Ended;
                            return Poll::Ready(Some(Err(failure)));
                        }
                    },
                },
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.blob.size.saturating_sub(self.given))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_silence_that_was_ended_begins_anew() {
        let (mut silence, limit) = (Silence::default(), Duration::from_secs(3));
        for _ in 0..2 {
            let begun = Instant::now();
            poll_fn(|context| silence.poll_longer_than(limit, context)).await;
            assert_eq!(begun.elapsed(), limit, "each has its full time");
            silence.end();
        }
        let begun = Instant::now();
        let first = tokio::time::timeout(limit / 2, poll_fn(|context| silence.poll_longer_than(limit, context))).await;
        assert!(first.is_err());
        silence.end();
        poll_fn(|context| silence.poll_longer_than(limit, context)).await;
        assert_eq!(begun.elapsed(), limit + limit / 2, "a frame came in the middle");
    }
}
