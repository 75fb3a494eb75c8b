//! A blob that is read whole: a configuration. Blobs that are copied never are.

use bytes::Bytes;

use super::{Repository, request::Operation};
use crate::{
    error::{Class, Error, ErrorType},
    limits::{Admitted, ByteBudget},
    oci::{Blob, Digest},
    provider::Action,
    transport::{Failure, TransportError, redact},
};

impl Repository {
    /// Reads a blob whole, and verifies its size and digest. The caller has seen that its size is one to be held; while it
    /// comes it has a place in `budget`.
    ///
    /// # Errors
    /// `SourceNotFound`, `DigestMismatch`, and all that a request can meet.
    pub async fn small_blob(&self, blob: &Blob, budget: &ByteBudget) -> Result<Bytes, Error> {
        let operation = Operation::new(Action::GetBlob, &blob.digest);
        let mut attempt = 0;
        loop {
            attempt += 1;
            let (reads, streams) = (self.client.quotas.of(Action::GetBlob), &self.client.streams);
            let leave = Admitted::to_read(reads, streams, budget, blob.size, &self.run.deadline).await;
            let leave = leave.map_err(|reason| self.not_admitted(&blob.digest, reason))?;
            let opened = self.open_blob(&leave, blob, 0).await?;
            let collected = self.run.deadline.bound(opened.response.collect(blob.size)).await;
            let failure = match collected.unwrap_or(Err(Some(Failure::Deadline))) {
                Ok(bytes) if bytes.len() as u64 == blob.size && blob.digest.matches(&bytes) => return Ok(bytes),
                Ok(bytes) => return Err(self.other_bytes(&operation, blob, &bytes)),
                Err(None) => {
                    let text = format!("{}: it has over {} bytes", self.doing(&operation), blob.size);
                    return Err(Error::new(ErrorType::DigestMismatch, text));
                }
                Err(Some(failure)) => failure,
            };
            let url = redact(&self.url(&format!("blobs/{}", blob.digest)));
            let error = self.failure(&operation, &TransportError { method: http::Method::GET, url, failure });
            // Who holds a permit waits for nothing else.
            drop(leave);
            let again = error.class() == Class::Later;
            let wait = if again { self.client.policy.backoff(attempt, None, fastrand::f64()) } else { None };
            match wait {
                Some(wait) if self.run.deadline.sleep(wait).await.is_ok() => self.run.meter.retry(),
                _ => return Err(error),
            }
        }
    }

    fn other_bytes(&self, operation: &Operation, blob: &Blob, bytes: &[u8]) -> Error {
        let (length, digest) = (bytes.len(), Digest::of(bytes));
        let text = format!(
            "{}: its {length} bytes have the digest {digest}; the manifest says {} bytes",
            self.doing(operation),
            blob.size
        );
        Error::new(ErrorType::DigestMismatch, text)
    }
}
