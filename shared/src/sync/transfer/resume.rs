//! A source body that is cut is opened again where it broke off, so that the upload and the running digest go on: of a
//! layer of gigabytes, what was sent stays sent.

use std::{
    pin::Pin,
    sync::Mutex,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use futures::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::BoxBody;

use crate::{
    error::{Error, ErrorType, chain},
    limits::Admitted,
    oci::Blob,
    registry::{OpenedBlob, Repository},
    retry::RetryPolicy,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The bytes of a blob, over as many reads as it takes.
pub(super) struct ResumingBody {
    source: Repository,
    leave: Admitted,
    blob: Blob,
    policy: RetryPolicy,
    /// Reads that broke.
    broken: u32,
    /// Bytes given so far.
    given: u64,
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

impl ResumingBody {
    /// A body that begins with `opened`.
    pub(super) fn new(
        source: &Repository,
        leave: &Admitted,
        blob: &Blob,
        policy: RetryPolicy,
        opened: OpenedBlob,
    ) -> Self {
        let state = State::Reading { body: opened.response.into_body(), pass_over: 0 };
        let (source, leave, blob) = (source.clone(), leave.clone(), blob.clone());
        Self { source, leave, blob, policy, broken: 0, given: 0, state }
    }

    /// Opens the blob again behind what was given, after a wait; the failure itself where there is no further try.
    fn open_again(&mut self, failure: Failure) -> Result<State, Failure> {
        self.broken += 1;
        let Some(wait) = self.policy.backoff(self.broken, None, fastrand::f64()) else {
            let text = format!("reading blob {} at {}: {}", self.blob.digest, self.source, chain(failure.as_ref()));
            return Err(Error::new(ErrorType::Unavailable, text).into());
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
                State::Reading { body, pass_over } => match ready!(Pin::new(body).poll_frame(context)) {
                    None => {
                        this.state = State::Ended;
                        return Poll::Ready(None);
                    }
                    Some(Ok(frame)) => {
                        let Ok(mut bytes) = frame.into_data() else { continue }; // trailers
                        let over = usize::try_from(*pass_over).unwrap_or(usize::MAX).min(bytes.len());
                        bytes.advance(over);
                        *pass_over -= over as u64;
                        if !bytes.is_empty() {
                            return this.give(bytes);
                        }
                    }
                    Some(Err(failure)) => match this.open_again(failure) {
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
