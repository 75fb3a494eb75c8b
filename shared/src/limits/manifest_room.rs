//! The part of the byte budget that the manifests of images have, which are held from their reading to their put.
//!
//! They are held while their sync asks for copies, so they must never be what copies wait for: they have a part of
//! their own. Nor may two images each hold half of it and wait for ever: every image begins with a small share, and one
//! at a time may have the large one besides.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use super::byte_budget::Books;

/// The manifests of one image. Clones share it.
#[derive(Debug, Clone)]
pub struct ManifestRoom(Arc<Room>);

#[derive(Debug)]
struct Room {
    small: u64,
    large: u64,
    used: AtomicU64,
    larges: Arc<Semaphore>,
    /// The large share, once this image needs it.
    grown: Mutex<Option<OwnedSemaphorePermit>>,
    books: Arc<Books>,
    _small: Option<OwnedSemaphorePermit>,
}

/// The manifests of an image are more than may be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its manifests are over {limit} bytes together, which is what this function's memory allows")]
pub struct TooManyManifests {
    /// The most bytes that the manifests of one image may have.
    pub limit: u64,
}

impl Room {
    /// Counts `bytes` more as used, unless that would be over `limit`.
    fn take(&self, bytes: u64, limit: u64) -> bool {
        let within = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= limit);
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, within).is_ok()
    }
}

impl ManifestRoom {
    pub(super) fn new(
        small_permit: Option<OwnedSemaphorePermit>,
        larges: Arc<Semaphore>,
        small: u64,
        large: u64,
        books: Arc<Books>,
    ) -> Self {
        let (used, grown) = (AtomicU64::new(0), Mutex::default());
        Self(Arc::new(Room { small, large, used, larges, grown, books, _small: small_permit }))
    }

    /// The most bytes that the manifests of this image may have together.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.0.small + self.0.large
    }

    /// Waits until `bytes` more may be held.
    ///
    /// # Errors
    /// [`TooManyManifests`]: that never can be.
    pub async fn claim(&self, bytes: u64) -> Result<Claim, TooManyManifests> {
        let mut claim = Claim { bytes: 0, room: Arc::clone(&self.0) };
        claim.grow(bytes).await?;
        Ok(claim)
    }
}

/// Bytes of manifests that may be held; given back when dropped.
#[derive(Debug)]
pub struct Claim {
    bytes: u64,
    room: Arc<Room>,
}

impl Claim {
    /// Waits until it is `bytes` at least.
    ///
    /// # Errors
    /// [`TooManyManifests`]: that never can be.
    pub async fn grow(&mut self, bytes: u64) -> Result<(), TooManyManifests> {
        let Some(more) = bytes.checked_sub(self.bytes).filter(|more| *more > 0) else { return Ok(()) };
        if !self.room.take(more, self.room.small) {
            let limit = self.room.small + self.room.large;
            let mut grown = self.room.grown.lock().await;
            if more > limit - self.room.used.load(Ordering::Acquire).min(limit) {
                return Err(TooManyManifests { limit });
            }
            if grown.is_none() {
                *grown = Arc::clone(&self.room.larges).acquire_owned().await.ok();
            }
            if !self.room.take(more, limit) {
                return Err(TooManyManifests { limit });
            }
        }
        self.bytes = bytes;
        self.room.books.add(more);
        Ok(())
    }

    /// Makes it `bytes` at least, if that takes no waiting; `false`: it would. Who holds a stream may not wait here.
    ///
    /// # Errors
    /// [`TooManyManifests`]: that never can be.
    pub fn grow_now(&mut self, bytes: u64) -> Result<bool, TooManyManifests> {
        let Some(more) = bytes.checked_sub(self.bytes).filter(|more| *more > 0) else { return Ok(true) };
        let (room, limit) = (&self.room, self.room.small + self.room.large);
        if room.used.load(Ordering::Acquire).saturating_add(more) > limit {
            return Err(TooManyManifests { limit });
        }
        if !room.take(more, room.small) {
            let Ok(mut grown) = room.grown.try_lock() else { return Ok(false) };
            if grown.is_none() {
                let Ok(permit) = Arc::clone(&room.larges).try_acquire_owned() else { return Ok(false) };
                *grown = Some(permit);
            }
            if !room.take(more, limit) {
                return Err(TooManyManifests { limit });
            }
        }
        self.bytes = bytes;
        self.room.books.add(more);
        Ok(true)
    }

    /// Binds the claim to the manifest's bytes, and gives back what it has over them.
    #[must_use]
    pub fn hold(mut self, bytes: Bytes) -> Bytes {
        self.give_back(self.bytes.saturating_sub(bytes.len() as u64));
        Bytes::from_owner(Held { bytes, _claim: self })
    }

    fn give_back(&mut self, bytes: u64) {
        self.bytes -= bytes;
        self.room.used.fetch_sub(bytes, Ordering::AcqRel);
        self.room.books.take_away(bytes);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

struct Held {
    bytes: Bytes,
    _claim: Claim,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
