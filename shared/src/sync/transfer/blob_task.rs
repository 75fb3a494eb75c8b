//! One blob: mounted if that is granted, else sent; tried again after a passing trouble, from a new session.

use std::{
    mem::replace,
    sync::{Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use http_body_util::BodyExt;
use tokio::{sync::watch, time::Instant};
use url::Url;

use super::{
    pipe::{Broken, Mark, VerifiedBody, Watch},
    resume::ResumingBody,
};
use crate::{
    config::Limits,
    error::{Class, Error, ErrorType},
    limits::{Admitted, ByteBudget, CommitGate, CopyLimits, NotAdmitted, Refused},
    oci::Blob,
    provider::{Action, UploadStrategy},
    registry::{OpenedBlob, Repository, Session, Started},
    retry::RetryPolicy,
    sync::{
        continuation::GoOn,
        report::{Arrived, Tally},
    },
    transport::StreamBody,
};

/// What one stream is sure to carry. Chosen: four fifths of the 25 MB a second that ECR takes, under the 75 MB that Lambda
/// does.
const STREAM_BYTES_PER_SECOND: u64 = 20_000_000;

/// How long a blob that the destination lacked is taken for missing, where others may send it. Chosen: a first few blobs are
/// begun within it, and who waits longer has larger ones before it than a `HEAD`.
const FRESH: Duration = Duration::from_secs(1);

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
    /// When the destination was asked for its blobs, where others may send some meanwhile.
    pub(super) asked: Option<Instant>,
    pub(super) stopped: watch::Receiver<bool>,
}

impl BlobTask<'_> {
    /// Moves the blob and counts it.
    pub(super) async fn run(self) -> Result<(), Error> {
        self.tally.blob(self.blob, self.attempts().await?);
        // Where the gate asks the registry itself, a 201 is not its last word.
        if self.gate.asks() {
            self.destination.note_sent(&self.blob.digest);
        } else {
            self.gate.note_good(self.blob.digest.clone());
        }
        Ok(())
    }

    /// The one owner of tries for whole uploads; what can be sent again as it is was tried again below already.
    async fn attempts(&self) -> Result<Arrived, Error> {
        let policy = RetryPolicy { max_attempts: self.limits.max_attempts };
        let mut login_refused = false;
        let mut attempt = 0;
        loop {
            attempt += 1;
            if self.destination.run().deadline.hands_over() {
                let text = format!("blob {}: not begun, as the invocation's time is nearly up", self.blob.digest);
                return Err(Error::new(ErrorType::DeadlineExceeded, text));
            }
            if *self.stopped.borrow() {
                return Err(self.given_up());
            }
            let error = match Box::pin(self.once(attempt)).await {
                Ok(arrived) => return Ok(arrived),
                Err(error) => error,
            };
            // A fresh token is in place; if that is refused too, there is no better one.
            let fresh_login = error.error_type == ErrorType::Unauthorized && !replace(&mut login_refused, true);
            let again = error.retry_above && (fresh_login || error.class() == Class::Later);
            let wait = if again { policy.backoff(attempt, error.retry_after, fastrand::f64()) } else { None };
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

    async fn once(&self, attempt: u32) -> Result<Arrived, Error> {
        let strategy = self.strategy();
        if let Some(least) = self.tally.begun().upload(self.blob).and_then(|go_on| go_on.least_chunk) {
            self.destination.client().least_chunk.fetch_max(least, Ordering::Relaxed);
        }
        let mut stopped = self.stopped.clone();
        let leave = tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => return Err(self.given_up()),
            leave = self.admitted(strategy) => leave?,
        };
        // A broken upload may have been taken, and its answer lost. And who waited for long, for leave above all, may have
        // been overtaken.
        let overtaken = attempt > 1 || self.asked.is_some_and(|asked| asked.elapsed() > FRESH);
        if overtaken && self.has_it(&leave).await? {
            return Ok(Arrived::Present);
        }
        if attempt == 1
            && let Some(go_on) = self.tally.begun().upload(self.blob)
            && let Some(arrived) = self.go_on(&leave, strategy, &go_on).await?
        {
            return Ok(arrived);
        }
        if self.blob.size == 0 {
            return self.send_nothing(&leave).await;
        }
        if self.mount_from.is_none() {
            // Both ends at once: it saves the slower one's round trip.
            let (opened, started) = tokio::join!(
                self.source.open_blob(&leave, self.blob, 0),
                self.destination.start_upload(&leave, &self.blob.digest, None)
            );
            return match (opened, started) {
                (Ok(opened), Ok(Started::Session(session))) => {
                    self.send(&leave, strategy, session, opened, Mark::start(self.blob)).await
                }
                (Err(error), Ok(Started::Session(session))) => {
                    self.destination.cancel_upload(session).await;
                    Err(error)
                }
                (_, Ok(Started::Mounted)) => Ok(Arrived::Mounted),
                // What no other try mends says more.
                (Err(error), Err(_)) if error.class() == Class::Never => Err(error),
                (_, Err(error)) => Err(error),
            };
        }
        match self.destination.start_upload(&leave, &self.blob.digest, self.mount_from).await? {
            Started::Mounted => Ok(Arrived::Mounted),
            Started::Session(session) => match self.source.open_blob(&leave, self.blob, 0).await {
                Ok(opened) => self.send(&leave, strategy, session, opened, Mark::start(self.blob)).await,
                Err(error) => {
                    self.destination.cancel_upload(session).await;
                    Err(error)
                }
            },
        }
    }

    /// Whether the destination has the blob, by its own API where no `HEAD` tells.
    async fn has_it(&self, leave: &Admitted) -> Result<bool, Error> {
        let digest = &self.blob.digest;
        if self.destination.client().provider.blob_head_tells() {
            return self.destination.has_blob_within(leave, digest).await;
        }
        self.gate.available(digest, &self.destination.run().deadline).await
    }

    /// How the blob is sent: in parts where one invocation's time is too short for it and another one may go on.
    fn strategy(&self) -> UploadStrategy {
        let provider = self.destination.client().provider;
        let deadline = &self.destination.run().deadline;
        let in_time = deadline.left().as_secs().saturating_mul(STREAM_BYTES_PER_SECOND);
        let too_large = deadline.may_hand_over() && self.blob.size > in_time;
        let in_parts = if too_large || self.tally.begun().needs_chunks(self.blob) {
            provider.upload_in_parts(self.blob.size)
        } else {
            None
        };
        in_parts.unwrap_or(provider.upload_strategy())
    }

    /// Goes on with an upload of an earlier invocation; `None`: the registry has it no more.
    async fn go_on(&self, leave: &Admitted, strategy: UploadStrategy, go_on: &GoOn) -> Result<Option<Arrived>, Error> {
        let digest = &self.blob.digest;
        let at = (go_on.offset, self.blob.size);
        let resumed = match self.destination.resume_upload(leave, digest, &go_on.location, at, go_on.least_chunk).await
        {
            Ok(None) => {
                tracing::info!(blob = %digest, offset = go_on.offset, "the half-sent upload is gone: sending the blob from its start");
                return Ok(None);
            }
            // Its last byte was let through when the sum was right: nothing is to be read any more.
            Ok(Some(session)) if session.offset() == self.blob.size => {
                self.destination.close_whole(&session, self.blob).await?;
                return Ok(Some(Arrived::Sent));
            }
            Ok(Some(session)) => match self.source.open_blob(leave, self.blob, go_on.mark.offset).await {
                Ok(opened) => Ok((session, opened)),
                Err(error) if error.class() == Class::Never => {
                    self.destination.cancel_upload(session).await;
                    return Err(error);
                }
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        match resumed {
            Ok((session, opened)) => {
                tracing::info!(blob = %digest, offset = session.offset(), "going on with a half-sent upload");
                self.send(leave, strategy, session, opened, go_on.mark.clone()).await.map(Some)
            }
            Err(error) => {
                self.tally.half_sent(go_on.save(digest));
                Err(error)
            }
        }
    }

    /// Waits for leave to begin.
    async fn admitted(&self, strategy: UploadStrategy) -> Result<Admitted, Error> {
        let (source, destination) = (self.source.client(), self.destination.client());
        let limits = CopyLimits {
            reads: source.quotas.of(Action::GetBlob),
            starts: destination.quotas.of(Action::StartUpload),
            uploads: destination.quotas.of(Action::Upload),
            source: &source.streams,
            destination: &destination.streams,
            budget: self.budget,
        };
        let deadline = &self.destination.run().deadline;
        let admitted = limits.admit(self.destination.copy_bytes(self.blob, strategy), deadline).await;
        admitted.map_err(|refused| {
            let (repository, reason) = match refused {
                Refused::Source(reason) => (self.source, reason),
                Refused::Destination(reason) => (self.destination, reason),
                Refused::DeadlinePassed => (self.destination, NotAdmitted::DeadlinePassed),
                Refused::Cap(reason) => {
                    let host = &destination.host;
                    let text = format!(
                        "copying blob {} within {host}: {reason}; raise registries.\"{host}\".streams",
                        self.blob.digest
                    );
                    return Error::new(ErrorType::InvalidConfig, text);
                }
            };
            repository.not_admitted(&self.blob.digest, reason)
        })
    }

    /// Sends what is behind `begin`, which is where `opened` was opened to begin.
    async fn send(
        &self,
        leave: &Admitted,
        strategy: UploadStrategy,
        mut session: Session,
        opened: OpenedBlob,
        begin: Mark,
    ) -> Result<Arrived, Error> {
        let policy = RetryPolicy { max_attempts: self.limits.max_attempts };
        let window = self.destination.copy_window(self.blob, leave.lease().bytes(), strategy);
        if let Some(least) = self.destination.wants_more(&session, self.blob, window, strategy) {
            if !session.taken_up() {
                self.destination.cancel_upload(session).await;
            }
            return Err(self.too_small(least, strategy));
        }
        let source = ResumingBody::new(self.source, leave, self.blob, policy, opened, begin.offset);
        let read = self.tally.read_counter();
        let (body, watch) = VerifiedBody::new(source.boxed(), self.blob, read, leave.clone(), window.pipe, begin);
        let body = StreamBody { body: body.boxed(), progress: watch.progress.clone() };
        let mut stopped = self.stopped.clone();
        let (reached, least_chunk) = (Mutex::<Option<GoOn>>::default(), session.least_chunk());
        let taken = |location: &Url, offset: u64| {
            let go_on = watch.mark(offset).map(|mark| GoOn { location: location.clone(), offset, mark, least_chunk });
            *reached.lock().unwrap_or_else(PoisonError::into_inner) = go_on;
        };
        let sent = tokio::select! {
            sent = self.destination.upload(&mut session, self.blob, body, window, strategy, &taken) =>
                sent.map_err(|error| self.cause(error, &watch, session.age())),
            _ = stopped.wait_for(|stop| *stop) => Err(self.given_up()),
        };
        let error = match sent {
            Ok(()) if watch.verified() => return Ok(Arrived::Sent),
            Ok(()) => {
                let text = format!("{} took blob {} before all of it was sent", self.destination, self.blob.digest);
                Error::new(ErrorType::Unavailable, text).retry_above()
            }
            Err(error) => error,
        };
        watch.abandon();
        // What an earlier invocation began may be written to by another run, which was sent the same message; a blob that can't
        // be read is for nobody.
        let hopeless = watch.broken().is_some() && error.class() == Class::Never;
        if self.left_for_the_next(&error, reached.into_inner().unwrap_or_else(PoisonError::into_inner), &session) {
            return Err(error);
        }
        if hopeless || !session.taken_up() {
            self.destination.cancel_upload(session).await;
        }
        Err(error)
    }

    /// Notes where another invocation goes on, if it was the end of this one that broke the upload off; `false`: nobody
    /// needs the session any more.
    fn left_for_the_next(&self, error: &Error, reached: Option<GoOn>, session: &Session) -> bool {
        let deadline = &self.destination.run().deadline;
        if !deadline.may_hand_over() || error.error_type != ErrorType::DeadlineExceeded {
            return false;
        }
        // Without a chunk of its own this invocation leaves what it found, where the registry says that it is now.
        let found = || {
            let found = self.tally.begun().upload(self.blob).filter(|found| session.offset() >= found.offset)?;
            Some(GoOn { location: session.location().clone(), ..found })
        };
        match reached.or_else(found) {
            Some(go_on) => self.tally.half_sent(go_on.save(&self.blob.digest)),
            None => {
                self.tally.cut(&self.blob.digest);
                return false;
            }
        }
        true
    }

    /// A blob without bytes: there is nothing to read, and only one digest that it can have.
    async fn send_nothing(&self, leave: &Admitted) -> Result<Arrived, Error> {
        if !self.blob.digest.matches(b"") {
            let reason = "it has 0 bytes by its manifest, and no digest of nothing";
            return Err(Error::new(
                ErrorType::DigestMismatch,
                format!("blob {} at {}: {reason}", self.blob.digest, self.source),
            ));
        }
        match self.destination.start_upload(leave, &self.blob.digest, self.mount_from).await? {
            Started::Mounted => Ok(Arrived::Mounted),
            Started::Session(session) => match self.destination.close_upload(&session, self.blob).await {
                Ok(()) => Ok(Arrived::Sent),
                Err(error) => {
                    self.destination.cancel_upload(session).await;
                    Err(error)
                }
            },
        }
    }

    /// The registry wants larger chunks than this copy has leave for. A registry's wish is not trusted to allocate by, and
    /// who has leave waits for no more: it is asked for anew, with what was learnt, if there can ever be as much.
    fn too_small(&self, least: u64, strategy: UploadStrategy) -> Error {
        let most = self.destination.copy_bytes(self.blob, strategy).min(self.budget.for_copies());
        let window = self.destination.copy_window(self.blob, most, strategy);
        let wants = format!(
            "copying blob {} to {}: the registry wants chunks of {least} bytes at least",
            self.blob.digest, self.destination
        );
        if window.chunk >= least {
            return Error::new(ErrorType::Unavailable, wants).retry_above();
        }
        let text = format!(
            "{wants}, and the byte budget has room for {}: give the function more memory, or raise limits.buffer_bytes",
            window.chunk
        );
        Error::new(ErrorType::InvalidConfig, text)
    }

    fn given_up(&self) -> Error {
        Error::new(
            ErrorType::Unavailable,
            format!("blob {}: given up, as another one failed for good", self.blob.digest),
        )
    }

    /// What really broke: a body that fails looks like a broken request from the other end.
    fn cause(&self, error: Error, watch: &Watch, age: Duration) -> Error {
        let at_source = |error_type, reason: &str| {
            Error::new(error_type, format!("reading blob {} at {}: {reason}", self.blob.digest, self.source))
        };
        match watch.broken() {
            Some(Broken::Mismatch(reason)) => at_source(ErrorType::DigestMismatch, &reason),
            // Reading on was tried as often as it may be.
            Some(Broken::Source(error)) => error,
            None => self.destination.client().upload_limit.told(error, self.blob, age),
        }
    }
}
