//! How many bytes may be held in memory: of blobs on their way, of chunks, of manifests, in receive windows.
//!
//! A function that buffers what it is told to dies of one image with large layers. So bytes are reserved before they
//! are held, and the reservation lives in the bytes that it pays for: it is given back when the last of them is
//! dropped, wherever an HTTP client may have kept them. Who finds the budget full waits, in order.
//!
//! The budget has parts, so that no kind of holder can starve another: what h2 connections may take in before it is
//! read, the manifests of the images in work ([`super::ManifestRoom`]), and the copies of blobs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::task::AtomicWaker;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{ManifestRoom, WindowShare, receive_window::ReceiveWindows};

/// What one unit of the semaphore stands for. Semaphores count in `u32`; a budget is up to 10 GiB.
const UNIT: u64 = 4096;

/// What an adaptive h2 receive window grows to at most, for all streams of a connection together (hyper 1.12,
/// `BDP_LIMIT`).
pub const ADAPTIVE_WINDOW_BYTES: u64 = 16 * 1024 * 1024;

/// Receive windows at most. Chosen: a registry and where it leads to, twice.
const MOST_WINDOWS: u32 = 4;

/// What the manifests of nearly every image stay under; a five-platform index with attestations has 40 KiB.
const SMALL_IMAGE_BYTES: u64 = 256 * 1024;

/// What the manifests of one image may have at most, in the largest function.
const LARGE_IMAGE_BYTES: u64 = 32 * 1024 * 1024;

/// A number of bytes that is shared by all who hold bytes. Clones share it.
#[derive(Debug, Clone)]
pub struct ByteBudget(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    copies: Arc<Semaphore>,
    copies_total: u64,
    windows: ReceiveWindows,
    pub(super) small_images: Arc<Semaphore>,
    pub(super) small_image: u64,
    pub(super) large_image: u64,
    pub(super) large_images: Arc<Semaphore>,
    books: Arc<Books>,
}

/// What is held now, and what was most.
#[derive(Debug, Default)]
pub(super) struct Books {
    held: AtomicU64,
    peak: AtomicU64,
}

impl Books {
    pub(super) fn add(&self, bytes: u64) {
        let now = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(now, Ordering::Relaxed);
    }

