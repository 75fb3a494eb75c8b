//! How many streams may be open towards one registry.
//!
//! Large registries advertise 100 to 128 concurrent streams per h2 connection. Past that, new streams park without
//! an error, and a copy that holds a running download and a parked upload waits for ever. So fewer are opened.
//!
//! A permit is kept in the body that the stream carries, until the body ends or is dropped.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The cap of one registry.
#[derive(Debug)]
pub struct StreamCap {
    total: u32,
    free: Arc<Semaphore>,
}

/// Leave to have one stream, or a copy's two streams, open; given back when dropped.
#[derive(Debug)]
pub struct StreamPermit(#[expect(dead_code, reason = "held for its drop")] Vec<OwnedSemaphorePermit>);

/// A copy within one registry has two streams there, and the cap allows one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a copy within one registry needs two streams, and its `streams` allow one")]
pub struct CapTooSmall;

impl StreamCap {
    /// A cap of that many streams, at least one.
    #[must_use]
    pub fn new(streams: u32) -> Self {
        let total = streams.clamp(1, u32::MAX >> 3);
        Self { total, free: Arc::new(Semaphore::new(total as usize)) }
    }

    /// How many streams it allows.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.total
    }

    /// Waits for one stream.
    pub async fn one(&self) -> StreamPermit {
        StreamPermit(self.take(1).await.into_iter().collect())
    }

    /// Waits for a copy's source and destination stream together.
    ///
    /// Both come in one step, and who waits for one holds no other: two copies could otherwise each hold what the
    /// other waits for, and a stream that nobody uses would be missing to others.
    ///
    /// # Errors
    /// [`CapTooSmall`].
    pub async fn pair(source: &Self, destination: &Self) -> Result<StreamPermit, CapTooSmall> {
        if Arc::ptr_eq(&source.free, &destination.free) {
            if source.total < 2 {
                return Err(CapTooSmall);
            }
            return Ok(StreamPermit(source.take(2).await.into_iter().collect()));
        }
        let (mut waited_for, mut other) = (source, destination);
        loop {
            let first = waited_for.take(1).await;
            if let Ok(second) = Arc::clone(&other.free).try_acquire_owned() {
                return Ok(StreamPermit(first.into_iter().chain([second]).collect()));
            }
            // The next wait is for the one that was missing.
            drop(first);
            std::mem::swap(&mut waited_for, &mut other);
        }
    }

    /// The semaphore lives as long as the cap and is never closed, so there is always a permit.
    async fn take(&self, streams: u32) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).acquire_many_owned(streams).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn copies_within_one_registry_take_both_streams_or_none() {
        let cap = StreamCap::new(3);
        let first = StreamCap::pair(&cap, &cap).await.unwrap();
        assert_eq!(cap.free.available_permits(), 1);
        let second = tokio::time::timeout(Duration::from_secs(1), StreamCap::pair(&cap, &cap)).await;
        assert!(second.is_err());
        drop(first);
        let _second = StreamCap::pair(&cap, &cap).await.unwrap();
        let small = StreamCap::new(1);
        assert_eq!(StreamCap::pair(&small, &small).await.err(), Some(CapTooSmall));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_one_stream_holds_no_other() {
        let (here, there) = (StreamCap::new(1), StreamCap::new(1));
        let taken = there.one().await;
        let copy = async { StreamCap::pair(&here, &there).await.unwrap() };
        let others = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let free = tokio::time::timeout(Duration::from_secs(1), here.one()).await;
            drop((free.expect("nobody uses the stream here"), taken));
        };
        let (_copy, ()) = tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(copy, others) })
            .await
            .expect("both came free");
    }

    #[tokio::test(start_paused = true)]
    async fn copies_in_both_directions_never_wait_for_each_other() {
        let (here, there) = (StreamCap::new(1), StreamCap::new(1));
        let work = async |source: &StreamCap, destination: &StreamCap| {
            for _ in 0..100 {
                let permit = StreamCap::pair(source, destination).await.unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
                drop(permit);
            }
        };
        let both = async { tokio::join!(work(&here, &there), work(&there, &here)) };
        tokio::time::timeout(Duration::from_secs(60), both).await.expect("no circle of waiting");
    }
}
