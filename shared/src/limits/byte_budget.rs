//! How many bytes all copies together may hold in memory.
//!
//! A function that buffers what it is told to dies of one image with large layers. So bytes are reserved before they
//! are held, given back by dropping the lease, and a copy that finds the budget full waits its turn, in order.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What one unit of the semaphore stands for. Semaphores count in `u32`; a budget is up to 10 GiB.
const UNIT: u64 = 4096;

/// A number of bytes that is shared by all who hold bytes.
#[derive(Debug)]
pub struct ByteBudget {
    units: Arc<Semaphore>,
    total: u64,
    held: Arc<AtomicU64>,
    peak: Arc<AtomicU64>,
}

impl ByteBudget {
    /// A budget of that many bytes.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let units = (bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS as u64);
        let permits = usize::try_from(units).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            units: Arc::new(Semaphore::new(permits)),
            total: units * UNIT,
            held: Arc::default(),
            peak: Arc::default(),
        }
    }

    /// Waits for `bytes` and takes them. One lease never asks for more than there is in all: it gets all of it, so
    /// that a budget smaller than one copy's need slows copies down to one at a time and never stops them.
    pub async fn reserve(&self, bytes: u64) -> ByteLease {
        let bytes = bytes.min(self.total);
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        // The semaphore lives in `self` and is never closed; a failure to acquire can't be, and would mean no limit.
        let permit = Arc::clone(&self.units).acquire_many_owned(units).await.ok();
        let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(held, Ordering::Relaxed);
        ByteLease { bytes, held: Arc::clone(&self.held), _permit: permit }
    }

    /// The most bytes that were held at once since this was asked last.
    pub fn take_peak(&self) -> u64 {
        self.peak.swap(self.held.load(Ordering::Relaxed), Ordering::Relaxed)
    }
}

/// Bytes that its holder may hold; given back when dropped.
#[derive(Debug)]
pub struct ByteLease {
    bytes: u64,
    held: Arc<AtomicU64>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Drop for ByteLease {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_full_budget_makes_the_next_wait_until_a_lease_is_dropped() {
        let budget = ByteBudget::new(2 * 1024 * 1024);
        let first = budget.reserve(1024 * 1024).await;
        let _second = budget.reserve(1024 * 1024).await;
        let third = tokio::time::timeout(Duration::from_secs(1), budget.reserve(1024 * 1024)).await;
        assert!(third.is_err(), "three were admitted where two fit");
        drop(first);
        let _third = budget.reserve(1024 * 1024).await;
        assert_eq!(budget.take_peak(), 2 * 1024 * 1024);
    }

    #[tokio::test]
    async fn who_asks_for_more_than_there_is_gets_all_of_it() {
        let budget = ByteBudget::new(8192);
        drop(budget.reserve(u64::MAX).await);
        assert_eq!((budget.take_peak(), budget.take_peak()), (8192, 0));
    }
}
