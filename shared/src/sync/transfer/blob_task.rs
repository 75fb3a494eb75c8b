//! One blob: mounted if that is granted, else sent; tried again after a passing trouble, from a new session.

use http_body_util::BodyExt;
use tokio::sync::watch;

use super::{
    pipe::{Broken, VerifiedBody, Watch},
    resume::ResumingBody,
};
use crate::{
    config::Limits,
    error::{Class, Error, ErrorType},
    limits::{ByteBudget, CommitGate, StreamCap},
    oci::Blob,
    registry::{OpenedBlob, Repository, Session, Started},
    retry::RetryPolicy,
    sync::report::{Arrived, Tally},
    transport::StreamBody,
};

/// All that moving one blob needs.
pub(super) struct BlobTask<'s> {
    pub(super) blob: &'s Blob,
    pub(super) mount_from: Option<&'s str>,
    pub(super) source: &'s Repository,
    pub(super) destination: &'s Repository,
    pub(super) gate: &'s CommitGate,
    pub(super) budget: &'s ByteBudget,
    pub(super) limits: Limits,
    pub(super) tally: &'s Tally,
    pub(super) stopped: watch::Receiver<bool>,
}

/// Why a try failed.
enum Failed {
    /// The upload itself broke: it is for this task to send the blob again.
    Upload(Error),
    /// Something that has an owner of its own, who tried as often as it may be tried.
    Request(Error),
}

