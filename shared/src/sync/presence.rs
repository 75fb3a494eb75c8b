//! What a repository has under tags and digests, and what is known of that already.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use super::Destination;
use crate::{
    error::{Error, ErrorType},
    limits::ManifestRoom,
    oci::Digest,
    registry::Repository,
};

/// Manifests of over this many bytes are not asked for together with others: an answer holds those that are there, a hundred
/// of them at most, two at a time. Chosen: an image of eighty layers has less, and so many fit into the smallest function.
const MOST_BYTES: u64 = 16 * 1024;

/// How long is waited to be told of many at once; to be told of each takes no longer than that. Chosen: one try of a call.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether a manifest of `size` bytes is asked for together with others.
pub(super) fn is_small(size: u64) -> bool {
    size <= MOST_BYTES
}

/// The digest that a repository has under `target`, if anything.
pub(super) async fn there(repository: &Repository, target: &str, room: &ManifestRoom) -> Result<Option<Digest>, Error> {
    match repository.head_manifest(target).await? {
        None => Ok(None),
        Some(head) if head.digest.is_some() => Ok(head.digest),
        // Registries of before OCI 1.1 need not say it; the bytes do.
        Some(_) => Ok(Some(repository.manifest(target, None, room).await?.digest)),
    }
}

/// Answers of the destination about its manifests. They are of the moment when it was asked, so nobody keeps them for longer
/// than one look at an image.
#[derive(Debug, Default)]
pub(super) struct Presence {
    answers: HashMap<String, Option<Digest>>,
    /// Whether it could not be asked for many at once.
    is_silent: bool,
}

impl Presence {
    /// Asks for those of `targets`, tags or digests, that are not known yet, where the destination tells of many at once. Where
    /// it does not, for whatever reason, they stay unknown: who needs one asks for it, and is told what is wrong.
    ///
    /// # Errors
    /// `DeadlineExceeded`.
    pub(super) async fn ask(
        &mut self,
        destination: &Destination,
        targets: impl IntoIterator<Item = String>,
    ) -> Result<(), Error> {
        let Some(manifests) = destination.manifests.as_ref().filter(|_| !self.is_silent) else { return Ok(()) };
        let unknown: HashSet<String> =
            targets.into_iter().filter(|target| !self.answers.contains_key(target)).collect();
        // One alone is asked for with a `HEAD`, which answers without the manifest.
        if unknown.len() < 2 {
            return Ok(());
        }
        let unknown: Vec<String> = unknown.into_iter().collect();
        let (repository, asked) = (&destination.repository, tokio::time::timeout(PATIENCE, manifests.held(&unknown)));
        let told = repository.run().deadline.bound(asked).await.map_err(|_| {
            let text = format!("asking {repository} for its manifests: the invocation's time ran out");
            Error::new(ErrorType::DeadlineExceeded, text)
        })?;
        let reason = match told {
            Ok(Ok(told)) => {
                self.answers.extend(told);
                return Ok(());
            }
            Ok(Err(error)) => error.message,
            Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
        };
        tracing::debug!(reason, "manifests are asked for one by one");
        self.is_silent = true;
        Ok(())
    }

    /// What it has under `target`; the outer `None`: that is not known.
    pub(super) fn of(&self, target: &str) -> Option<Option<&Digest>> {
        self.answers.get(target).map(Option::as_ref)
    }

    /// The same, asked for now if it is not known.
    pub(super) async fn there(
        &self,
        destination: &Destination,
        target: &str,
        room: &ManifestRoom,
    ) -> Result<Option<Digest>, Error> {
        match self.of(target) {
            Some(known) => Ok(known.cloned()),
            None => there(&destination.repository, target, room).await,
        }
    }
}
