//! The index that lists a manifest's referrers at a registry without the API for it.
//!
//! Nothing guards it against two who write it at once: whoever writes last wins. So it is looked at again just before it
//! is written, and read again afterwards, together with the source: another run may have put there what the source has
//! got meanwhile, and written its list before ours.

use std::{collections::HashMap, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};

use super::find::MAX_MANIFESTS;
use crate::{
    error::{Error, ErrorType},
    limits::CommitGate,
    oci::{Digest, Dropped, Manifest, Referrer, has_unsound, merged_referrers, referrers_index, referrers_tag},
    registry::{FallbackList, Repository},
    sync::{Destination, Task, presence, publish},
};

/// How often a list is written before it is given up. Chosen: each failure means that somebody else wrote it.
const MOST_WRITES: u32 = 10;

/// Manifests that are asked for at once.
const AT_ONCE: usize = 8;

/// Between a write and the look whether it is still there, twice at most, full jitter. Chosen: a few round trips.
const SETTLING: Duration = Duration::from_millis(250);

/// Sees to it that manifests are listed under their subjects, of which the destination did not say that it lists them by
/// itself when it took them (OCI distribution-spec, "Pushing Manifests with Subject"). Answers what could not be listed, and
/// why.
pub(super) async fn list(
    task: &Task<'_>,
    unlisted: Vec<Manifest>,
    destination: &Destination,
    gate: &CommitGate,
) -> Vec<(Vec<Digest>, Error)> {
    // Whose lists are known is believed without its word: its list may lag behind its puts, and whoever is answered by the
    // API there does not look under the tag.
    if destination.repository.has_referrers_api() {
        return Vec::new();
    }
    let mut subjects: HashMap<Digest, Vec<Manifest>> = HashMap::new();
    for manifest in unlisted {
        let Some(subject) = &manifest.subject else { continue };
        let of_subject = subjects.entry(subject.clone()).or_default();
        if !of_subject.iter().any(|known| known.digest == manifest.digest) {
            of_subject.push(manifest);
        }
    }
    let mut failed = Vec::new();
    for (subject, manifests) in subjects {
        let digests = manifests.iter().map(|manifest| manifest.digest.clone()).collect();
        if let Err(error) = list_one(task, &subject, manifests, destination, gate).await {
            failed.push((digests, error));
        }
    }
    failed
}

async fn list_one(
    task: &Task<'_>,
    subject: &Digest,
    manifests: Vec<Manifest>,
    destination: &Destination,
    gate: &CommitGate,
) -> Result<(), Error> {
    // Only a list that names what was put just now is an answer: some answer an empty one to anything.
    if let Some(listed) = destination.repository.referrers(subject, MAX_MANIFESTS).await? {
        let names = |manifest: &Manifest| listed.iter().any(|referrer| referrer.digest == manifest.digest);
        if listed.len() > MAX_MANIFESTS || manifests.iter().all(names) {
            return Ok(());
        }
    }
    write(task, subject, manifests, destination, gate).await
}

async fn write(
    task: &Task<'_>,
    subject: &Digest,
    mut artifacts: Vec<Manifest>,
    destination: &Destination,
    gate: &CommitGate,
) -> Result<(), Error> {
    let (repository, tag) = (&destination.repository, referrers_tag(subject));
    let (mut writes, mut dropped) = (0, Dropped::default());
    loop {
        let there = repository.fallback_list(subject, &task.room).await?;
        let listed = there.as_ref().map(|list| &list.listed[..]).unwrap_or_default();
        let is_listed = |manifest: &&Manifest| listed.iter().any(|referrer| referrer.digest == manifest.digest);
        let lacking: Vec<&Manifest> = artifacts.iter().filter(|manifest| !is_listed(manifest)).collect();
        if lacking.is_empty() {
            return Ok(());
        }
        if there.as_ref().is_some_and(|list| list.digest == *subject) {
            let text = format!(
                "{repository}: the tag {tag} holds the image itself, so no list of what is attached to it can be kept there; \
                 give the destination another tag, or switch `referrers` off"
            );
            return Err(Error::new(ErrorType::ManifestInvalid, text));
        }
        if writes == MOST_WRITES {
            let text = format!(
                "listing the referrers of {subject} at {repository}: the list {tag} was written {writes} times, and \
                 somebody else writes it, too; a later try goes on"
            );
            return Err(Error::new(ErrorType::Unavailable, text));
        }
        let bytes = there.as_ref().map(|list| &list.bytes[..]);
        let merged = merged_referrers(bytes, &dropped, &lacking).map_err(|error| {
            let text = format!(
                "{repository}: what stands under {tag} is no list of referrers ({error}), so what is attached can't be \
                 listed there; move that tag, or switch `referrers` off"
            );
            Error::new(ErrorType::ManifestInvalid, text)
        })?;
        let index = referrers_index(merged);
        if presence::there(repository, &tag, &task.room).await? != there.as_ref().map(|list| list.digest.clone()) {
            writes += 1;
            continue;
        }
        let put = publish::put(&index, &tag, repository, gate, &|_: &Digest, _: bool| {}).await;
        writes += 1;
        if let Err(error) = put {
            dropped = without_what_is_refused(repository, there, &dropped, error).await?;
            continue;
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

/// What a list is to lose so that the registry takes it, beside what it has lost: others may have written what no registry
/// takes, or somebody may have deleted what is listed.
async fn without_what_is_refused(
    repository: &Repository,
    there: Option<FallbackList>,
    dropped: &Dropped,
    refused: Error,
) -> Result<Dropped, Error> {
    let Some(there) = there else { return Err(refused) };
    if !dropped.unsound
        && matches!(refused.error_type, ErrorType::ManifestInvalid | ErrorType::BlobUnavailable)
        && has_unsound(&there.bytes)
    {
        tracing::warn!(reason = %refused, repository = %repository, "entries of a list that are no descriptors are dropped");
        return Ok(Dropped { unsound: true, ..dropped.clone() });
    }
    if dropped.gone.is_empty() && refused.error_type == ErrorType::BlobUnavailable {
        let gone = missing(repository, &there.listed).await?;
        if !gone.is_empty() {
            return Ok(Dropped { gone, ..dropped.clone() });
        }
    }
    Err(refused)
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
        // An empty list may be the answer to anything.
        Some(listed) if !listed.is_empty() || source.repository.keeps_lists() => listed,
        _ => {
            let list = source.repository.fallback_list(subject, &task.room).await?;
            list.map(|list| list.listed).unwrap_or_default()
        }
    };
    // Whatever this request leaves out: the other run may have been asked for it.
    let unknown: Vec<Referrer> = listed
        .into_iter()
        .filter(|referrer| !known.iter().any(|manifest| manifest.digest == referrer.digest))
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
