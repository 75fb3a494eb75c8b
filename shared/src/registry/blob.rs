//! Blobs: asked for, and opened to be streamed.

use std::sync::atomic::{AtomicBool, Ordering};

use http::{
    HeaderValue, Method, StatusCode,
    header::{ACCEPT_ENCODING, RANGE},
};
use url::Url;

use super::{Repository, request::Operation};
use crate::{
    error::{Error, ErrorType},
    limits::{Admitted, WindowShare},
    oci::{Blob, Digest},
    provider::Action,
    transport::{Origin, Request, Response, redact},
};

/// Redirects of one read. The limit that HTTP clients share.
const MAX_REDIRECTS: usize = 10;

/// A blob that is open to be read.
#[derive(Debug)]
pub struct OpenedBlob {
    /// The answer whose body is the blob, or its rest.
    pub response: Response,
    /// Where in the blob the body begins, in bytes: where it was asked to, or at the start if the source takes no ranges.
    pub offset: u64,
}

/// Whether a registry sends blobs itself, or only says where they are.
#[derive(Debug, Default)]
pub struct BlobsAt {
    itself: AtomicBool,
    elsewhere: AtomicBool,
}

impl BlobsAt {
    fn note(&self, sent_itself: bool) {
        let seen = if sent_itself { &self.itself } else { &self.elsewhere };
        seen.store(true, Ordering::Relaxed);
    }

    /// Whether all reads so far were led elsewhere.
    fn lead_away(&self) -> bool {
        self.elsewhere.load(Ordering::Relaxed) && !self.itself.load(Ordering::Relaxed)
    }
}

