//! No manifest before its blobs: who wants to put one needs a [`CommitPermit`], and only the gate makes them.
//!
//! ECR answers a blob's `PUT` with 201 before the blob is good for a manifest, and its blob `HEAD` says yes too
//! early as well; under load the lag is hundreds of milliseconds (`docs/registries/ecr.md`). So at ECR the gate
//! asks `BatchCheckLayerAvailability` until it says `AVAILABLE`. Elsewhere the registry's own 201 is the word.

use std::{collections::HashSet, sync::Arc, sync::Mutex, time::Duration};

use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::{
    deadline::Deadline,
    error::{Error, ErrorType},
    oci::{Digest, Manifest},
};

/// Between the first two questions; doubled up to [`LAST_POLL`]. ECR's lag is mostly below it.
const FIRST_POLL: Duration = Duration::from_millis(200);

/// Between later questions.
const LAST_POLL: Duration = Duration::from_secs(5);

/// What the answer to the last question may take when the wait is over.
const LAST_ANSWER: Duration = Duration::from_millis(500);

/// How often a manifest is put again at a registry that can't be asked for its blobs' state. Chosen: a second and a half
/// in all, before the blobs are looked for one by one.
const BLIND_PUTS: u32 = 3;

/// Whether a registry's blobs are good for a manifest.
pub trait LayerAvailability: Send + Sync {
    /// Those of `digests` that the registry calls available in its repository.
    fn available<'a>(&'a self, digests: &'a [Digest]) -> BoxFuture<'a, Result<HashSet<Digest>, Error>>;
}

/// Leave to put one manifest. Can't be made outside the gate, can't be copied, is used up by the put.
#[derive(Debug)]
pub struct CommitPermit<'m> {
    manifest: &'m Manifest,
}

impl<'m> CommitPermit<'m> {
    /// The manifest that may be put.
    #[must_use]
    pub fn manifest(&self) -> &'m Manifest {
        self.manifest
    }
}

/// The gate of one image at one destination.
pub struct CommitGate {
    availability: Option<Arc<dyn LayerAvailability>>,
    wait: Duration,
    /// Blobs that are known to be good for a manifest.
    good: Mutex<HashSet<Digest>>,
}

impl CommitGate {
    /// A gate that asks `availability`, where there is one, for up to `wait`.
    #[must_use]
    pub fn new(availability: Option<Arc<dyn LayerAvailability>>, wait: Duration) -> Self {
        Self { availability, wait, good: Mutex::default() }
    }

