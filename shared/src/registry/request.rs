//! The single door to the transport: URL, credentials, one fresh token after a 401, and what an answer means.

use std::time::SystemTime;

use http::{HeaderValue, Method, StatusCode, header::AUTHORIZATION};
use url::Url;

use super::{Repository, refusal::Refused};
use crate::{
    error::{Error, ErrorType},
    limits::{NotAdmitted, Pull, Slot, StreamPermit},
    oci::ErrorEnvelope,
    provider::{Action, Provider},
    retry::{RetryPolicy, allowance, retry_after},
    transport::{Attempts, Failure, Origin, Request, Response, TransportError},
};

/// What is being done, for errors and for the meaning of an answer.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    /// What is done to it.
    pub(super) action: Action,
    /// What it is done to: a tag, a digest, an upload.
    pub(super) object: String,
    /// Whether somebody above tries it again.
    once: bool,
    /// Whether it is held back where the registry asks for a pause.
    held_back: bool,
}

impl Operation {
    pub(super) fn new(action: Action, object: impl ToString) -> Self {
        Self { action, object: object.to_string(), once: false, held_back: true }
    }

    /// The same, sent once: somebody above has to do more than send it again.
    pub(super) fn once(self) -> Self {
        Self { once: true, ..self }
    }

    /// The same, sent even while the registry asks for a pause: it takes work away from it.
    pub(super) fn at_once(self) -> Self {
        Self { held_back: false, ..self }
    }

    fn text(&self) -> &'static str {
        match self.action {
            Action::HeadManifest => "looking for manifest",
            Action::GetManifest => "reading manifest",
            Action::PutManifest => "putting manifest",
            Action::HeadBlob => "looking for blob",
            Action::GetBlob => "reading blob",
            Action::StartUpload => "starting an upload of blob",
            Action::Upload => "uploading blob",
            Action::List => "listing",
            Action::RemoveTag => "removing tag",
        }
    }
}

