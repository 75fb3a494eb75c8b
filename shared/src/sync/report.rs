//! What a sync did, as its result says it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::Serialize;

use crate::{error::Error, oci::Digest, request::SyncRequest, transport::Meter};

/// How a sync ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The destination holds the image now.
    Synced,
    /// The destination already had it.
    Current,
    /// An existing tag was kept.
    Kept,
    /// The source tag has moved on since the event: what it points to now is what was synced.
    Superseded,
    /// It could not be done.
    Failed,
}

/// The result of one sync.
#[derive(Debug, Clone, Serialize)]
pub struct SyncReport {
    /// How it ended.
    pub outcome: Outcome,
    /// From where.
    pub source: String,
    /// To where.
    pub destination: String,
    /// What was synced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Manifests.
    pub manifests: ManifestCounts,
    /// Blobs.
    pub blobs: BlobCounts,
    /// Manifests attached to the image.
    pub referrers: ManifestCounts,
    /// Bytes of blobs.
    pub bytes: ByteCounts,
    /// Requests.
    pub requests: RequestCounts,
    /// Requests, uploads and rounds that were tried again.
    pub retries: u32,
    /// Answers that asked to slow down.
    pub throttled: u32,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// The most bytes that were held for copies at once.
    pub peak_buffer_bytes: u64,
    /// Why it could not be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_type: Option<&'static str>,
    /// Why it could not be done, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// The failure itself.
    #[serde(skip)]
    pub error: Option<Error>,
}

/// Manifests, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ManifestCounts {
    /// Put at the destination.
    pub pushed: u64,
    /// There before.
    pub present: u64,
}

/// Blobs, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct BlobCounts {
    /// Sent.
    pub transferred: u64,
    /// Mounted from another repository of the destination's registry.
    pub mounted: u64,
    /// There before.
    pub present: u64,
}

/// Bytes of blobs, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ByteCounts {
    /// Read from the source, broken tries included.
    pub read: u64,
    /// Sent to the destination in uploads that were committed.
    pub written: u64,
    /// Not sent, as the destination had them or could mount them.
    pub avoided: u64,
}

/// Requests, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct RequestCounts {
    /// To the source registry and where it redirected; token requests aside.
    pub source: u32,
    /// To the destination registry; token requests aside.
    pub destination: u32,
    /// To AWS APIs.
    pub aws_api: u32,
}

/// Counts while a sync runs; shared by its tasks.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) source: Arc<Meter>,
    pub(super) destination: Arc<Meter>,
    manifests_pushed: AtomicU64,
    manifests_present: AtomicU64,
    transferred: AtomicU64,
    mounted: AtomicU64,
    present: AtomicU64,
    read: Arc<AtomicU64>,
    written: AtomicU64,
    avoided: AtomicU64,
}

impl Tally {
    /// The destination has the whole image already.
    pub(super) fn unchanged(&self) -> Outcome {
        self.manifest_present();
        Outcome::Current
    }

    pub(super) fn manifest_pushed(&self) {
        self.manifests_pushed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn manifest_present(&self) {
        self.manifests_present.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn blob_transferred(&self, bytes: u64) {
        self.transferred.fetch_add(1, Ordering::Relaxed);
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn blob_mounted(&self, bytes: u64) {
        self.mounted.fetch_add(1, Ordering::Relaxed);
        self.avoided.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn blob_present(&self, bytes: u64) {
        self.present.fetch_add(1, Ordering::Relaxed);
        self.avoided.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Where a body counts the bytes that it reads.
    pub(super) fn read_counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.read)
    }

    pub(super) fn report(
        &self,
        request: &SyncRequest,
        result: Result<(Outcome, Digest), Error>,
        took: Duration,
        peak_buffer_bytes: u64,
    ) -> SyncReport {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (source, destination) = (self.source.read(), self.destination.read());
        let (outcome, digest, error) = match result {
            Ok((outcome, digest)) => (outcome, Some(digest.to_string()), None),
            Err(error) => (Outcome::Failed, None, Some(error)),
        };
        SyncReport {
            outcome,
            source: request.source.to_string(),
            destination: request.destination.to_string(),
            digest,
            manifests: ManifestCounts {
                pushed: count(&self.manifests_pushed),
                present: count(&self.manifests_present),
            },
            blobs: BlobCounts {
                transferred: count(&self.transferred),
                mounted: count(&self.mounted),
                present: count(&self.present),
            },
            referrers: ManifestCounts::default(),
            bytes: ByteCounts { read: count(&self.read), written: count(&self.written), avoided: count(&self.avoided) },
            requests: RequestCounts {
                source: source.requests,
                destination: destination.requests,
                aws_api: source.aws_calls + destination.aws_calls,
            },
            retries: source.retries + destination.retries,
            throttled: source.throttled + destination.throttled,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            peak_buffer_bytes,
            error_type: error.as_ref().map(|error| error.error_type.name()),
            error_message: error.as_ref().map(|error| error.message.clone()),
            error,
        }
    }
}
