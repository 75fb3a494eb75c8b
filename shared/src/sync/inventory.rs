//! Which of an image's blobs the destination has.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt, stream};

use super::{Destination, resolve::ManifestTree};
use crate::{
    error::{Error, ErrorType},
    oci::Digest,
};

/// Asks for all blobs of `tree`: in batches at ECR, one by one elsewhere, `at_once` of them in parallel.
///
/// An ECR repository that is missing is created here, if that is allowed: it is the first to be heard of.
pub(super) async fn ask(
    destination: &Destination,
    tree: &ManifestTree,
    at_once: u32,
) -> Result<HashSet<Digest>, Error> {
    if tree.only_tag {
        return Ok(tree.root().into_iter().flat_map(|root| &root.blobs).map(|blob| blob.digest.clone()).collect());
    }
    let mut seen = HashSet::new();
    let wanted: Vec<Digest> = tree
        .manifests
        .iter()
        .flat_map(|manifest| &manifest.blobs)
        .filter(|blob| !blob.foreign && seen.insert(&blob.digest))
        .map(|blob| blob.digest.clone())
        .collect();
    let Some(availability) = &destination.availability else {
        let asked = stream::iter(wanted).map(async |digest| {
            let there = destination.repository.has_blob(&digest).await?;
            Ok::<_, Error>(there.then_some(digest))
        });
        let answers: Vec<Option<Digest>> = asked.buffer_unordered(at_once as usize).try_collect().await?;
        return Ok(answers.into_iter().flatten().collect());
    };
    if wanted.is_empty() {
        return Ok(HashSet::new());
    }
    match (availability.available(&wanted).await, &destination.creation) {
        (Err(error), Some(creation)) if error.error_type == ErrorType::RepositoryNotFound => {
            creation.create().await?;
            Ok(HashSet::new())
        }
        (Err(error), None) if error.error_type == ErrorType::RepositoryNotFound => Err(Error::new(
            ErrorType::RepositoryNotFound,
            format!(
                "{}; create the repository, or allow it to be created with registries.HOST.create_repository",
                error.message
            ),
        )),
        (answer, _) => answer,
    }
}
