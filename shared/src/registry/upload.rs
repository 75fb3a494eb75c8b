//! Sending a blob: a session is opened (or the blob mounted), the bytes go in by the provider's strategy, the digest
//! closes it.

mod chunked;
mod session;
mod single_patch;
mod streamed_put;

pub use session::{Session, Started};

use super::Repository;
use crate::{
    error::Error,
    oci::{Blob, Digest},
    provider::UploadStrategy,
    transport::StreamBody,
};

/// What a streamed copy holds at most in flight between its two connections, in bytes: the source connection's read
/// buffer (about 400 KiB in HTTP/1.1), one frame on its way, the destination's write buffer. Chosen from the HTTP
/// crate's defaults, 2026-11.
pub const UPLOAD_WINDOW_BYTES: u64 = 1024 * 1024;

impl Repository {
    /// The bytes that an upload of `blob` to this repository holds at most.
    #[must_use]
    pub fn upload_window(&self, blob: &Blob) -> u64 {
        let streamed = UPLOAD_WINDOW_BYTES.min(blob.size.max(1));
        match self.client.provider.upload_strategy() {
            UploadStrategy::StreamedPut | UploadStrategy::SinglePatch => streamed,
            UploadStrategy::Chunked { chunk } => streamed + chunk.min(blob.size),
        }
    }

    /// Closes `session` with what it holds, which for a blob without bytes is all there is.
    ///
    /// # Errors
    /// All that a request can meet.
    pub async fn close_upload(&self, session: &Session, digest: &Digest) -> Result<(), Error> {
        streamed_put::close(self, &session.location, digest).await
    }

    /// Sends the bytes of `blob` into `session` and closes it. The registry commits the blob, or nothing.
    ///
    /// # Errors
    /// All that a request can meet, `DigestMismatch` where the registry computes another digest.
    pub async fn upload(&self, session: &Session, blob: &Blob, body: StreamBody) -> Result<(), Error> {
        match self.client.provider.upload_strategy() {
            UploadStrategy::StreamedPut => streamed_put::send(self, session, blob, body).await,
            UploadStrategy::SinglePatch => single_patch::send(self, session, blob, body).await,
            UploadStrategy::Chunked { chunk } => chunked::send(self, session, blob, body, chunk).await,
        }
    }
}
