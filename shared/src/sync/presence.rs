//! What the destination has under tags and digests, as far as it was asked.

use std::collections::HashMap;

use super::{Destination, resolve};
use crate::{
    error::{Error, ErrorType},
    limits::ManifestRoom,
    oci::Digest,
};

/// Manifests of over this many bytes are not asked for together with others: an answer holds those that are there, a hundred
/// of them at most. Chosen: an image of a hundred layers has less, and a hundred such manifests fit into the smallest function.
const MOST_BYTES: u64 = 32 * 1024;

/// Whether a manifest of `size` bytes is asked for together with others.
pub(super) fn is_small(size: u64) -> bool {
    size <= MOST_BYTES
}

/// Answers of the destination about its manifests. They are of the moment when it was asked, so nobody keeps them for longer
/// than one look at an image.
#[derive(Debug, Default)]
pub(super) struct Presence(HashMap<String, Option<Digest>>);

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
        let Some(manifests) = &destination.manifests else { return Ok(()) };
        let unknown: Vec<String> = targets.into_iter().filter(|target| !self.0.contains_key(target)).collect();
        // One alone is asked for with a `HEAD`, which answers without the manifest.
        if unknown.len() < 2 {
            return Ok(());
        }
        let repository = &destination.repository;
        let found = repository.run().deadline.bound(manifests.held(&unknown)).await.map_err(|_| {
            let text = format!("asking {repository} for its manifests: the invocation's time ran out");
            Error::new(ErrorType::DeadlineExceeded, text)
        })?;
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(reason = %error, "manifests are asked for one by one");
                return Ok(());
            }
        };
        self.0.extend(unknown.into_iter().map(|target| (target.clone(), found.get(&target).cloned())));
        Ok(())
    }

    /// What it has under `target`; the outer `None`: it was not asked.
    pub(super) fn of(&self, target: &str) -> Option<Option<&Digest>> {
        self.0.get(target).map(Option::as_ref)
    }

    /// The same, asked for now if it was not yet.
    pub(super) async fn there(
        &self,
        destination: &Destination,
        target: &str,
        room: &ManifestRoom,
    ) -> Result<Option<Digest>, Error> {
        match self.of(target) {
            Some(known) => Ok(known.cloned()),
            None => resolve::there(&destination.repository, target, room).await,
        }
    }
}