    pub(super) fn take_away(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl ByteBudget {
    /// A budget of that many bytes.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let window = ADAPTIVE_WINDOW_BYTES.min(bytes / 2);
        let windows = u32::try_from(bytes / 4 / window.max(1)).unwrap_or(MOST_WINDOWS).clamp(1, MOST_WINDOWS);
        let windows = ReceiveWindows::new(window, windows);
        let large_image = LARGE_IMAGE_BYTES.min(bytes / 7);
        let small_image = SMALL_IMAGE_BYTES.min(bytes / 16);
        let images = (bytes / 16 / small_image.max(1)).clamp(1, 1024);
        let copies = bytes.saturating_sub(windows.bytes * windows.count + large_image + images * small_image);
        let units = (copies / UNIT).clamp(1, u64::from(u32::MAX >> 3));
        let permits = |count: u64| Arc::new(Semaphore::new(usize::try_from(count).unwrap_or(Semaphore::MAX_PERMITS)));
        Self(Arc::new(Parts {
            copies: permits(units),
            copies_total: units * UNIT,
            windows,
            small_images: permits(images),
            small_image,
            large_image,
            large_images: permits(1),
            books: Arc::default(),
        }))
    }

    /// Waits for `bytes` and takes them, for one copy. A lease never asks for more than there is in all: it gets all of
    /// it, so that a budget smaller than one copy's need slows copies down to one at a time and never stops them.
    pub async fn reserve(&self, bytes: u64) -> ByteLease {
        let bytes = bytes.clamp(1, self.0.copies_total);
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        // The semaphore is never closed; a failure to acquire can't be, and would mean no limit.
        let permit = Arc::clone(&self.0.copies).acquire_many_owned(units).await.ok();
        let (in_flight, room, parts) = (AtomicU64::new(0), AtomicWaker::new(), Arc::clone(&self.0));
        ByteLease(Arc::new(Lease { bytes, in_flight, room, parts, _permit: permit }))
    }

    /// Room for the manifests of one image: little, and more when it is needed.
    pub async fn manifests(&self) -> ManifestRoom {
        let parts = &self.0;
        let small = Arc::clone(&parts.small_images).acquire_owned().await.ok();
        let large = Arc::clone(&parts.large_images);
        ManifestRoom::new(small, large, parts.small_image, parts.large_image, Arc::clone(&parts.books))
    }

    /// What an h2 connection may take in before it is read, in bytes.
    #[must_use]
    pub fn receive_window(&self) -> u64 {
        self.0.windows.bytes
    }

    /// How many hosts blobs may be read from over h2 at once.
    #[must_use]
    pub fn receive_windows(&self) -> u64 {
        self.0.windows.count
    }

    /// Where connections count what they take in.
    #[must_use]
    pub fn receiving(&self) -> Receiving {
        Receiving(Arc::clone(&self.0.books))
    }

    /// What all copies together may hold, in bytes.
    #[must_use]
    pub fn for_copies(&self) -> u64 {
        self.0.copies_total
    }

    /// The most bytes that were held at once since this was asked last.
    #[must_use]
    pub fn take_peak(&self) -> u64 {
        let books = &self.0.books;
        books.peak.swap(books.held.load(Ordering::Relaxed), Ordering::Relaxed)
    }
}

/// Counts what connections have taken in and nobody has read. Clones share it.
#[derive(Debug, Clone)]
pub struct Receiving(Arc<Books>);

impl Receiving {
    /// That many bytes came in.
    pub fn came(&self, bytes: u64) {
        self.0.add(bytes);
    }

    /// That many of them were read, or are gone.
    pub fn went(&self, bytes: u64) {
        self.0.take_away(bytes);
    }
}

/// Bytes that a copy may hold. Clones share it; given back when the last one, and the last of its bytes, is dropped.
#[derive(Debug, Clone)]
pub struct ByteLease(Arc<Lease>);

#[derive(Debug)]
struct Lease {
    bytes: u64,
    in_flight: AtomicU64,
    room: AtomicWaker,
    parts: Arc<Parts>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl ByteLease {
    /// How many bytes it is.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.bytes
    }

    /// Counts `bytes` as held until the last clone or part of them is dropped.
    #[must_use]
    pub fn hold(&self, bytes: Bytes) -> Bytes {
        let size = bytes.len() as u64;
        self.0.in_flight.fetch_add(size, Ordering::AcqRel);
        self.0.parts.books.add(size);
        Bytes::from_owner(Held { bytes, lease: Arc::clone(&self.0) })
    }

    /// Bytes that are held now.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.0.in_flight.load(Ordering::Acquire)
    }

    /// Ready when less than `limit` bytes are held.
    pub fn poll_room(&self, limit: u64, context: &mut Context<'_>) -> Poll<()> {
        if self.in_flight() < limit {
            return Poll::Ready(());
        }
        self.0.room.register(context.waker());
        // What was dropped between the look and the registration woke nobody.
        if self.in_flight() < limit { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Waits until a read may be opened at `host` (`SCHEME://HOST:PORT`), whose connection takes in a whole window.
    pub async fn window(&self, host: &str) -> WindowShare {
        self.0.parts.windows.share(host).await
    }
}

/// Bytes under a lease.
struct Held {
    bytes: Bytes,
    lease: Arc<Lease>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let size = self.bytes.len() as u64;
        self.lease.parts.books.take_away(size);
        self.lease.in_flight.fetch_sub(size, Ordering::AcqRel);
        self.lease.room.wake();
    }
}

#[cfg(test)]
#[path = "byte_budget_tests.rs"]
mod tests;
