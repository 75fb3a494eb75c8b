//! Sending a blob: a session is opened (or the blob mounted), the bytes go in by the provider's strategy, the digest
//! closes it.

mod chunked;
mod limit;
mod session;
mod single_patch;
mod streamed_put;

use std::sync::atomic::Ordering;

pub use limit::UploadLimit;
pub use session::{Session, Started};

use url::Url;

use super::Repository;
use crate::{error::Error, oci::Blob, provider::UploadStrategy, transport::StreamBody};

/// Bytes that have left the source's connection and not yet the destination's. Chosen: sixteen h2 frames, which no
/// measurement tells from more (`docs/limits.md`).
const PIPE_BYTES: u64 = 256 * 1024;

/// What an HTTP/1.1 connection reads ahead, and so what one frame may have at most (hyper 1.12, 8192 + 4096 * 100).
pub(super) const READ_BUFFER_BYTES: u64 = 408 * 1024;

/// What a copy may hold, split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyWindow {
    /// Bytes that may be on their way between the two connections before no more are read.
    pub pipe: u64,
    /// Bytes of each chunk, where the destination takes chunks.
    pub chunk: u64,
}

impl Repository {
    /// The bytes that a copy of `blob` to this repository holds at most.
    #[must_use]
    pub fn copy_bytes(&self, blob: &Blob, strategy: UploadStrategy) -> u64 {
        let body = match strategy {
            UploadStrategy::StreamedPut | UploadStrategy::SinglePatch => PIPE_BYTES,
            UploadStrategy::Chunked { chunk } => self.chunk(chunk),
        };
        body.min(blob.size) + spare(blob)
    }

    /// What may be done with a lease of so many bytes, which is less than was wanted where the whole budget is.
    #[must_use]
    pub fn copy_window(&self, blob: &Blob, lease: u64, strategy: UploadStrategy) -> CopyWindow {
        // Where not even the connection's own buffers are covered, there is one copy at a time and little in it.
        let left = lease.saturating_sub(spare(blob)).max(lease / 4).max(1);
        match strategy {
            UploadStrategy::StreamedPut | UploadStrategy::SinglePatch => {
                CopyWindow { pipe: left.min(PIPE_BYTES), chunk: left }
            }
            UploadStrategy::Chunked { chunk } => {
                let chunk = self.chunk(chunk).min(left);
                // The end of a frame may belong to the next chunk, and the whole frame is held for it.
                CopyWindow { pipe: chunk + READ_BUFFER_BYTES.min(blob.size), chunk }
            }
        }
    }

    /// Our own size of a chunk, or the registry's if it wants larger ones.
    fn chunk(&self, own: u64) -> u64 {
        own.max(self.client.least_chunk.load(Ordering::Relaxed))
    }

    /// The least size of a chunk, where `window` has less room than the registry behind `session` wants of `blob`. The
    /// last chunk, which may be the only one, is exempt.
    #[must_use]
    pub fn wants_more(
        &self,
        session: &Session,
        blob: &Blob,
        window: CopyWindow,
        strategy: UploadStrategy,
    ) -> Option<u64> {
        match strategy {
            UploadStrategy::StreamedPut | UploadStrategy::SinglePatch => None,
            UploadStrategy::Chunked { .. } => {
                let least = session.least_chunk.max(self.client.provider.least_part(blob.size));
                least.filter(|least| *least > window.chunk && window.chunk < blob.size)
            }
        }
    }

    /// Closes `session`, which has been sent nothing: `blob` has no bytes.
    ///
    /// # Errors
    /// `ManifestInvalid`: the registry takes no such blob, as ECR doesn't; and all that a request can meet.
    pub async fn close_upload(&self, session: &Session, blob: &Blob) -> Result<(), Error> {
        streamed_put::close_empty(self, &session.location, blob).await
    }

    /// Closes `session`, which has all of `blob`: an earlier invocation sent its last byte, and no more.
    ///
    /// # Errors
    /// All that a request can meet.
    pub async fn close_whole(&self, session: &Session, blob: &Blob) -> Result<(), Error> {
        streamed_put::close(self, &session.location, blob).await
    }

    /// Sends the bytes of `blob` into `session` by `strategy` and closes it. The registry commits the blob, or nothing.
    /// `session` goes where the registry's last answer said, so that it can be cancelled whenever this is dropped; `taken`
    /// hears of each chunk that the registry has taken: where the upload goes on, and how many bytes it has.
    ///
    /// # Errors
    /// All that a request can meet, `DigestMismatch` where the registry computes another digest, `DeadlineExceeded` where
    /// the next invocation should go on.
    pub async fn upload(
        &self,
        session: &mut Session,
        blob: &Blob,
        body: StreamBody,
        window: CopyWindow,
        strategy: UploadStrategy,
        taken: &ChunkTaken<'_>,
    ) -> Result<(), Error> {
        match strategy {
            UploadStrategy::StreamedPut => streamed_put::send(self, session, blob, body).await,
            UploadStrategy::SinglePatch => single_patch::send(self, session, blob, body).await,
            UploadStrategy::Chunked { .. } => chunked::send(self, session, blob, body, window.chunk, taken).await,
        }
    }
}

/// Hears of chunks that a registry has taken: where the upload goes on, and how many bytes of the blob it has.
pub type ChunkTaken<'f> = dyn Fn(&Url, u64) + Send + Sync + 'f;

/// What a copy holds beside the bytes that it wants to: what its source connection reads ahead, the frame that is held
/// back until the sum is right, the one that is just taken, and a frame that two chunks share.
fn spare(blob: &Blob) -> u64 {
    4 * READ_BUFFER_BYTES.min(blob.size)
}
