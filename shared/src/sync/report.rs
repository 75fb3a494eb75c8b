//! What a sync did, as its result says it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::Serialize;

use super::{
    continuation::{Begun, HalfSent},
    stage,
};
use crate::{
    error::{Class, Error, ErrorType},
    oci::{Blob, Digest},
    request::SyncRequest,
    transport::Meter,
};

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
    /// The invocation's time was too short, and another one goes on.
    Continued,
    /// Nothing yet: it waits for ECR's scan.
    Held,
    /// It waits for ECR's scan, as a message.
    Queued,
    /// The source tag has moved on since the event: what it points to now is what was synced.
    Superseded,
    /// There was nothing to do yet.
    Ignored,
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
    /// What was synced: the digest that it has at the destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The digest that it has at the source, where that is another one: only some of its platforms were wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_digest: Option<String>,
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
    /// Answers of 429, and throttled calls of AWS APIs.
    pub throttled: u32,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// How long each stage took, in milliseconds, all rounds together; those that were not come to are not named.
    pub stages: BTreeMap<&'static str, u64>,
    /// The most bytes that were held at once: of blobs and manifests on their way, and unread in connections.
    pub peak_buffer_bytes: u64,
    /// Why there was nothing to do yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why it could not be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_type: Option<&'static str>,
    /// Why it could not be done, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// The failure itself.
    #[serde(skip)]
    pub error: Option<Error>,
    /// The image that what was to be copied belongs to, and that is not at the destination; or itself, if it is one.
    #[serde(skip)]
    pub awaits: Option<Digest>,
    /// What the source's tag held, if it was gone when this sync had copied it: a deletion met it.
    #[serde(skip)]
    pub source_is_gone: Option<Digest>,
    /// What the next invocation needs to go on, where this one's time was too short.
    #[serde(skip)]
    pub left: Option<Begun>,
}

impl SyncReport {
    /// The report of a sync that failed before it began.
    #[must_use]
    pub fn failed(request: &SyncRequest, error: Error) -> Self {
        Tally::default().report(request, Err(error), Duration::ZERO, 0)
    }

    /// It waits as a message in the queue.
    pub fn queued(&mut self) {
        self.outcome = Outcome::Queued;
        self.error = None;
    }

    /// Another invocation goes on.
    pub fn continued(&mut self) {
        self.outcome = Outcome::Continued;
        (self.error, self.error_type, self.error_message) = (None, None, None);
    }
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

/// How a blob came to be at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrived {
    /// It was sent.
    Sent,
    /// It was mounted from another repository.
    Mounted,
    /// It was there.
    Present,
}

/// Counts while a sync runs; shared by its tasks. Kept by digest, and the first word on one stays: a later round finds
/// there what an earlier one sent.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) source: Arc<Meter>,
    pub(super) destination: Arc<Meter>,
    blobs: Mutex<HashMap<Digest, (Arrived, u64)>>,
    /// Whether a manifest was pushed, or was there.
    manifests: Mutex<HashMap<Digest, bool>>,
    /// The same of manifests that are attached to the image.
    referrers: Mutex<HashMap<Digest, bool>>,
    read: Arc<AtomicU64>,
    begun: Begun,
    /// Why there was nothing to do yet.
    reason: Mutex<Option<String>>,
    /// The image that must come first.
    awaits: Mutex<Option<Digest>>,
    /// What the source's tag held that was gone at the last look.
    gone: Mutex<Option<Digest>>,
    /// Uploads that the next invocation can go on with.
    half_sent: Mutex<Vec<HalfSent>>,
    /// Blobs that the end of this one cut.
    cut: Mutex<Vec<String>>,
    /// The digest at the source of what was filtered.
    filtered_from: Mutex<Option<Digest>>,
    /// How long each stage took.
    stages: Mutex<BTreeMap<&'static str, Duration>>,
}

