//! What was sent lately: a registry that validates a blob before it shows it must not be sent it again meanwhile.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::oci::Digest;

/// How long it is remembered. Chosen: far over any validation lag, and the longest invocation.
const LIFE: Duration = Duration::from_secs(15 * 60);

/// Blobs that are remembered; about 200 bytes each. Chosen: many images' worth.
const MOST: usize = 4096;

/// The blobs that this process has sent to one registry lately, by repository.
#[derive(Debug, Default)]
pub struct SentLately(Mutex<HashMap<(String, Digest), Instant>>);

impl SentLately {
    pub(super) fn note(&self, repository: &str, digest: &Digest) {
        // Held for operations of the map, which don't panic; a poisoned one is whole.
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sent.len() >= MOST {
            sent.retain(|_, at| at.elapsed() < LIFE);
        }
        // Forgetting costs bytes, never correctness.
        if sent.len() >= MOST {
            sent.clear();
        }
        sent.insert((repository.to_owned(), digest.clone()), Instant::now());
    }

    pub(super) fn knows(&self, repository: &str, digest: &Digest) -> bool {
        let sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sent.get(&(repository.to_owned(), digest.clone())).is_some_and(|at| at.elapsed() < LIFE)
    }
}