    /// Whether blobs that were just sent must be asked for before a manifest may name them.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.availability.is_some()
    }

    /// Notes a blob that the destination called available, or, where nothing else can be asked, took with a 201.
    pub fn note_good(&self, digest: Digest) {
        self.good().insert(digest);
    }

    /// Whether the registry calls a blob good for a manifest now; `false` where it can't be asked.
    ///
    /// # Errors
    /// `DeadlineExceeded`, or what the registry's API says.
    pub async fn available(&self, digest: &Digest, deadline: &Deadline) -> Result<bool, Error> {
        let Some(availability) = &self.availability else { return Ok(false) };
        let asked = [digest.clone()];
        let available = deadline.bound(availability.available(&asked)).await.map_err(|_| {
            let text = format!("asking whether blob {digest} is there: the invocation's time ran out");
            Error::new(ErrorType::DeadlineExceeded, text)
        })??;
        Ok(available.contains(digest))
    }

    /// Waits until `pending` are all good for a manifest. Asked once for a whole image, so that one question
    /// serves all of its manifests.
    ///
    /// # Errors
    /// `BlobUnavailable` when the wait is over, `DeadlineExceeded`, or what the registry's API says.
    pub async fn open(&self, pending: &[Digest], deadline: &Deadline) -> Result<(), Error> {
        let Some(availability) = &self.availability else { return Ok(()) };
        let begun = Instant::now();
        let (mut pause, mut asked) = (FIRST_POLL, false);
        loop {
            let missing: Vec<Digest> = {
                let good = self.good();
                pending.iter().filter(|digest| !good.contains(*digest)).cloned().collect()
            };
            if missing.is_empty() {
                return Ok(());
            }
            // The first question is asked in any case; a later one may not outlast the wait by much.
            let patience = match asked {
                false => Duration::MAX,
                true => self.wait.saturating_sub(begun.elapsed()) + LAST_ANSWER,
            };
            asked = true;
            let question = tokio::time::timeout(patience, availability.available(&missing));
            let available = deadline
                .bound(question)
                .await
                .map_err(|_| Error::new(ErrorType::DeadlineExceeded, self.waiting_text(&missing, begun.elapsed())))?
                .map_err(|_| Error::new(ErrorType::BlobUnavailable, self.waiting_text(&missing, begun.elapsed())))??;
            self.good().extend(available.iter().cloned());
            if missing.iter().all(|digest| available.contains(digest)) {
                return Ok(());
            }
            let left = self.wait.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Err(Error::new(ErrorType::BlobUnavailable, self.waiting_text(&missing, begun.elapsed())));
            }
            deadline
                .sleep(pause.min(left))
                .await
                .map_err(|_| Error::new(ErrorType::DeadlineExceeded, self.waiting_text(&missing, begun.elapsed())))?;
            pause = (pause * 2).min(LAST_POLL);
        }
    }

    /// Asks anew for the blobs of `manifest`, of which the registry said that it lacks some although they had been called
    /// good.
    ///
    /// # Errors
    /// `BlobUnavailable`: one is gone, and is to be sent again. What was called available and no more is, is not in
    /// validation.
    pub async fn recheck(&self, manifest: &Manifest, deadline: &Deadline) -> Result<(), Error> {
        let gone = |which: &str| {
            let text = format!("manifest {}: its registry called {which} available, and does no more", manifest.digest);
            Error::new(ErrorType::BlobUnavailable, text)
        };
        let named: Vec<Digest> =
            manifest.blobs.iter().filter(|blob| !blob.foreign).map(|blob| blob.digest.clone()).collect();
        if named.is_empty() {
            return Err(gone("all that it lists"));
        }
        // Elsewhere a 201 was the word, and a moment's patience is all that can be done here.
        let Some(availability) = &self.availability else { return Ok(()) };
        let available = deadline
            .bound(availability.available(&named))
            .await
            .map_err(|_| Error::new(ErrorType::DeadlineExceeded, self.waiting_text(&named, Duration::ZERO)))??;
        match named.iter().find(|digest| !available.contains(*digest)) {
            Some(missing) => {
                self.good().remove(missing);
                Err(gone(missing.as_str()))
            }
            None => Ok(()),
        }
    }

    /// How long to wait, after `waited` in all, before a manifest is put again whose blobs are called good: as long as
    /// between two questions, while the wait lasts; where there are no questions, a few times.
    #[must_use]
    pub fn patience(&self, attempt: u32, waited: Duration) -> Option<Duration> {
        let pause = FIRST_POLL.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(LAST_POLL);
        let longer = if self.asks() { waited + pause <= self.wait } else { attempt <= BLIND_PUTS };
        longer.then_some(pause)
    }

    /// Leave to put `manifest`, whose blobs must all have been noted good.
    ///
    /// # Errors
    /// `BlobUnavailable`: a blob was not, so the put would make a broken image.
    pub fn permit<'m>(&self, manifest: &'m Manifest) -> Result<CommitPermit<'m>, Error> {
        let good = self.good();
        match manifest.blobs.iter().find(|blob| !blob.foreign && !good.contains(&blob.digest)) {
            None => Ok(CommitPermit { manifest }),
            Some(blob) => Err(Error::new(
                ErrorType::BlobUnavailable,
                format!(
                    "manifest {} is held back: its blob {} is not at the destination",
                    manifest.digest, blob.digest
                ),
            )),
        }
    }

    fn waiting_text(&self, missing: &[Digest], waited: Duration) -> String {
        let first = missing.first().map(ToString::to_string).unwrap_or_default();
        format!(
            "after {} ms the destination still does not call {} blob(s) available, {first} among them; they were sent, \
             and another try will find them (limits.manifest_commit_wait_ms is {})",
            waited.as_millis(),
            missing.len(),
            self.wait.as_millis()
        )
    }

    /// The lock is held for set operations only, which don't panic; a poisoned one still holds a good set.
    fn good(&self) -> std::sync::MutexGuard<'_, HashSet<Digest>> {
        self.good.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "commit_gate_tests.rs"]
mod tests;
