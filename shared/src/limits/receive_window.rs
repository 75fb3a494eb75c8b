//! Whose connection may take in a whole receive window of blobs.
//!
//! An h2 connection takes in as much as its window before it is read, and a registry may lead from host to host. So the
//! hosts that blobs are read from at one moment are as many as there are windows in the budget; one more waits until
//! another has no read open. Which host that is does not matter: who reads waits for none of these.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

/// The windows of a budget.
#[derive(Debug)]
pub(super) struct ReceiveWindows {
    /// Of one, in bytes.
    pub(super) bytes: u64,
    pub(super) count: u64,
    free: Arc<Semaphore>,
    hosts: Mutex<HashMap<String, Weak<OnceCell<Option<OwnedSemaphorePermit>>>>>,
}

/// Leave to read blobs from one host, shared by all who read there; given back when the last one is dropped.
#[derive(Debug, Clone)]
pub struct WindowShare(#[expect(dead_code, reason = "held for its drop")] Arc<OnceCell<Option<OwnedSemaphorePermit>>>);

impl ReceiveWindows {
    pub(super) fn new(bytes: u64, count: u32) -> Self {
        let free = Arc::new(Semaphore::new(count as usize));
        Self { bytes, count: count.into(), free, hosts: Mutex::default() }
    }

    /// Waits until a read may be opened at `host`.
    pub(super) async fn share(&self, host: &str) -> WindowShare {
        let window = {
            // Held for a look-up; a poisoned map still holds whole entries.
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            hosts.retain(|_, window| window.strong_count() > 0);
            hosts.get(host).and_then(Weak::upgrade).unwrap_or_else(|| {
                let window = Arc::default();
                hosts.insert(host.to_owned(), Arc::downgrade(&window));
                window
            })
        };
        // The semaphore is never closed; a failure to acquire can't be, and would mean no limit.
        window.get_or_init(|| async { Arc::clone(&self.free).acquire_owned().await.ok() }).await;
        WindowShare(window)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn waits<T>(future: impl Future<Output = T>) -> bool {
        tokio::time::timeout(Duration::from_secs(1), future).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn one_more_host_waits_until_another_has_no_read_open() {
        let windows = ReceiveWindows::new(1024, 2);
        let (a, also_a, b) = (windows.share("a").await, windows.share("a").await, windows.share("b").await);
        assert!(waits(windows.share("c")).await, "three hosts share two windows");
        drop(a);
        assert!(waits(windows.share("c")).await, "another read at the same host is open");
        let waiting = async { tokio::join!(windows.share("c"), windows.share("c")) };
        let (_c, ()) = tokio::join!(waiting, async { drop(also_a) });
        assert!(waits(windows.share("a")).await);
        drop(b);
        let _a = windows.share("a").await;
        assert_eq!(windows.free.available_permits(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_leaves_the_place_to_the_next() {
        let windows = ReceiveWindows::new(1024, 1);
        let first = windows.share("a").await;
        assert!(waits(windows.share("b")).await);
        drop(first);
        let _b = windows.share("b").await;
        assert_eq!(windows.hosts.lock().unwrap().len(), 1, "who is gone is forgotten");
    }
}
