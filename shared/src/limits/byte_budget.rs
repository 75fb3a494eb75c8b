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

use super::ManifestRoom;

/// What one unit of the semaphore stands for. Semaphores count in `u32`; a budget is up to 10 GiB.
const UNIT: u64 = 4096;

/// What an adaptive h2 receive window grows to at most, for all streams of a connection together (hyper 1.12,
/// `BDP_LIMIT`).
pub const ADAPTIVE_WINDOW_BYTES: u64 = 16 * 1024 * 1024;

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
    receive_window: u64,
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
    /// Bytes that open reads over h2 have still to take in; at most a window of them is held.
    receiving: AtomicU64,
    window: u64,
    peak: AtomicU64,
}

impl Books {
    pub(super) fn add(&self, bytes: u64) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
        self.note();
    }

    pub(super) fn take_away(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        self.held.load(Ordering::Relaxed) + self.receiving.load(Ordering::Relaxed).min(self.window)
    }

    fn note(&self) {
        self.peak.fetch_max(self.now(), Ordering::Relaxed);
    }
}

impl ByteBudget {
    /// A budget of that many bytes.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let receive_window = ADAPTIVE_WINDOW_BYTES.min(bytes / 2);
        let large_image = LARGE_IMAGE_BYTES.min(bytes / 7);
        let small_image = SMALL_IMAGE_BYTES.min(bytes / 16);
        let images = (bytes / 16 / small_image.max(1)).clamp(1, 1024);
        let copies = bytes.saturating_sub(receive_window + large_image + images * small_image);
        let units = (copies / UNIT).clamp(1, u64::from(u32::MAX >> 3));
        let permits = |count: u64| Arc::new(Semaphore::new(usize::try_from(count).unwrap_or(Semaphore::MAX_PERMITS)));
        Self(Arc::new(Parts {
            copies: permits(units),
            copies_total: units * UNIT,
            receive_window,
            small_images: permits(images),
            small_image,
            large_image,
            large_images: permits(1),
            books: Arc::new(Books { window: receive_window, ..Books::default() }),
        }))
    }

    /// Waits for `bytes` and takes them, for one copy. A lease never asks for more than there is in all: it gets all of
    /// it, so that a budget smaller than one copy's need slows copies down to one at a time and never stops them.
    pub async fn reserve(&self, bytes: u64) -> ByteLease {
        let bytes = bytes.clamp(1, self.0.copies_total);
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        // The semaphore is never closed; a failure to acquire can't be, and would mean no limit.
        let permit = Arc::clone(&self.0.copies).acquire_many_owned(units).await.ok();
        let books = Arc::clone(&self.0.books);
        ByteLease(Arc::new(Lease {
            bytes,
            in_flight: AtomicU64::new(0),
            room: AtomicWaker::new(),
            books,
            _permit: permit,
        }))
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
        self.0.receive_window
    }

    /// What all copies together may hold, in bytes.
    #[must_use]
    pub fn for_copies(&self) -> u64 {
        self.0.copies_total
    }

    /// The most bytes that were held at once since this was asked last.
    #[must_use]
    pub fn take_peak(&self) -> u64 {
        self.0.books.peak.swap(self.0.books.now(), Ordering::Relaxed)
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
    books: Arc<Books>,
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
        self.0.books.add(size);
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

    /// Counts an open read as holding what its connection may have taken in unread of the `bytes` that are to come: over
    /// h2 its part of the receive window; over HTTP/1.1 `buffer` at most, which this lease covers.
    #[must_use]
    pub fn reading(&self, bytes: u64, buffer: Option<u64>) -> Reading {
        let mut reading = Reading { left: bytes, counted: 0, buffer, books: Arc::clone(&self.0.books) };
        reading.count();
        reading
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
        self.lease.books.take_away(size);
        self.lease.in_flight.fetch_sub(size, Ordering::AcqRel);
        self.lease.room.wake();
    }
}

/// A read whose connection may hold bytes of it.
#[derive(Debug)]
pub struct Reading {
    left: u64,
    counted: u64,
    /// What is read ahead at most; none: as much as the connection's window.
    buffer: Option<u64>,
    books: Arc<Books>,
}

impl Reading {
    /// That many bytes have come out of the connection.
    pub fn took(&mut self, bytes: u64) {
        self.left = self.left.saturating_sub(bytes);
        self.count();
    }

    fn count(&mut self) {
        let now = self.buffer.map_or(self.left, |buffer| self.left.min(buffer));
        let account = if self.buffer.is_some() { &self.books.held } else { &self.books.receiving };
        if now >= self.counted {
            account.fetch_add(now - self.counted, Ordering::Relaxed);
            self.books.note();
        } else {
            account.fetch_sub(self.counted - now, Ordering::Relaxed);
        }
        self.counted = now;
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.took(u64::MAX);
    }
}

#[cfg(test)]
#[path = "byte_budget_tests.rs"]
mod tests;
