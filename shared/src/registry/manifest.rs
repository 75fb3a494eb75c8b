//! Manifests: asked for, read and verified, put.

use bytes::{Bytes, BytesMut};
use http::{
    HeaderValue, Method, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};

use super::{Repository, refusal::ALGORITHM_ADVICE, request::Operation};
use crate::{
    error::{Error, ErrorType},
    limits::{Claim, CommitPermit, ManifestRoom, TooManyManifests},
    oci::{Digest, MANIFEST_ACCEPT, MAX_MANIFEST_BYTES, Manifest, ManifestError},
    provider::Action,
    transport::{Failure, Request, RequestBody, Response, TransportError},
};

/// What a `HEAD` says of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestHead {
    /// Its digest, where the registry says it; registries of before OCI 1.1 need not.
    pub digest: Option<Digest>,
    /// Whether the registry calls it an index.
    pub is_index: bool,
}

/// What a registry said when it took a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Taken {
    /// Whether it lists the manifest under its subject by itself: it named the subject (`OCI-Subject`).
    pub listed: bool,
}

const CONTENT_DIGEST: &str = "docker-content-digest";

/// Source: OCI distribution-spec, "Pushing Manifests with Subject".
const OCI_SUBJECT: &str = "oci-subject";

impl Repository {
    /// Asks whether the repository has a manifest under `target`, a tag or a digest; `None`: it has not, or there is
    /// no such repository.
    ///
    /// # Errors
    /// Anything but a yes or a no.
    pub async fn head_manifest(&self, target: &str) -> Result<Option<ManifestHead>, Error> {
        let operation = Operation::new(Action::HeadManifest, target);
        let request = self.manifest_request(Method::HEAD, target);
        let response = self.send(&operation, request, &[StatusCode::OK, StatusCode::NOT_FOUND]).await?;
        if response.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let digest = response.header(CONTENT_DIGEST).and_then(|text| text.parse().ok());
        let media_type = response.header(CONTENT_TYPE.as_str()).unwrap_or_default();
        let is_index = media_type.contains("image.index") || media_type.contains("manifest.list");
        Ok(Some(ManifestHead { digest, is_index }))
    }

    /// Reads the manifest under `target` and verifies its bytes: against `expected` where given, else against the
    /// digest that the registry names. Its bytes are held in `room`.
    ///
    /// # Errors
    /// `SourceNotFound`, `DigestMismatch`, `ManifestTooLarge`, `ManifestInvalid`, `UnsupportedMediaType`, and all that
    /// a request can meet.
    pub async fn manifest(
        &self,
        target: &str,
        expected: Option<&Digest>,
        room: &ManifestRoom,
    ) -> Result<Manifest, Error> {
        let operation = Operation::new(Action::GetManifest, target);
        let fail = |error_type, reason: String| Error::new(error_type, format!("{}: {reason}", self.doing(&operation)));
        let read = self.verified(&operation, target, expected, room, &[StatusCode::OK]).await?;
        let Some(Read { content_type, digest, bytes }) = read else {
            return Err(fail(ErrorType::SourceNotFound, "it is not there".to_owned()));
        };
        Manifest::parse(bytes, digest, content_type.as_deref()).map_err(|error| {
            let error_type = match error {
                ManifestError::Invalid(_) => ErrorType::ManifestInvalid,
                ManifestError::Unsupported { .. } => ErrorType::UnsupportedMediaType,
            };
            fail(error_type, format!("it {error}"))
        })
    }

