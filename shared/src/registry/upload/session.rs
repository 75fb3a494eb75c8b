//! Upload sessions: opened, or spared by a mount; given up politely.

use std::{sync::atomic::Ordering, time::Duration};

use http::{
    HeaderValue, Method, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use tokio::time::Instant;
use url::Url;

use super::super::{Repository, Run, request::Operation};
use crate::{
    error::{Class, Error, ErrorType},
    limits::Admitted,
    oci::Digest,
    provider::Action,
    retry::RetryPolicy,
    transport::{Origin, Request, Response},
};

/// An open upload session.
#[derive(Debug)]
pub struct Session {
    /// Where it goes on; checked to stay with the registry.
    pub(super) location: Url,
    /// The least size of a chunk, where the registry says one.
    pub(super) least_chunk: Option<u64>,
    /// Bytes that it has already.
    pub(super) offset: u64,
    /// When it was asked for.
    pub(super) begun: Instant,
    /// Whether an earlier invocation began it, so that another one may have been told of it, too.
    pub(super) taken_up: bool,
}

impl Session {
    /// Bytes that it has already, of an earlier invocation.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How old it is, from the request for it on: no registry counts from an earlier moment. One that an earlier
    /// invocation began counts from where this one took it up.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Whether an earlier invocation began it. A message comes more than once, and then others write to it as well: it is
    /// not ours alone to end.
    #[must_use]
    pub fn taken_up(&self) -> bool {
        self.taken_up
    }

    /// Where it goes on.
    #[must_use]
    pub fn location(&self) -> &Url {
        &self.location
    }

    /// The least size of a chunk in bytes, where the registry says one.
    #[must_use]
    pub fn least_chunk(&self) -> Option<u64> {
        self.least_chunk
    }
}

/// What came of asking for an upload.
#[derive(Debug)]
pub enum Started {
    /// The registry had the blob in the other repository, and has it in this one now.
    Mounted,
    /// The bytes are to be sent.
    Session(Session),
}

impl Repository {
    /// Opens an upload of the blob; with `mount_from`, asks to mount it from there first, in the same request.
    ///
    /// A mount that is not granted is a session (202); one that is refused outright is asked again as a plain upload,
    /// since registries refuse for reasons that uploads don't share (Harbor: 401 for a project that is not there).
    ///
    /// # Errors
    /// All that a request can meet.
    pub async fn start_upload(
        &self,
        leave: &Admitted,
        digest: &Digest,
        mount_from: Option<&str>,
    ) -> Result<Started, Error> {
        let (operation, begun) = (Operation::new(Action::StartUpload, digest), Instant::now());
        let plain = self.url("blobs/uploads/");
        let mut url = plain.clone();
        if let Some(from) = mount_from {
            url.query_pairs_mut().append_pair("mount", digest.as_str()).append_pair("from", from);
        }
        let answer =
            self.send(&operation, empty(Method::POST, url), &[StatusCode::ACCEPTED, StatusCode::CREATED]).await;
        let response = match answer {
            Err(error) if mount_from.is_some() && error.class() == Class::Never => {
                self.send(&operation, empty(Method::POST, plain.clone()), &[StatusCode::ACCEPTED]).await?
            }
            answer => answer?,
        };
        leave.started();
        if response.status == StatusCode::CREATED && mount_from.is_some() {
            return Ok(Started::Mounted);
        }
        self.session(&operation, &plain, &response, begun).map(Started::Session)
    }

    fn session(
        &self,
        operation: &Operation,
        asked: &Url,
        response: &Response,
        begun: Instant,
    ) -> Result<Session, Error> {
        let least_chunk = response.header("oci-chunk-min-length").and_then(|text| text.parse().ok());
        if let Some(least) = least_chunk {
            self.client.least_chunk.store(least, Ordering::Relaxed);
        }
        let location = self.location(operation, asked, response)?;
        Ok(Session { location, least_chunk, offset: 0, begun, taken_up: false })
    }

    /// Whether an upload may begin in a repository that the registry's API calls missing: one is begun, and cancelled.
    ///
    /// ECR creates a repository when it is pushed to, if a creation template says so (ECR user guide, "Repository creation
    /// templates", `CREATE_ON_PUSH`). Without one it answers 404, or hangs up (aws/containers-roadmap, issue 1970).
    ///
    /// # Errors
    /// All that a request can meet, but for a registry that keeps hanging up.
    pub async fn takes_upload(&self, digest: &Digest) -> Result<bool, Error> {
        let operation = Operation::new(Action::StartUpload, digest).once();
        let url = self.url("blobs/uploads/");
        // What a server in trouble says is an error here, and no hanging up.
        let mut wanted = vec![StatusCode::ACCEPTED, StatusCode::NOT_FOUND];
        wanted.extend((500..=504).filter_map(|status| StatusCode::from_u16(status).ok()));
        for attempt in 1..=HANG_UPS {
            match self.send_alone(&operation, empty(Method::POST, url.clone()), &wanted).await {
                Ok(response) if response.status == StatusCode::ACCEPTED => {
                    let session = self.session(&operation, &url, &response, Instant::now())?;
                    drop(response);
                    self.cancel_upload(session).await;
                    return Ok(true);
                }
                Ok(response) if response.status == StatusCode::NOT_FOUND => return Ok(false),
                Ok(response) => {
                    let text = format!("{}: {}", self.doing(&operation), response.status.as_u16());
                    return Err(Error::new(ErrorType::Unavailable, text));
                }
                Err(error) if error.error_type == ErrorType::Unavailable && error.retry_above => {}
                Err(error) => return Err(error),
            }
            if let Some(wait) = (RetryPolicy { max_attempts: HANG_UPS }).backoff(attempt, None, fastrand::f64()) {
                if let Err(passed) = self.run.deadline.sleep(wait).await {
                    return Err(Error::new(
                        ErrorType::DeadlineExceeded,
                        format!("{}: {passed}", self.doing(&operation)),
                    ));
                }
                self.run.meter.retry();
            }
        }
        Ok(false)
    }

    /// The session at `location`, of which an earlier invocation says that it has `offset` of the blob's `size` bytes; `None`:
    /// it is no more, or has less.
    ///
    /// Source: OCI distribution-spec, end-13. What is told of more than `offset` is believed (a chunk whose answer was
    /// lost); a registry whose `Range` stands still (ECR) is known by saying less, and then our own count is. So it is where
    /// the question itself is refused: no source says that ECR answers it.
    ///
    /// # Errors
    /// All that a request can meet.
    pub async fn resume_upload(
        &self,
        leave: &Admitted,
        digest: &Digest,
        location: &Url,
        (offset, size): (u64, u64),
        least_chunk: Option<u64>,
    ) -> Result<Option<Session>, Error> {
        if Origin::of(location).as_ref() != Some(self.client.transport.origin()) {
            return Ok(None); // the registry is talked to by another name now
        }
        let operation = Operation::new(Action::Upload, digest);
        let gone = [
            StatusCode::NOT_FOUND,
            StatusCode::GONE,
            StatusCode::PRECONDITION_FAILED,
            StatusCode::RANGE_NOT_SATISFIABLE,
        ];
        let mute = [StatusCode::BAD_REQUEST, StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_IMPLEMENTED];
        let mut answers = vec![StatusCode::NO_CONTENT, StatusCode::OK, StatusCode::ACCEPTED];
        answers.extend(gone.into_iter().chain(mute));
        let response = self.send(&operation, Request::new(Method::GET, location.clone()), &answers).await?;
        leave.started();
        if gone.contains(&response.status) {
            return Ok(None);
        }
        // The registry does not say where an upload stands: the next chunk tells whether it still has it.
        if mute.contains(&response.status) {
            let (location, begun) = (location.clone(), Instant::now());
            return Ok(Some(Session { location, least_chunk, offset, begun, taken_up: true }));
        }
        let told = response.header("range").and_then(|range| range.strip_prefix("0-")?.parse::<u64>().ok());
        let has = told.map(|last| last.saturating_add(1)).filter(|has| (offset..=size).contains(has)).unwrap_or(offset);
        let location = match response.header("location") {
            Some(_) => self.location(&operation, location, &response)?,
            None => location.clone(),
        };
        let least_chunk = response.header("oci-chunk-min-length").and_then(|text| text.parse().ok()).or(least_chunk);
        Ok(Some(Session { location, least_chunk, offset: has, begun: Instant::now(), taken_up: true }))
    }

    /// Gives a session up, so that the registry can drop what it holds. Best effort: it would time out anyway.
    ///
    /// An upload that breaks off at the deadline is cancelled in the time that the deadline leaves for it.
    pub async fn cancel_upload(&self, session: Session) {
        let deadline = self.run.deadline.of_ending(CANCEL_LIMIT);
        let ending = Self { run: Run { deadline, ..self.run.clone() }, ..self.clone() };
        // A destination that hangs would hang on this too.
        match deadline.bound(Box::pin(ending.cancel(session.location))).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(error = %error, "an upload could not be cancelled"),
            Err(_) => tracing::debug!("an upload was not cancelled in time"),
        }
    }

    async fn cancel(&self, location: Url) -> Result<(), Error> {
        let operation = Operation::new(Action::Upload, "(cancelling)").once().at_once();
        let gone = [StatusCode::NO_CONTENT, StatusCode::OK, StatusCode::ACCEPTED, StatusCode::NOT_FOUND];
        let mut answers = gone.to_vec();
        answers.extend([StatusCode::BAD_REQUEST, StatusCode::RANGE_NOT_SATISFIABLE]);
        let answer = self.send(&operation, empty(Method::DELETE, location.clone()), &answers).await?;
        if gone.contains(&answer.status) {
            return Ok(());
        }
        // The answer that named its last location was lost: the registry says it once more.
        let answer =
            self.send(&operation, Request::new(Method::GET, location.clone()), &[StatusCode::NO_CONTENT]).await?;
        let location = self.location(&operation, &location, &answer)?;
        self.send(&operation, empty(Method::DELETE, location), &gone).await.map(drop)
    }
}

