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
    tree.present.iter().for_each(|digest| tally.manifest(digest, false));
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
        Ok(()) => tally.manifest(&manifest.digest, true),
        // ECR refuses to put an immutable tag again even if it holds this very digest: somebody else was faster, or the
        // answer to our own put was lost.
        Err(error) if error.error_type == ErrorType::TagImmutable => {
            // What the refusal was is said even if this look fails.
            let there = destination.head_manifest(target).await.ok().flatten().and_then(|head| head.digest);
            if there.as_ref() != Some(&manifest.digest) {
                let there = there.map_or_else(|| "another digest".to_owned(), |digest| digest.to_string());
                let text = format!("{}; it holds {there}, the source {}", error.message, manifest.digest);
                return Err(Error::new(ErrorType::TagImmutable, text));
            }
            tally.manifest(&manifest.digest, false);
        }
        Err(error) => return Err(error),
    }
    Ok(())
}