    /// Reads what is under `target`, whatever it is, and verifies it as [`Self::manifest`] does; `None`: there is nothing,
    /// and `wanted` has 404.
    pub(super) async fn verified(
        &self,
        operation: &Operation,
        target: &str,
        expected: Option<&Digest>,
        room: &ManifestRoom,
        wanted: &[StatusCode],
    ) -> Result<Option<Read>, Error> {
        let Some((content_type, named, bytes)) = self.read_manifest(operation, target, room, wanted).await? else {
            return Ok(None);
        };
        let digest = match expected.or(named.as_ref()) {
            Some(promised) if promised.matches(&bytes) => promised.clone(),
            Some(promised) => {
                let doing = self.doing(operation);
                let (size, actual) = (bytes.len(), Digest::of(&bytes));
                let text = format!("{doing}: its {size} bytes have the digest {actual}, not {promised}");
                return Err(Error::new(ErrorType::DigestMismatch, text));
            }
            None => Digest::of(&bytes),
        };
        Ok(Some(Read { content_type, digest, bytes }))
    }

    /// The media type and the digest that the registry names, and the bytes: the one owner of tries after an answer that
    /// was cut.
    async fn read_manifest(
        &self,
        operation: &Operation,
        target: &str,
        room: &ManifestRoom,
        wanted: &[StatusCode],
    ) -> Result<Option<(Option<String>, Option<Digest>, Bytes)>, Error> {
        let too_large =
            |reason: String| Error::new(ErrorType::ManifestTooLarge, format!("{}: {reason}", self.doing(operation)));
        let (mut attempt, mut needed) = (0, 0);
        loop {
            attempt += 1;
            // Claimed before there is a stream: who holds one waits for nothing else.
            let claim = self.run.deadline.bound(room.claim(needed)).await;
            let claim = match claim {
                Ok(claim) => claim.map_err(|reason| too_large(format!("{reason}{MORE_MEMORY}")))?,
                Err(_) => return Err(self.read_failure(operation, target, Failure::Deadline)),
            };
            let request = self.manifest_request(Method::GET, target);
            let response = self.send(operation, request, wanted).await?;
            if response.status == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            let content_type = response.header(CONTENT_TYPE.as_str()).map(str::to_owned);
            let named = response.header(CONTENT_DIGEST).and_then(|text| text.parse::<Digest>().ok());
            let collected = self.run.deadline.bound(collect(response, claim)).await;
            let failure = match collected.unwrap_or(Err(Uncollected::Failed(Failure::Deadline))) {
                Ok(bytes) => return Ok(Some((content_type, named, bytes))),
                Err(Uncollected::TooLarge) => {
                    let text = format!("it is over {MAX_MANIFEST_BYTES} bytes, more than registries must take");
                    return Err(too_large(text));
                }
                Err(Uncollected::TooMany(reason)) => {
                    return Err(too_large(format!("{reason}{MORE_MEMORY}")));
                }
                // Another image has the room: wait for it, and ask again.
                Err(Uncollected::NoRoom(bytes)) => {
                    (attempt, needed) = (attempt - 1, bytes);
                    continue;
                }
                Err(Uncollected::Failed(failure)) => failure,
            };
            let wait =
                if failure.retryable() { self.client.policy.backoff(attempt, None, fastrand::f64()) } else { None };
            match wait {
                Some(wait) if self.run.deadline.sleep(wait).await.is_ok() => self.run.meter.retry(),
                _ => return Err(self.read_failure(operation, target, failure)),
            }
        }
    }

