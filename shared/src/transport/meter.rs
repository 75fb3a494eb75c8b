//! What one run did, counted where it happens.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

/// Counts of one side of one run. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU32,
    retries: AtomicU32,
    throttled: AtomicU32,
    aws_calls: AtomicU32,
}

/// A [`Meter`]'s counts at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MeterReading {
    /// HTTP requests to the registry and to where it redirected; token requests aside.
    pub requests: u32,
    /// Requests, uploads or calls that were tried again.
    pub retries: u32,
    /// Answers of 429, and throttled calls of AWS APIs.
    pub throttled: u32,
    /// Calls to AWS APIs.
    pub aws_calls: u32,
}

impl Meter {
    /// One request went out.
    pub fn request(&self) {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Something is tried again.
    pub fn retry(&self) {
        self.0.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// An answer asked to slow down.
    pub fn throttle(&self) {
        self.0.throttled.fetch_add(1, Ordering::Relaxed);
    }

    /// One call to an AWS API went out.
    pub fn aws_call(&self) {
        self.0.aws_calls.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts now.
    #[must_use]
    pub fn read(&self) -> MeterReading {
        MeterReading {
            requests: self.0.requests.load(Ordering::Relaxed),
            retries: self.0.retries.load(Ordering::Relaxed),
            throttled: self.0.throttled.load(Ordering::Relaxed),
            aws_calls: self.0.aws_calls.load(Ordering::Relaxed),
        }
    }
}

/// How far a streamed body has come, shared between the body and whoever watches it for a stall.
#[derive(Debug, Default)]
pub struct Progress {
    bytes: AtomicU64,
    ended: AtomicBool,
    starving: AtomicBool,
}

impl Progress {
    /// That many bytes more have passed.
    pub fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that have passed in all.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether the body itself waits for bytes: then it is not the receiver who stands still.
    pub fn starve(&self, starving: bool) {
        self.starving.store(starving, Ordering::Relaxed);
    }

    /// Whether the body itself waits for bytes.
    #[must_use]
    pub fn is_starving(&self) -> bool {
        self.starving.load(Ordering::Relaxed)
    }

    /// The last byte has passed: what is waited for now is the receiver's answer.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Whether the last byte has passed.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}