impl Tally {
    /// A tally of a sync that earlier invocations have begun.
    pub(super) fn of(begun: &Begun) -> Self {
        Self { begun: begun.clone(), ..Self::default() }
    }

    /// What earlier invocations did.
    pub(super) fn begun(&self) -> &Begun {
        &self.begun
    }

    /// The upload can be gone on with.
    pub(super) fn half_sent(&self, half: HalfSent) {
        locked(&self.half_sent).push(half);
    }

    /// The blob was cut, and all that was sent of it is lost.
    pub(super) fn cut(&self, digest: &Digest) {
        locked(&self.cut).push(digest.to_string());
    }

    /// What is synced is filtered, and has this digest at the source.
    pub(super) fn filtered_from(&self, digest: Option<Digest>) {
        *locked(&self.filtered_from) = digest;
    }

    /// The digest at the source of what was filtered; `None`: it is the same one.
    pub(super) fn source_digest(&self) -> Option<Digest> {
        locked(&self.filtered_from).clone()
    }

    /// What the next invocation is told.
    pub(super) fn left(&self) -> Begun {
        let uploads = locked(&self.half_sent).clone();
        let further = uploads.iter().any(|half| half.offset > self.begun.reached(&half.digest));
        let arrived = locked(&self.blobs).values().any(|(how, _)| *how != Arrived::Present);
        let put = |manifests: &Mutex<HashMap<Digest, bool>>| locked(manifests).values().any(|pushed| *pushed);
        let moved = further || arrived || put(&self.manifests) || put(&self.referrers);
        // What this one did not get to is left as it was found.
        let kept = |half: &&HalfSent| {
            let arrived = locked(&self.blobs).keys().any(|digest| digest.as_str() == half.digest);
            !arrived
                && !uploads.iter().any(|new| new.digest == half.digest)
                && !locked(&self.cut).contains(&half.digest)
        };
        let untouched: Vec<HalfSent> = self.begun.uploads.iter().filter(kept).cloned().collect();
        let mut cut = [&self.begun.cut[..], &locked(&self.cut)].concat();
        cut.sort_unstable();
        cut.dedup();
        Begun {
            invocations: self.begun.invocations + 1,
            fruitless: if moved { 0 } else { self.begun.fruitless + 1 },
            uploads: [uploads.clone(), untouched].concat(),
            cut,
        }
    }

    /// The blob has arrived.
    pub(super) fn blob(&self, blob: &Blob, how: Arrived) {
        locked(&self.blobs).entry(blob.digest.clone()).or_insert((how, blob.size));
    }

    /// The manifest is at the destination: pushed, or there before.
    pub(super) fn manifest(&self, digest: &Digest, pushed: bool) {
        locked(&self.manifests).entry(digest.clone()).or_insert(pushed);
    }

    /// A manifest that is attached to the image is at the destination: pushed, or there before.
    pub(super) fn referrer(&self, digest: &Digest, pushed: bool) {
        locked(&self.referrers).entry(digest.clone()).or_insert(pushed);
    }

    /// Whether this very sync put something that is attached to the image.
    pub(super) fn has_pushed_referrers(&self) -> bool {
        locked(&self.referrers).values().any(|pushed| *pushed)
    }

    /// Whether anything is at the destination that is attached to the image.
    pub(super) fn has_referrers(&self) -> bool {
        !locked(&self.referrers).is_empty()
    }

    /// Whether it is at the destination, attached to the image.
    pub(super) fn has_referrer(&self, digest: &Digest) -> bool {
        locked(&self.referrers).contains_key(digest)
    }

    /// Why there is nothing to do, and which image must come first, if one must.
    pub(super) fn waits(&self, reason: String, awaits: Option<Digest>) {
        *locked(&self.reason) = Some(reason);
        *locked(&self.awaits) = awaits;
    }

    /// What was copied, if the source's tag was gone at the look after it.
    pub(super) fn source_is_gone(&self, copied: Option<&Digest>) {
        *locked(&self.gone) = copied.cloned();
    }