    /// Puts the manifest of `permit` under `target`, byte for byte, and compares the digest that the registry answers.
    /// Answers what else it said.
    ///
    /// # Errors
    /// `TagImmutable`, `BlobUnavailable`, `ManifestInvalid`, `DigestMismatch`, and all that a request can meet.
    pub async fn put_manifest(&self, permit: CommitPermit<'_>, target: &str) -> Result<Taken, Error> {
        let manifest = permit.manifest();
        // Whoever publishes tries again, as it takes a new permit.
        let operation = Operation::new(Action::PutManifest, target).once();
        let url = self.url(&format!("manifests/{target}"));
        // A registry that is told a tag alone makes up the digest, and not of another algorithm than sha256.
        let tagging = (target != manifest.digest.as_str() && !manifest.digest.is_sha256()).then(|| {
            let mut url = self.url(&format!("manifests/{}", manifest.digest));
            url.query_pairs_mut().append_pair("tag", target);
            url
        });
        let asks_for_tag = tagging.is_some();
        let operation = match asks_for_tag {
            true => Operation::new(Action::PutManifest, &manifest.digest).once(),
            false => operation,
        };
        let mut request = Request::new(Method::PUT, tagging.unwrap_or(url));
        let media_type = HeaderValue::from_str(&manifest.media_type).map_err(|_| {
            Error::new(ErrorType::ManifestInvalid, format!("{}: its media type is no header value", manifest.digest))
        })?;
        request.headers.insert(CONTENT_TYPE, media_type);
        request.body = RequestBody::Pieces(vec![manifest.bytes.clone()]);
        // ECR and others answer 200 or 201; the body says nothing.
        let response =
            self.send(&operation, request, &[StatusCode::CREATED, StatusCode::OK, StatusCode::ACCEPTED]).await?;
        // Source: OCI distribution-spec, draft of 1.2, end-7b: a tag that was set is named in the answer.
        if asks_for_tag && response.header("oci-tag") != Some(target) {
            let text = format!(
                "{}: the registry took it, and did not put tag `{target}` on it{ALGORITHM_ADVICE}",
                self.doing(&operation)
            );
            return Err(Error::new(ErrorType::ManifestInvalid, text));
        }
        let answered = response.header(CONTENT_DIGEST).and_then(|text| text.parse::<Digest>().ok());
        match answered {
            Some(answered) if !answered.matches(&manifest.bytes) => Err(Error::new(
                ErrorType::DigestMismatch,
                format!("{}: the registry took it as {answered}, not {}", self.doing(&operation), manifest.digest),
            )),
            _ => {
                let named = response.header(OCI_SUBJECT).and_then(|text| text.parse::<Digest>().ok());
                let listed = named.is_some() && named == manifest.subject;
                if listed {
                    self.client.lacks.note_keeps_lists();
                }
                Ok(Taken { listed })
            }
        }
    }

    fn manifest_request(&self, method: Method, target: &str) -> Request {
        let mut request = Request::new(method, self.url(&format!("manifests/{target}")));
        request.headers.insert(ACCEPT, HeaderValue::from_static(MANIFEST_ACCEPT));
        request
    }

    fn read_failure(&self, operation: &Operation, target: &str, failure: Failure) -> Error {
        let url = crate::transport::redact(&self.url(&format!("manifests/{target}")));
        self.failure(operation, &TransportError { method: Method::GET, url, failure })
    }
}

/// What was read under a tag or digest, and verified.
pub(super) struct Read {
    pub(super) content_type: Option<String>,
    pub(super) digest: Digest,
    pub(super) bytes: Bytes,
}

/// Why a manifest's bytes are not had.
enum Uncollected {
    TooLarge,
    TooMany(TooManyManifests),
    /// So many bytes can't be held at once; in a while they can.
    NoRoom(u64),
    Failed(Failure),
}

const MORE_MEMORY: &str = "; give it more memory, or limits.buffer_bytes";

/// Reads a body whole. What its headers promise is claimed before, and never allocated before it comes.
async fn collect(mut response: Response, mut claim: Claim) -> Result<Bytes, Uncollected> {
    let mut grow = |bytes: u64| match claim.grow_now(bytes) {
        _ if bytes > MAX_MANIFEST_BYTES => Err(Uncollected::TooLarge),
        Ok(true) => Ok(()),
        Ok(false) => Err(Uncollected::NoRoom(bytes)),
        Err(reason) => Err(Uncollected::TooMany(reason)),
    };
    grow(response.content_length().unwrap_or(0))?;
    let mut whole = BytesMut::new();
    while let Some(bytes) = response.next_bytes().await.map_err(Uncollected::Failed)? {
        grow(whole.len() as u64 + bytes.len() as u64)?;
        whole.extend_from_slice(&bytes);
    }
    Ok(claim.hold(whole.freeze()))
}
