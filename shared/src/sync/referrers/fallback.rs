//! The index that lists a manifest's referrers at a registry without the API for it.
//!
//! Nothing guards it against two who write it at once: whoever writes last wins. So it is looked at again just before it
//! is written, and read again afterwards, together with the source: another run may have put there what the source has
//! got meanwhile, and written its list before ours.

use std::{collections::HashMap, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};

use super::{Artifact, find::MAX_MANIFESTS};
use crate::{
    error::{Error, ErrorType},
    limits::CommitGate,
    oci::{Digest, Manifest, OCI_INDEX, Referrer, merged_referrers, read_referrers, referrers_tag},
    registry::Repository,
    sync::{Destination, Task, presence, publish},
};

/// How often a list is written before it is given up. Chosen: each failure means that somebody else wrote it.
const MOST_WRITES: u32 = 10;

/// Manifests that are asked for at once.
const AT_ONCE: usize = 8;

/// Between a write and the look whether it is still there, twice at most, full jitter. Chosen: a few round trips.
const SETTLING: Duration = Duration::from_millis(250);

/// Sees to it that the artifacts of a wave are listed under their subjects, where the destination doesn't do that by itself.
pub(super) async fn list(
    task: &Task<'_>,
    wave: &[&Artifact],
    destination: &Destination,
    gate: &CommitGate,
) -> Result<(), Error> {
    let mut subjects: HashMap<&Digest, Vec<&Manifest>> = HashMap::new();
    for artifact in wave.iter().filter(|artifact| artifact.is_listed()) {
        subjects.entry(&artifact.subject).or_default().extend(artifact.root());
    }
    for (subject, artifacts) in subjects {
        // The subject is there, so that 404 has no other meaning than that there is no API.
        if destination.repository.referrers(subject, 0).await?.is_none() {
            write(task, subject, artifacts.into_iter().cloned().collect(), destination, gate).await?;
        }
    }
    Ok(())
}

async fn write(
    task: &Task<'_>,
    subject: &Digest,
    mut artifacts: Vec<Manifest>,
    destination: &Destination,
    gate: &CommitGate,
) -> Result<(), Error> {
    let (repository, tag) = (&destination.repository, referrers_tag(subject));
    let (mut writes, mut gone) = (0, None);
    loop {
        let there = match repository.head_manifest(&tag).await? {
            None => None,
            Some(_) => Some(repository.manifest(&tag, None, &task.room).await?),
        };
        let listed = there.as_ref().map(|index| read_referrers(&index.bytes).unwrap_or_default()).unwrap_or_default();
        let is_listed = |manifest: &&Manifest| listed.iter().any(|referrer| referrer.digest == manifest.digest);
        let lacking: Vec<&Manifest> = artifacts.iter().filter(|manifest| !is_listed(manifest)).collect();
        if lacking.is_empty() {
            return Ok(());
        }
        if writes == MOST_WRITES {
            let text = format!(
                "listing the referrers of {subject} at {repository}: the list {tag} was written {writes} times, and \
                 somebody else writes it, too; a later try goes on"
            );
            return Err(Error::new(ErrorType::Unavailable, text));
        }
        let bytes = merged_referrers(
            there.as_ref().map(|index| &index.bytes[..]),
            gone.as_deref().unwrap_or_default(),
            &lacking,
        )
        .map_err(|error| {
            let text = format!("{repository}: what stands under {tag} is no list of referrers ({error})");
            Error::new(ErrorType::ManifestInvalid, text)
        })?;
        let index = Manifest::parse(bytes.clone().into(), Digest::of(&bytes), Some(OCI_INDEX)).map_err(|error| {
            let text = format!("{repository}: what stands under {tag} can't be added to: it {error}");
            Error::new(ErrorType::ManifestInvalid, text)
        })?;
        if presence::there(repository, &tag, &task.room).await? != there.map(|index| index.digest) {
            writes += 1;
            continue;
        }
        let put = publish::put(&index, &tag, repository, gate, &|_: &Digest, _: bool| {}).await;
        writes += 1;
        match put {
            // Somebody has deleted what is listed, and the registry takes no list with such an entry.
            Err(error) if gone.is_none() && error.error_type == ErrorType::BlobUnavailable => {
                let missing = missing(repository, &listed).await?;
                if missing.is_empty() {
                    return Err(error);
                }
                gone = Some(missing);
                continue;
            }
            put => put?,
        }
        let pause = SETTLING.mul_f64(fastrand::f64());
        // If there is no time to look again, what was written stands.
        if repository.run().deadline.sleep(pause).await.is_err() {
            return Ok(());
        }
        match newer(task, subject, &artifacts, destination).await {
            Ok(newer) => artifacts.extend(newer),
            // What is ours is written; who wrote at the same time looks as well.
            Err(error) => tracing::warn!(reason = %error, %subject, "the list could not be compared with the source's"),
        }
    }
}

/// Which of these a repository has not.
async fn missing(repository: &Repository, listed: &[Referrer]) -> Result<Vec<Digest>, Error> {
    let asked = stream::iter(listed).map(async |referrer| {
        let there = repository.head_manifest(referrer.digest.as_str()).await?;
        Ok::<_, Error>(there.is_none().then(|| referrer.digest.clone()))
    });
    let answers: Vec<Option<Digest>> = asked.buffered(AT_ONCE).try_collect().await?;
    Ok(answers.into_iter().flatten().collect())
}

/// What the source lists by now, and the destination has: another run put it, and its list may be what we wrote over.
async fn newer(
    task: &Task<'_>,
    subject: &Digest,
    known: &[Manifest],
    destination: &Destination,
) -> Result<Vec<Manifest>, Error> {
    let source = &task.source;
    let listed = match source.repository.referrers(subject, MAX_MANIFESTS).await? {
        Some(listed) => listed,
        None => match source.repository.manifest(&referrers_tag(subject), None, &task.room).await {
            Ok(index) => read_referrers(&index.bytes).unwrap_or_default(),
            Err(error) if error.error_type == ErrorType::SourceNotFound => Vec::new(),
            Err(error) => return Err(error),
        },
    };
    let wanted = &task.request.options.referrers;
    let unknown: Vec<Referrer> = listed
        .into_iter()
        .filter(|referrer| !known.iter().any(|manifest| manifest.digest == referrer.digest))
        .filter(|referrer| wanted.may_take(referrer.artifact_type.as_deref()))
        .collect();
    let absent = missing(&destination.repository, &unknown).await?;
    let mut newer = Vec::new();
    for referrer in unknown.into_iter().filter(|referrer| !absent.contains(&referrer.digest)) {
        let manifest = source.manifest(referrer.digest.as_str(), Some(&referrer.digest), &task.room).await?;
        if manifest.subject.as_ref() == Some(subject) {
            newer.push(manifest);
        }
    }
    Ok(newer)
}
