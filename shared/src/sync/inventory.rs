//! Which of an image's blobs the destination has.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::{Destination, resolve::ManifestTree};
use crate::{
    error::{Error, ErrorType},
    limits::LayerAvailability,
    oci::Digest,
    registry::CREATE_ADVICE,
};

/// What the destination has of an image's blobs.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Those that are good for a manifest.
    pub(super) good: HashSet<Digest>,
    /// ECR: those that it has taken and is still validating. They are not sent again; the gate waits for them.
    pub(super) validating: HashSet<Digest>,
    /// When it was asked, where others may send more meanwhile.
    pub(super) asked: Option<Instant>,
}

impl From<HashSet<Digest>> for Held {
    fn from(good: HashSet<Digest>) -> Self {
        Self { good, ..Self::default() }
    }
}

/// Asks for all blobs of `tree`: in batches at ECR, one by one elsewhere, `at_once` of them in parallel.
///
/// ECR calls a blob unavailable while it validates it, just as one that it never had; a blob's `HEAD` tells them apart.
/// A first run has no use for that and spares the requests. Blobs that this process sent a while ago are asked for, and
/// all of them in a run that is `repeated`, so that none is sent twice. Who waits for long with a blob asks again.
///
/// An ECR repository that is missing is created here, if that is allowed: it is the first to be heard of. Where it is not,
/// a push is tried, as ECR may be told to create repositories by it.
pub(super) async fn ask(
    destination: &Destination,
    tree: &ManifestTree,
    at_once: u32,
    repeated: bool,
) -> Result<Held, Error> {
    if tree.only_tag {
        let blobs = tree.root().into_iter().flat_map(|root| &root.blobs);
        return Ok(blobs.map(|blob| blob.digest.clone()).collect::<HashSet<_>>().into());
    }
    // Any event may come twice; it costs a question for those blobs alone that waited for long.
    let asked = Some(Instant::now());
    let mut seen = HashSet::new();
    let wanted: Vec<Digest> = tree
        .manifests
        .iter()
        .flat_map(|manifest| &manifest.blobs)
        .filter(|blob| !blob.foreign && seen.insert(&blob.digest))
        .map(|blob| blob.digest.clone())
        .collect();
    let Some(availability) = &destination.availability else {
        let good = one_by_one(destination, wanted, at_once).await?;
        return Ok(Held { asked, ..good.into() });
    };
    let in_batches = async {
        let good = batches(destination, availability.as_ref(), tree, &wanted).await?;
        let in_doubt = wanted.into_iter().filter(|digest| !good.contains(digest));
        let in_doubt = in_doubt.filter(|digest| repeated || destination.repository.sent_lately(digest)).collect();
        let validating = one_by_one(destination, in_doubt, at_once).await?;
        Ok(Held { good, validating, asked })
    };
    destination.repository.run().deadline.bound(in_batches).await.map_err(|_| {
        Error::new(
            ErrorType::DeadlineExceeded,
            format!("asking {} for its blobs: the invocation's time ran out", destination.repository),
        )
    })?
}

/// A `HEAD` for each.
async fn one_by_one(destination: &Destination, wanted: Vec<Digest>, at_once: u32) -> Result<HashSet<Digest>, Error> {
    let asked = stream::iter(wanted).map(async |digest| {
        let there = destination.repository.has_blob(&digest).await?;
        Ok::<_, Error>(there.then_some(digest))
    });
    let answers: Vec<Option<Digest>> = asked.buffer_unordered(at_once as usize).try_collect().await?;
    Ok(answers.into_iter().flatten().collect())
}

/// ECR's own question for many.
async fn batches(
    destination: &Destination,
    availability: &dyn LayerAvailability,
    tree: &ManifestTree,
    wanted: &[Digest],
) -> Result<HashSet<Digest>, Error> {
    let missing = match wanted {
        // Nothing to ask about: whether there is a repository is found out by creating it.
        [] if destination.creation.is_none() || !tree.present.is_empty() => return Ok(HashSet::new()),
        [] => Error::new(ErrorType::RepositoryNotFound, ""),
        wanted => match availability.available(wanted).await {
            Err(error) if error.error_type == ErrorType::RepositoryNotFound => error,
            Ok(good) => {
                if let Some(creation) =
                    destination.creation.as_ref().filter(|_| good.is_empty() && tree.present.is_empty())
                {
                    creation.complete().await?;
                }
                return Ok(good);
            }
            answer => return answer,
        },
    };
    match (&destination.creation, wanted) {
        (Some(creation), _) => creation.create().await.map(|()| HashSet::new()),
        (None, [digest, ..]) if Box::pin(destination.repository.takes_upload(digest)).await? => Ok(HashSet::new()),
        (None, _) => {
            let text = format!("{}{CREATE_ADVICE}", missing.message);
            Err(Error::new(ErrorType::RepositoryNotFound, text))
        }
    }
}
