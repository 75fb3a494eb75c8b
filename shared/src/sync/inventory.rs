//! Which of an image's blobs the destination has.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt, stream};

use super::{Destination, resolve::ManifestTree};
use crate::{
    error::{Error, ErrorType},
    oci::Digest,
    registry::CREATE_ADVICE,
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
    let run = destination.repository.run();
    let asked = async {
        let missing = match wanted.as_slice() {
            // Nothing to ask about: whether there is a repository is found out by creating it.
            [] if destination.creation.is_none() || !tree.present.is_empty() => return Ok(HashSet::new()),
            [] => Error::new(ErrorType::RepositoryNotFound, ""),
            wanted => match availability.available(wanted).await {
                Err(error) if error.error_type == ErrorType::RepositoryNotFound => error,
                answer => return answer,
            },
        };
        match &destination.creation {
            Some(creation) => creation.create().await.map(|()| HashSet::new()),
            None => {
                let text = format!("{}{CREATE_ADVICE}", missing.message);
                Err(Error::new(ErrorType::RepositoryNotFound, text))
            }
        }
    };
    run.deadline.bound(asked).await.map_err(|_| {
        Error::new(
            ErrorType::DeadlineExceeded,
            format!("asking {} for its blobs: the invocation's time ran out", destination.repository),
        )
    })?
}