/// How often a registry may hang up on an upload before that is its answer. Chosen: a connection breaks, too, and hardly
/// three times in a row.
const HANG_UPS: u32 = 3;

/// For cancelling an upload, which is a courtesy. Chosen: longer than any answer without a body takes.
const CANCEL_LIMIT: Duration = Duration::from_secs(5);

/// How long the answer to an upload of `bytes` may take after the last of them was handed over.
///
/// Some megabytes are still under way then, in buffers and windows that nobody can look into, and a registry that closes
/// an upload hashes it all, or moves it to where it keeps it. Chosen: 64 KiB a second for what is under way, which is the
/// slowest connection worth waiting for, and 50 MiB a second for the registry.
pub(super) fn answer_patience(repository: &Repository, bytes: u64) -> Duration {
    const UNDER_WAY: u64 = 8 * 1024 * 1024;
    let sending = Duration::from_millis(bytes.min(UNDER_WAY) * 1000 / (64 * 1024));
    let closing = Duration::from_millis(bytes.saturating_mul(1000) / (50 * 1024 * 1024));
    repository.client.transport.stall() + sending + closing
}

/// A request that says that it has no body; some registries insist.
pub(super) fn empty(method: Method, url: Url) -> Request {
    let mut request = Request::new(method, url);
    request.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    request
}

/// A request that carries blob bytes.
pub(super) fn carrying(method: Method, url: Url, length: u64) -> Request {
    let mut request = Request::new(method, url);
    request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    request.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    request
}

/// `location` with the digest that closes the session; what else its query holds stays.
pub(super) fn closing(location: &Url, digest: &Digest) -> Url {
    let mut url = location.clone();
    url.query_pairs_mut().append_pair("digest", digest.as_str());
    url
}