impl BlobTask<'_> {
    /// Moves the blob and counts it.
    pub(super) async fn run(self) -> Result<(), Error> {
        self.tally.blob(self.blob, self.attempts().await?);
        // Where the gate asks the registry itself, a 201 is not its last word.
        if !self.gate.asks() {
            self.gate.note_good(self.blob.digest.clone());
        }
        Ok(())
    }

    /// The one owner of tries for whole uploads; what can be sent again as it is was tried again below already.
    async fn attempts(&self) -> Result<Arrived, Error> {
        let policy = RetryPolicy { max_attempts: self.limits.max_attempts };
        let mut attempt = 0;
        loop {
            attempt += 1;
            if *self.stopped.borrow() {
                return Err(self.given_up());
            }
            let error = match self.once(attempt).await {
                Ok(arrived) => return Ok(arrived),
                Err(Failed::Request(error)) => return Err(error),
                Err(Failed::Upload(error)) => error,
            };
            let passing =
                matches!(error.error_type, ErrorType::Unavailable | ErrorType::Timeout | ErrorType::Throttled);
            let wait = if passing { policy.backoff(attempt, error.retry_after, fastrand::f64()) } else { None };
            let Some(wait) = wait else { return Err(error) };
            let mut stopped = self.stopped.clone();
            tokio::select! {
                slept = self.destination.run().deadline.sleep(wait) => if slept.is_err() { return Err(error) },
                _ = stopped.wait_for(|stop| *stop) => return Err(error),
            }
            tracing::debug!(blob = %self.blob.digest, retry.attempt = attempt, retry.reason = %error, "sending the blob again");
            self.destination.run().meter.retry();
        }
    }

    async fn once(&self, attempt: u32) -> Result<Arrived, Failed> {
        // A broken upload may have been taken, and its answer lost.
        if attempt > 1 && self.destination.has_blob(&self.blob.digest).await? {
            return Ok(Arrived::Present);
        }
        // The order of admission: streams, then bytes.
        let deadline = self.destination.run().deadline;
        let admission = async {
            let streams = StreamCap::pair(&self.source.client().streams, &self.destination.client().streams).await;
            let bytes = self.budget.reserve(self.destination.upload_window(self.blob)).await;
            (streams, bytes)
        };
        let _admitted = deadline.bound(admission).await.map_err(|_| {
            Error::new(
                ErrorType::DeadlineExceeded,
                format!("blob {} waited for its turn until the invocation's time ran out", self.blob.digest),
            )
        })?;
        if *self.stopped.borrow() {
            return Err(Failed::Request(self.given_up()));
        }
        if self.blob.size == 0 {
            return self.send_nothing().await;
        }
        if self.mount_from.is_none() {
            // Both ends at once: it saves the slower one's round trip.
            let (opened, started) = tokio::join!(
                self.source.open_blob(self.blob, 0),
                self.destination.start_upload(&self.blob.digest, None)
            );
            return match (opened, started) {
                (Ok(opened), Ok(Started::Session(session))) => self.send(session, opened).await,
                (Err(error), Ok(Started::Session(session))) => {
                    self.destination.cancel_upload(session).await;
                    Err(error.into())
                }
                (_, Ok(Started::Mounted)) => Ok(Arrived::Mounted),
                // What no other try mends says more.
                (Err(error), Err(_)) if error.class() == Class::Never => Err(error.into()),
                (_, Err(error)) => Err(error.into()),
            };
        }
        match self.destination.start_upload(&self.blob.digest, self.mount_from).await? {
            Started::Mounted => Ok(Arrived::Mounted),
            Started::Session(session) => match self.source.open_blob(self.blob, 0).await {
                Ok(opened) => self.send(session, opened).await,
                Err(error) => {
                    self.destination.cancel_upload(session).await;
                    Err(error.into())
                }
            },
        }
    }

    async fn send(&self, session: Session, opened: OpenedBlob) -> Result<Arrived, Failed> {
        let policy = RetryPolicy { max_attempts: self.limits.max_attempts };
        let source = ResumingBody::new(self.source, self.blob, policy, opened);
        let (body, watch) = VerifiedBody::new(source.boxed(), self.blob, self.tally.read_counter());
        let body = StreamBody { body: body.boxed(), progress: watch.progress.clone() };
        let mut stopped = self.stopped.clone();
        let sent = tokio::select! {
            sent = self.destination.upload(&session, self.blob, body) => sent.map_err(|error| self.cause(error, &watch)),
            _ = stopped.wait_for(|stop| *stop) => Err(Failed::Request(self.given_up())),
        };
        let failed = match sent {
            Ok(()) if watch.verified() => return Ok(Arrived::Sent),
            Ok(()) => Failed::Upload(Error::new(
                ErrorType::Unavailable,
                format!("{} took blob {} before all of it was sent", self.destination, self.blob.digest),
            )),
            Err(failed) => failed,
        };
        watch.abandon();
        self.destination.cancel_upload(session).await;
        Err(failed)
    }

    /// A blob without bytes: there is nothing to read, and only one digest that it can have.
    async fn send_nothing(&self) -> Result<Arrived, Failed> {
        if !self.blob.digest.matches(b"") {
            let reason = "it has 0 bytes by its manifest, and no digest of nothing";
            return Err(Failed::Request(Error::new(
                ErrorType::DigestMismatch,
                format!("blob {} at {}: {reason}", self.blob.digest, self.source),
            )));
        }
        match self.destination.start_upload(&self.blob.digest, self.mount_from).await? {
            Started::Mounted => Ok(Arrived::Mounted),
            Started::Session(session) => match self.destination.close_upload(&session, &self.blob.digest).await {
                Ok(()) => Ok(Arrived::Sent),
                Err(error) => {
                    self.destination.cancel_upload(session).await;
                    Err(Failed::Upload(error))
                }
            },
        }
    }

    fn given_up(&self) -> Error {
        Error::new(
            ErrorType::Unavailable,
            format!("blob {}: given up, as another one failed for good", self.blob.digest),
        )
    }

    /// What really broke: a body that fails looks like a broken request from the other end.
    fn cause(&self, error: Error, watch: &Watch) -> Failed {
        let at_source = |error_type, reason: &str| {
            Error::new(error_type, format!("reading blob {} at {}: {reason}", self.blob.digest, self.source))
        };
        match watch.broken() {
            Some(Broken::Mismatch(reason)) => Failed::Request(at_source(ErrorType::DigestMismatch, &reason)),
            // Reading on was tried as often as it may be.
            Some(Broken::Source(error)) => Failed::Request(error),
            None if error.error_type == ErrorType::Timeout && watch.starved() => {
                let waited = self.limits.request_timeout.as_millis();
                Failed::Upload(at_source(ErrorType::Timeout, &format!("nothing came for {waited} ms")))
            }
            None => Failed::Upload(error),
        }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Request(error)
    }
}
