//! What is done with each blob, and why. A pure function of the image and of what the destination has.

use std::collections::HashSet;

use tokio::time::Instant;

use super::{inventory::Held, resolve::ManifestTree};
use crate::{
    oci::{Blob, Digest},
    request::SyncRequest,
};

/// What is done with one blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Send it.
    Copy,
    /// Ask the destination to take it from this repository of its own; send it if that is not granted.
    Mount(String),
    /// The destination has it.
    Present,
    /// The destination has taken it and is still validating it: the gate waits for it.
    Validating,
    /// A foreign layer: it is where its `urls` say, not in registries.
    Foreign,
}

/// What is done with each blob of an image, each once, the largest first.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) blobs: Vec<(Blob, Action)>,
    /// When the destination was asked what it has, where others may send more meanwhile.
    pub(super) asked: Option<Instant>,
}

impl Plan {
    /// Plans for `tree` at a destination that has `held`; `mount_from` is a repository of the same registry.
    ///
    /// The largest blobs go first: begun last, one alone would be the tail that everything waits for.
    pub(super) fn of(tree: &ManifestTree, held: &Held, mount_from: Option<&str>) -> Self {
        let mut seen = HashSet::new();
        // A blob that one manifest calls foreign and another does not is needed; so the ordinary mention is taken.
        let mentions = || tree.manifests.iter().flat_map(|manifest| &manifest.blobs);
        let ordinary_first = mentions().filter(|blob| !blob.foreign).chain(mentions().filter(|blob| blob.foreign));
        let mut blobs: Vec<(Blob, Action)> = ordinary_first
            .filter(|blob| seen.insert(&blob.digest))
            .map(|blob| {
                let action = match mount_from {
                    _ if blob.foreign => Action::Foreign,
                    _ if held.good.contains(&blob.digest) => Action::Present,
                    _ if held.validating.contains(&blob.digest) => Action::Validating,
                    Some(from) => Action::Mount(from.to_owned()),
                    None => Action::Copy,
                };
                (blob.clone(), action)
            })
            .collect();
        blobs.sort_by_key(|(blob, _)| std::cmp::Reverse(blob.size));
        Self { blobs, asked: held.asked }
    }

    /// The blobs that a manifest will name and that are not known to be good for it yet.
    pub(super) fn to_be_good(&self) -> Vec<Digest> {
        let moved = self
            .blobs
            .iter()
            .filter(|(_, action)| matches!(action, Action::Copy | Action::Mount(_) | Action::Validating));
        moved.map(|(blob, _)| blob.digest.clone()).collect()
    }

    /// Says what will be done, before anything moves.
    pub(super) fn log(&self, request: &SyncRequest) {
        let count = |wanted: fn(&Action) -> bool| self.blobs.iter().filter(|(_, action)| wanted(action)).count();
        let bytes: u64 = self
            .blobs
            .iter()
            .filter(|(_, action)| matches!(action, Action::Copy | Action::Mount(_)))
            .map(|(blob, _)| blob.size)
            .fold(0, u64::saturating_add);
        tracing::info!(
            source = %request.source,
            destination = %request.destination,
            plan.copy = count(|action| *action == Action::Copy),
            plan.mount = count(|action| matches!(action, Action::Mount(_))),
            plan.present = count(|action| *action == Action::Present),
            plan.validating = count(|action| *action == Action::Validating),
            plan.foreign = count(|action| *action == Action::Foreign),
            plan.bytes = bytes,
            "planned"
        );
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
