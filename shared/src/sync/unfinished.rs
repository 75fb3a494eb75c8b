//! What this process has begun and not finished: another try of it takes nothing for granted.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{oci::Reference, request::SyncRequest};

/// Destinations that are kept in mind. Chosen: more than one process fails in a row, and some hundred bytes each.
const MOST: usize = 1000;

/// Destinations of syncs that did not come to a good end.
#[derive(Debug, Default)]
pub(super) struct Unfinished(Mutex<HashSet<Reference>>);

impl Unfinished {
    /// Notes that a sync begins, whatever becomes of it; the request, which knows of an earlier one that failed.
    pub(super) fn begins(&self, request: &SyncRequest) -> SyncRequest {
        let mut all = self.all();
        if all.len() >= MOST {
            all.clear();
        }
        let failed = !all.insert(request.destination.clone());
        SyncRequest { tried: request.tried || failed, ..request.clone() }
    }

    /// Notes that all of it was done.
    pub(super) fn ends(&self, request: &SyncRequest) {
        self.all().remove(&request.destination);
    }

    fn all(&self) -> MutexGuard<'_, HashSet<Reference>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
