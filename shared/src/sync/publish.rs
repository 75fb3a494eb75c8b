//! Manifests go in: children before what lists them, the tag last. Each needs the gate's leave.

use futures::{StreamExt, TryStreamExt, stream};

use super::{report::Tally, resolve::ManifestTree};
use crate::{
    error::{Error, ErrorType},
    limits::CommitGate,
    oci::Manifest,
    registry::Repository,
};

/// Manifests that are put at once. ECR takes 10 `PutImage` a second for an account and region.
const AT_ONCE: usize = 4;

/// Puts the manifests of `tree`, the root under `target` and last.
pub(super) async fn run(
    tree: &ManifestTree,
    destination: &Repository,
    target: &str,
    gate: &CommitGate,
    tally: &Tally,
) -> Result<(), Error> {
    (0..tree.present).for_each(|_| tally.manifest_present());
    let Some((root, below)) = tree.manifests.split_last() else { return Ok(()) };
    // Images in any order; indexes after them, in order, as one may list another.
    let (indexes, images): (Vec<&Manifest>, Vec<&Manifest>) = below.iter().partition(|manifest| manifest.is_index);
    stream::iter(images)
        .map(|image| put(image, image.digest.as_str(), destination, gate, tally))
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    for index in indexes {
        put(index, index.digest.as_str(), destination, gate, tally).await?;
    }
    put(root, target, destination, gate, tally).await
}

async fn put(
    manifest: &Manifest,
    target: &str,
    destination: &Repository,
    gate: &CommitGate,
    tally: &Tally,
) -> Result<(), Error> {
    let permit = gate.permit(manifest)?;
    match destination.put_manifest(permit, target).await {
        Ok(()) => tally.manifest_pushed(),
        Err(error) if error.error_type == ErrorType::TagImmutable && holds(destination, target, manifest).await => {
            tally.manifest_present();
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Whether `target` is this very manifest by now. ECR refuses to put an immutable tag even if that changes nothing: a
/// second process with the same event, or a put whose answer was lost, has then done what was wanted.
async fn holds(destination: &Repository, target: &str, manifest: &Manifest) -> bool {
    let there = destination.head_manifest(target).await;
    there.is_ok_and(|there| there.and_then(|head| head.digest).as_ref() == Some(&manifest.digest))
}