impl Repository {
    /// Whether the repository is known to have the blob.
    ///
    /// # Errors
    /// Anything but a yes or a no.
    pub async fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        if !self.client.provider.blob_head_tells() {
            return Ok(false);
        }
        let (operation, request, wanted) = self.blob_head(digest);
        let response = self.send(&operation, request, &wanted).await?;
        Ok(response.status != StatusCode::NOT_FOUND)
    }

    /// The same for a copy that has been admitted, on the stream that it has: who holds one asks for no other.
    ///
    /// # Errors
    /// Anything but a yes or a no.
    pub async fn has_blob_within(&self, _leave: &Admitted, digest: &Digest) -> Result<bool, Error> {
        let (operation, request, wanted) = self.blob_head(digest);
        let response = self.exchange(&operation, request, &wanted).await?;
        Ok(response.status != StatusCode::NOT_FOUND)
    }

    fn blob_head(&self, digest: &Digest) -> (Operation, Request, Vec<StatusCode>) {
        let operation = Operation::new(Action::HeadBlob, digest);
        let request = Request::new(Method::HEAD, self.url(&format!("blobs/{digest}")));
        // A registry that keeps blobs elsewhere may lead there, which it does for those that it has.
        (operation, request, [&READ_ANSWERS[..], &[StatusCode::NOT_FOUND]].concat())
    }

    /// Opens the blob to be read from `offset` (bytes); its body is still to come.
    ///
    /// Redirects are followed: to the registry's own origin with its credentials, anywhere else without, and only
    /// where a registry may lead ([`crate::transport::Transport::check_redirect`]).
    ///
    /// # Errors
    /// `SourceNotFound`, `DigestMismatch` when the announced size is not the manifest's, `UnsafeRedirect`, and all
    /// that a request can meet.
    pub async fn open_blob(&self, leave: &Admitted, blob: &Blob, offset: u64) -> Result<OpenedBlob, Error> {
        let operation = Operation::new(Action::GetBlob, &blob.digest);
        let fail = |error_type, reason: String| Error::new(error_type, format!("{}: {reason}", self.doing(&operation)));
        let mut url = self.url(&format!("blobs/{}", blob.digest));
        for _ in 0..=MAX_REDIRECTS {
            let mut request = Request::new(Method::GET, url.clone());
            // The bytes themselves are wanted; a compressed transfer would be other bytes.
            request.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            if offset > 0 {
                let range = HeaderValue::try_from(format!("bytes={offset}-"));
                request.headers.extend(range.ok().map(|range| (RANGE, range)));
            }
            let origin = Origin::of(&url);
            let own = origin.as_ref() == Some(self.client.transport.origin());
            let window = match origin {
                // Who only says where to go sends no body; those who read there need the window.
                _ if own && self.client.blobs_at.lead_away() => None,
                Some(origin) => Some(self.window(leave, &operation, &origin).await?),
                None => None,
            };
            let response = if own {
                self.send(&operation, request, &READ_ANSWERS).await?
            } else {
                request.redirected = true;
                let response = self.send_elsewhere(&operation, request).await?;
                if !READ_ANSWERS.contains(&response.status) {
                    let status = response.status;
                    let at = redact(&url);
                    let error_type = match status.as_u16() {
                        404 | 410 => ErrorType::SourceNotFound,
                        429 => ErrorType::Throttled,
                        // 401 and 403 too: the registry's own signature in the URL has ended, or its clock is off.
                        _ => ErrorType::Unavailable,
                    };
                    return Err(fail(error_type, format!("{status} from {at}, where the registry led")));
                }
                response
            };
            let is_blob = matches!(response.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT);
            if own {
                self.client.blobs_at.note(is_blob);
            }
            if is_blob && response.h2 && window.is_none() {
                continue; // the registry has it after all: asked again, with a window
            }
            if is_blob {
                let window = window.filter(|_| response.h2);
                let begins = if response.status == StatusCode::OK { 0 } else { offset };
                let expected = blob.size.saturating_sub(begins);
                return match response.content_length() {
                    Some(length) if length != expected && offset == 0 => Err(fail(
                        ErrorType::DigestMismatch,
                        format!("the registry has {length} bytes, the manifest says {expected}"),
                    )),
                    // The first read was of the right length: this answer is odd, not the blob.
                    Some(length) if length != expected => Err(fail(
                        ErrorType::Unavailable,
                        format!(
                            "asked for what is behind byte {offset}, the registry sends {length} bytes, not {expected}"
                        ),
                    )),
                    // What was asked for, as far as it says; the digest proves the rest.
                    // Over HTTP/1.1 the connection reads ahead what the lease covers.
                    _ => Ok(OpenedBlob { response: response.keeping(window), offset: begins }),
                };
            }
            url = self.redirected(&operation, &url, &response)?;
        }
        Err(fail(ErrorType::UnsafeRedirect, format!("over {MAX_REDIRECTS} redirects")))
    }

    async fn window(&self, leave: &Admitted, operation: &Operation, at: &Origin) -> Result<WindowShare, Error> {
        let share = self.run.deadline.bound(leave.lease().window(&at.to_string())).await;
        share.map_err(|passed| {
            let text = format!("{}: no receive window became free: {passed}", self.doing(operation));
            Error::new(ErrorType::DeadlineExceeded, text)
        })
    }

    fn redirected(&self, operation: &Operation, from: &Url, response: &Response) -> Result<Url, Error> {
        let unsafe_redirect = |reason: String| {
            Error::new(
                ErrorType::UnsafeRedirect,
                format!("{}: the redirect is not followed: {reason}", self.doing(operation)),
            )
        };
        let target = response.header("location").ok_or_else(|| unsafe_redirect("it names no Location".to_owned()))?;
        let target = from.join(target).map_err(|error| unsafe_redirect(format!("its Location is no URL ({error})")))?;
        self.client.transport.check_redirect(from, &target).map_err(unsafe_redirect)?;
        Ok(target)
    }
}

/// What a read may be answered with.
const READ_ANSWERS: [StatusCode; 7] = [
    StatusCode::OK,
    StatusCode::PARTIAL_CONTENT,
    StatusCode::MOVED_PERMANENTLY,
    StatusCode::FOUND,
    StatusCode::SEE_OTHER,
    StatusCode::TEMPORARY_REDIRECT,
    StatusCode::PERMANENT_REDIRECT,
];
