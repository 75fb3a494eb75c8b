//! Blobs: asked for, and opened to be streamed.

use http::{HeaderValue, Method, StatusCode, header::ACCEPT_ENCODING};
use url::Url;

use super::{
    Repository,
    request::{Operation, Verb},
};
use crate::{
    error::{Error, ErrorType},
    oci::{Blob, Digest},
    transport::{Origin, Request, Response, redact},
};

/// Redirects of one read. The limit that HTTP clients share.
const MAX_REDIRECTS: usize = 10;

impl Repository {
    /// Whether the repository is known to have the blob.
    ///
    /// # Errors
    /// Anything but a yes or a no.
    pub async fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        if !self.client.provider.blob_head_tells() {
            return Ok(false);
        }
        let operation = Operation::new(Verb::HeadBlob, digest);
        let request = Request::new(Method::HEAD, self.url(&format!("blobs/{digest}")));
        // A registry that keeps blobs elsewhere may lead there, which it does for those that it has.
        let mut wanted = READ_ANSWERS.to_vec();
        wanted.push(StatusCode::NOT_FOUND);
        let response = self.send(&operation, request, &wanted).await?;
        Ok(response.status != StatusCode::NOT_FOUND)
    }

    /// Opens the blob to be read from its start: an answer whose body is the blob, still to come.
    ///
    /// Redirects are followed: to the registry's own origin with its credentials, anywhere else without, and only
    /// where a registry may lead ([`crate::transport::Transport::check_redirect`]).
    ///
    /// # Errors
    /// `SourceNotFound`, `DigestMismatch` when the announced size is not the manifest's, `UnsafeRedirect`, and all
    /// that a request can meet.
    pub async fn open_blob(&self, blob: &Blob) -> Result<Response, Error> {
        let operation = Operation::new(Verb::GetBlob, &blob.digest);
        let fail = |error_type, reason: String| Error::new(error_type, format!("{}: {reason}", self.doing(&operation)));
        let mut url = self.url(&format!("blobs/{}", blob.digest));
        for _ in 0..=MAX_REDIRECTS {
            let mut request = Request::new(Method::GET, url.clone());
            // The bytes themselves are wanted; a compressed transfer would be other bytes.
            request.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            let own = Origin::of(&url).as_ref() == Some(self.client.transport.origin());
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
            if response.status == StatusCode::OK {
                return match response.content_length() {
                    Some(length) if length != blob.size => Err(fail(
                        ErrorType::DigestMismatch,
                        format!("the registry has {length} bytes, the manifest says {}", blob.size),
                    )),
                    _ => Ok(response),
                };
            }
            url = self.redirected(&operation, &url, &response)?;
        }
        Err(fail(ErrorType::UnsafeRedirect, format!("over {MAX_REDIRECTS} redirects")))
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
const READ_ANSWERS: [StatusCode; 6] = [
    StatusCode::OK,
    StatusCode::MOVED_PERMANENTLY,
    StatusCode::FOUND,
    StatusCode::SEE_OTHER,
    StatusCode::TEMPORARY_REDIRECT,
    StatusCode::PERMANENT_REDIRECT,
];