    /// Whether this very sync put the manifest.
    pub(super) fn has_pushed(&self, digest: &Digest) -> bool {
        locked(&self.manifests).get(digest) == Some(&true)
    }

    /// Where a body counts the bytes that it reads.
    pub(super) fn read_counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.read)
    }

    /// A stage of this name took so long.
    pub(super) fn took(&self, stage: &'static str, time: Duration) {
        *locked(&self.stages).entry(stage).or_default() += time;
    }

    /// How long each stage took, in milliseconds.
    pub(super) fn stages(&self) -> BTreeMap<&'static str, u64> {
        locked(&self.stages).iter().map(|(name, time)| (*name, stage::millis(*time))).collect()
    }

    pub(super) fn report(
        &self,
        request: &SyncRequest,
        result: Result<(Outcome, Option<Digest>), Error>,
        took: Duration,
        peak_buffer_bytes: u64,
    ) -> SyncReport {
        let blobs = |wanted: Arrived| -> (u64, u64) {
            let blobs = locked(&self.blobs);
            let of_them = blobs.values().filter(|(how, _)| *how == wanted);
            of_them.fold((0, 0), |(count, bytes), (_, size)| (count + 1, bytes.saturating_add(*size)))
        };
        let (sent, mounted, present) = (blobs(Arrived::Sent), blobs(Arrived::Mounted), blobs(Arrived::Present));
        let manifests = |manifests: &Mutex<HashMap<Digest, bool>>| {
            let manifests = locked(manifests);
            let pushed = manifests.values().filter(|pushed| **pushed).count();
            ManifestCounts { pushed: pushed as u64, present: (manifests.len() - pushed) as u64 }
        };
        let (source, destination) = (self.source.read(), self.destination.read());
        let source_digest = locked(&self.filtered_from).take().filter(|_| result.is_ok());
        let (outcome, digest, error) = match result {
            Ok((outcome, digest)) => (outcome, digest.map(|digest| digest.to_string()), None),
            Err(error) if error.error_type == ErrorType::ScanPending && error.class() == Class::Later => {
                (Outcome::Held, None, Some(error))
            }
            Err(error) => (Outcome::Failed, None, Some(error)),
        };
        // What is attached later comes by an event of its own, which brings the image along.
        let waits = |error: &Error| request.heard && error.error_type == ErrorType::ReferrerNotFound;
        let (outcome, reason, error) = match error {
            Some(error) if waits(&error) => (Outcome::Ignored, Some(error.message), None),
            None if outcome == Outcome::Ignored => (outcome, locked(&self.reason).clone(), None),
            error => (outcome, None, error),
        };
        SyncReport {
            outcome,
            source: request.source.to_string(),
            destination: request.destination.to_string(),
            digest,
            source_digest: source_digest.map(|digest| digest.to_string()),
            manifests: manifests(&self.manifests),
            blobs: BlobCounts { transferred: sent.0, mounted: mounted.0, present: present.0 },
            referrers: manifests(&self.referrers),
            bytes: ByteCounts {
                read: self.read.load(Ordering::Relaxed),
                written: sent.1,
                avoided: mounted.1.saturating_add(present.1),
            },
            requests: RequestCounts {
                source: source.requests,
                destination: destination.requests,
                aws_api: source.aws_calls + destination.aws_calls,
            },
            retries: source.retries + destination.retries,
            throttled: source.throttled + destination.throttled,
            duration_ms: stage::millis(took),
            stages: self.stages(),
            peak_buffer_bytes,
            reason,
            error_type: error.as_ref().map(|error| error.error_type.name()),
            error_message: error.as_ref().map(|error| error.message.clone()),
            error,
            awaits: locked(&self.awaits).clone(),
            source_is_gone: locked(&self.gone).clone(),
            left: None,
        }
    }
}

/// Held to look up or insert, which can't leave the map half made.
fn locked<T>(map: &Mutex<T>) -> MutexGuard<'_, T> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}
