//! Images that their destinations have, and that are enqueued all the same: their syncs compare what is attached to them.
//!
//! No list tells whether something is lacking. What is attached may belong to a child of an index, and only the index names
//! its children; tags tell of cosign's artifacts alone; and ECR's `DescribeImages`, which tells the subject of each
//! artifact, would have to be held whole for a repository, as subjects and artifacts stand on any page.

use std::collections::HashSet;

use super::Walk;
use crate::{backfill::group::Key, request::SyncRequest};

impl Walk<'_> {
    /// Whether an image that is there is to be looked at for what is attached to it.
    pub(super) fn revisits(&self, request: &SyncRequest) -> bool {
        self.order.attached && request.options.referrers.wanted()
    }

    /// Takes one request of each image and place: what is attached belongs to the image, and not to a tag of it. Another tag
    /// that goes there anyway shares its message, and is no reason to leave it out: that one may fail.
    pub(super) fn revisit(&mut self, unchanged: Vec<SyncRequest>) {
        let mut known: HashSet<Key<'_>> =
            self.found.iter().filter(|request| request.tried).filter_map(Key::of).collect();
        let taken: Vec<bool> =
            unchanged.iter().map(|request| Key::of(request).is_some_and(|key| known.insert(key))).collect();
        for (request, _) in unchanged.into_iter().zip(taken).filter(|(_, taken)| *taken) {
            self.cursor.counts.revisited += 1;
            // It was asked for: children are looked at, too, where that counts as a pull.
            self.found.push(SyncRequest { tried: true, ..request });
        }
    }
}