impl Repository {
    /// A URL of this repository: `/v2/<name>/<path>`.
    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.client.transport.endpoint().clone();
        url.set_path(&format!("/v2/{}/{path}", self.name));
        url
    }

    /// Sends `request` with this repository's credentials. An answer whose status is none of `wanted` is an error.
    ///
    /// The requests of a copy were given leave together, before it began; any other one waits for its own here, which
    /// is kept until its answer has been read.
    pub(super) async fn send(
        &self,
        operation: &Operation,
        request: Request,
        wanted: &[StatusCode],
    ) -> Result<Response, Error> {
        match operation.action {
            Action::GetBlob | Action::StartUpload | Action::Upload => self.exchange(operation, request, wanted).await,
            Action::HeadManifest
            | Action::GetManifest
            | Action::PutManifest
            | Action::HeadBlob
            | Action::List
            | Action::RemoveTag => Box::pin(self.send_alone(operation, request, wanted)).await,
        }
    }

    /// The same for a request that belongs to no copy: it waits for its own leave.
    pub(super) async fn send_alone(
        &self,
        operation: &Operation,
        request: Request,
        wanted: &[StatusCode],
    ) -> Result<Response, Error> {
        let leave = self.leave(operation).await?;
        let response = self.exchange(operation, request, wanted).await?;
        Ok(response.keeping(leave))
    }

    /// Why a copy of `object` was not begun: this end had no turn for it.
    pub fn not_admitted(&self, object: impl std::fmt::Display, reason: NotAdmitted) -> Error {
        not_admitted(&format!("copying blob {object}, at {self}"), reason)
    }

    /// Waits for leave to send one request that is no copy's.
    async fn leave(&self, operation: &Operation) -> Result<(Slot, Option<Pull>, StreamPermit), Error> {
        let deadline = &self.run.deadline;
        // A manifest that is read is a pull, where pulls are counted.
        let pull = match operation.action {
            Action::GetManifest => Some(self.client.pulls.take(deadline).await.map_err(|reason| {
                let error = not_admitted(&self.doing(operation), reason);
                let advice = "; its allowance of pulls is used up: give it credentials with a higher one";
                Error { message: error.message + advice, ..error }
            })?),
            _ => None,
        };
        let slot = self.client.quotas.of(operation.action).admit(deadline).await;
        let slot = slot.map_err(|reason| not_admitted(&self.doing(operation), reason))?;
        let stream = deadline.bound(self.client.streams.one()).await;
        let stream = stream.map_err(|_| not_admitted(&self.doing(operation), NotAdmitted::DeadlinePassed))?;
        Ok((slot, pull, stream))
    }

    pub(super) async fn exchange(
        &self,
        operation: &Operation,
        request: Request,
        wanted: &[StatusCode],
    ) -> Result<Response, Error> {
        let again = request.replay();
        // Whether nobody tries again between here and the wire.
        let once = operation.once || again.is_none();
        let used = self.client.auth.authorization(self).await;
        let used =
            used.map_err(|error| Error { message: format!("{}: {}", self.doing(operation), error.message), ..error })?;
        // An answer to `HEAD` has no text.
        let silent = used.is_some() && request.method == Method::HEAD;
        let response = self.send_as(operation, request, used.clone(), once).await?;
        let refused = match self.refused_login(response, wanted, silent).await {
            Answer::Wanted(response) => return Ok(response),
            Answer::Refused(refused) => refused,
            Answer::LoginRefused(refused) => {
                let fresh = self.client.auth.renewed(self, &refused.challenges, used.as_ref()).await;
                let fresh = fresh.map_err(|error| self.describe_unauthorized(operation, &refused, &error))?;
                // A streamed body is gone; whoever streams begins anew, with the fresh token in place.
                let Some(again) = again else {
                    let text = format!("{}: {refused}; check this registry's credentials", self.doing(operation));
                    return Err(Error::new(ErrorType::Unauthorized, text).retry_above());
                };
                if used.is_some() {
                    self.run.meter.retry();
                }
                let response = self.send_as(operation, again, fresh, once).await?;
                match self.refused_login(response, wanted, silent).await {
                    Answer::Wanted(response) => return Ok(response),
                    Answer::Refused(refused) | Answer::LoginRefused(refused) => refused,
                }
            }
        };
        Err(self.refusal(operation, &refused, once))
    }

    /// Sends `request` to an origin that is not the registry's: without credentials.
    pub(super) async fn send_elsewhere(&self, operation: &Operation, request: Request) -> Result<Response, Error> {
        self.send_as(operation, request, None, false).await
    }

    async fn send_as(
        &self,
        operation: &Operation,
        mut request: Request,
        authorization: Option<HeaderValue>,
        once: bool,
    ) -> Result<Response, Error> {
        if let Some(value) = authorization {
            request.headers.insert(AUTHORIZATION, value);
        }
        let under = Attempts {
            policy: if once { RetryPolicy::ONCE } else { self.client.policy },
            window: operation.held_back.then(|| self.client.quotas.of(operation.action).window()),
            meter: &self.run.meter,
            counted: true,
            deadline: &self.run.deadline,
        };
        let sent = self.client.transport.send(request, under).await;
        let response = sent.map_err(|failed| {
            let error = self.failure(operation, &failed);
            if once && failed.failure.retryable() { error.retry_above() } else { error }
        })?;
        self.note_allowance(operation, &response);
        Ok(response)
    }

    fn note_allowance(&self, operation: &Operation, response: &Response) {
        if let Some(allowance) = allowance(&response.headers) {
            let counted = operation.action == Action::GetManifest;
            self.client.pulls.told(allowance.remaining, allowance.more_in, counted);
        }
    }

    /// Sorts an answer, to a request that may be answered `silent`ly.
    async fn refused_login(&self, response: Response, wanted: &[StatusCode], silent: bool) -> Answer {
        if wanted.contains(&response.status) {
            return Answer::Wanted(response);
        }
        let status = response.status;
        let retry_after = retry_after(&response.headers, SystemTime::now());
        let challenges: Vec<String> = response
            .headers
            .get_all(http::header::WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok().map(str::to_owned))
            .collect();
        let envelope = ErrorEnvelope::parse(&response.excerpt().await);
        let says = envelope.message.contains("token has expired") || (silent && envelope.message.is_empty());
        let expired = says && may_say_expired(self.client.provider, status);
        let refused = Refused { status, envelope, challenges, retry_after };
        if status == StatusCode::UNAUTHORIZED || expired {
            Answer::LoginRefused(refused)
        } else {
            Answer::Refused(refused)
        }
    }

    /// Where an upload goes on: `Location`, which must stay with the registry.
    pub(super) fn location(&self, operation: &Operation, asked: &Url, response: &Response) -> Result<Url, Error> {
        let wrong = |error_type, reason: String| Error::new(error_type, format!("{}: {reason}", self.doing(operation)));
        let text = response
            .header("location")
            .ok_or_else(|| wrong(ErrorType::Unavailable, "the answer names no Location to go on at".to_owned()))?;
        let mut url = asked
            .join(text)
            .map_err(|error| wrong(ErrorType::Unavailable, format!("the answer's Location is no URL ({error})")))?;
        let own = self.client.transport.origin();
        match self.at_home(&mut url) {
            true => Ok(url),
            false => Err(wrong(
                ErrorType::UnsafeRedirect,
                format!(
                    "the registry wants the upload sent to {}, not to itself ({own}); behind a proxy, let the registry \
                     know its own address, or answer relative Locations",
                    crate::transport::redact(&url)
                ),
            )),
        }
    }

    /// Whether a URL that the registry answered leads to itself. One that is talked to by another name than its own may
    /// name itself; that is still the same one, and the URL is written anew.
    pub(super) fn at_home(&self, url: &mut Url) -> bool {
        let identity = Url::parse(&self.client.provider.default_endpoint(&self.client.host)).ok();
        let own = self.client.transport.origin();
        let target = Origin::of(url);
        if target.as_ref() != Some(own) && target.is_some() && target == identity.as_ref().and_then(Origin::of) {
            let mut rebased = self.client.transport.endpoint().clone();
            rebased.set_path(url.path());
            rebased.set_query(url.query());
            *url = rebased;
        }
        Origin::of(url).as_ref() == Some(own)
    }

    /// What was tried, where.
    pub(super) fn doing(&self, operation: &Operation) -> String {
        let preposition = match operation.action {
            Action::PutManifest | Action::StartUpload | Action::Upload => "to",
            Action::HeadManifest | Action::GetManifest | Action::HeadBlob | Action::GetBlob | Action::List => "at",
            Action::RemoveTag => "of",
        };
        format!("{} {} {preposition} {self}", operation.text(), operation.object)
    }

    pub(super) fn failure(&self, operation: &Operation, error: &TransportError) -> Error {
        self.transport_failure(&self.doing(operation), error)
    }

    /// What a request that got no answer means.
    pub(super) fn transport_failure(&self, doing: &str, error: &TransportError) -> Error {
        let host = &self.client.host;
        let (error_type, advice) = match &error.failure {
            Failure::Untrusted(_) => (
                ErrorType::InvalidConfig,
                format!("; if the registry is the right one, give its CA as registries.\"{host}\".ca_certificate"),
            ),
            Failure::NotTls(_) => (
                ErrorType::InvalidConfig,
                format!("; if it only speaks HTTP, set registries.\"{host}\".plain_http to true"),
            ),
            Failure::Forbidden(_) => (
                ErrorType::UnsafeRedirect,
                format!("; to allow it, add its host and port to registries.\"{host}\".redirects"),
            ),
            Failure::Shut(NotAdmitted::Shut(pause)) => {
                return Error::new(ErrorType::Throttled, format!("{doing}: {error}")).retry_after(Some(*pause));
            }
            Failure::Stalled(_) => (ErrorType::Timeout, String::new()),
            Failure::Deadline | Failure::Shut(NotAdmitted::DeadlinePassed) => (
                ErrorType::DeadlineExceeded,
                "; give the function a longer timeout, or more memory, which brings network and CPU".to_owned(),
            ),
            Failure::Connect(_) | Failure::Broken(_) => (ErrorType::Unavailable, String::new()),
        };
        Error::new(error_type, format!("{doing}: {error}{advice}"))
    }
}

/// Whether ECR may mean by a status that the token is too old: it calls that a denial, and ECR Public a bad request, or a
/// denial too. The text is the only mark.
///
/// Sources: reported in several trackers; ECR Public: aws/containers-roadmap, issue 2835.
fn may_say_expired(provider: Provider, status: StatusCode) -> bool {
    match provider {
        Provider::Ecr => status == StatusCode::FORBIDDEN,
        Provider::EcrPublic => matches!(status, StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST),
        _ => false,
    }
}

/// An answer, sorted.
enum Answer {
    Wanted(Response),
    Refused(Refused),
    /// The credentials were not taken; fresh ones may be.
    LoginRefused(Refused),
}

/// Why a request was not sent at all.
fn not_admitted(doing: &str, reason: NotAdmitted) -> Error {
    match reason {
        NotAdmitted::Shut(pause) => {
            Error::new(ErrorType::Throttled, format!("{doing}: the registry is not asked: {reason}"))
                .retry_after(Some(pause))
        }
        NotAdmitted::DeadlinePassed => Error::new(ErrorType::DeadlineExceeded, format!("{doing}: {reason}")),
    }
}
