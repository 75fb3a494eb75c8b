//! What is attached to an image goes the same road once more: find → inventory → plan → transfer → gate → publish.
//!
//! It is found before anything is sent, so that what is too much, or lacks what is required, is refused before the first
//! upload. It is put when its subjects are there, and its failure is one of its own: the image is in place by then.

mod fallback;
mod find;
mod foresee;
mod look;
mod required;

use std::{collections::HashSet, time::Duration};

use find::below;
pub(super) use find::{Attached, CosignTags, Subject, Trouble, find};
pub(super) use foresee::Foreseen;
use futures::{StreamExt, stream};
pub(super) use look::types_of;

use super::{Syncer, Task, inventory, inventory::Held, plan::Plan, presence, publish, resolve::ManifestTree, transfer};
use crate::{
    error::{Class, Error, ErrorType},
    limits::CommitGate,
    oci::{Digest, Manifest},
    request::{Referrers, is_of},
    sync::Destination,
};

/// Artifacts that are put at once.
const AT_ONCE: usize = 4;

/// An artifact that the destination lacks.
pub(super) struct Artifact {
    /// Its manifests, children before what lists them; the last one is the artifact's own.
    manifests: Vec<Manifest>,
    /// What it is attached to, by its own bytes or by its tag.
    subject: Digest,
    /// The tag that ties it to its subject, where its own bytes don't.
    tag: Option<String>,
}

impl Artifact {
    fn root(&self) -> Option<&Manifest> {
        self.manifests.last()
    }

    fn digests(&self) -> impl Iterator<Item = &Digest> {
        self.manifests.iter().map(|manifest| &manifest.digest)
    }
}

/// What was found to be attached to an image, or why it is not known; `None`: nobody asks.
pub(super) type Findings = Option<Result<Attached, Error>>;

/// What is attached to an image that is to be copied, of whose manifests `known` are read.
///
/// What is required is looked for whatever `referrers` copies of it: that is no way around it.
///
/// # Errors
/// The image is not to be copied with it, or not without it. That it couldn't be found out is told when the image is there.
pub(super) async fn of_new(
    task: &Task<'_>,
    root: &Digest,
    known: &[Manifest],
    is_new: bool,
    foreseen: Option<&Foreseen>,
) -> Result<Findings, Error> {
    let options = &task.request.options;
    let required = &options.require_referrers;
    if !options.referrers.wanted() {
        let subject = task.tally.source_digest().unwrap_or_else(|| root.clone());
        required::check(task, &subject, required.iter().collect()).await?;
        return Ok(None);
    }
    let found = async |cosign, foreseen| {
        let attached = of_all(task, root, known, is_new, cosign, !required.is_empty(), foreseen).await?;
        // What is required of the image is required of the one that was pushed.
        let of_source = match task.tally.source_digest() {
            Some(digest) if !required.is_empty() => {
                let whole = Subject { digest: digest.clone(), is_new: true };
                Some((find(task, vec![whole], cosign, true, foreseen).await?, digest))
            }
            _ => None,
        };
        Ok((attached, of_source))
    };
    let (mut cosign, mut foreseen) = (as_asked(task, root), foreseen);
    loop {
        match found(cosign, foreseen).await {
            Ok((attached, of_source)) => {
                let (asked, digest) =
                    of_source.as_ref().map_or((&attached, root), |(of_source, digest)| (of_source, digest));
                let missing: Vec<&String> =
                    required.iter().filter(|wanted| !asked.has(digest, |of| is_of(wanted, of))).collect();
                if missing.is_empty() {
                    return Ok(Some(Ok(attached)));
                }
                match &options.referrers {
                    // What is left out was not looked at.
                    Referrers::Types(_) => {
                        required::check(task, digest, missing).await?;
                        return Ok(Some(Ok(attached)));
                    }
                    // A refusal is for good, so it is of what is there now.
                    Referrers::All(_) if cosign == CosignTags::Now && foreseen.is_none() => {
                        return Err(required::lacks(task.request, digest, &missing));
                    }
                    Referrers::All(_) => (cosign, foreseen) = (CosignTags::Now, None),
                }
            }
            Err(Trouble::Refused(error)) => return Err(error),
            // Whether what is required is there is not known, so nothing may be copied.
            Err(Trouble::Failed(error)) if !required.is_empty() => return Err(error),
            Err(Trouble::Failed(error)) => return Ok(Some(Err(error))),
        }
    }
}

/// Which of cosign's tags tell what was attached when the request was made: older ones say nothing of a tag that has moved
/// since.
fn as_asked(task: &Task<'_>, root: &Digest) -> CosignTags {
    let of_source = task.tally.source_digest();
    let is_asked_for = task.request.expected.as_ref() == Some(of_source.as_ref().unwrap_or(root));
    if is_asked_for { CosignTags::AsAsked } else { CosignTags::Now }
}

/// Which of cosign's tags are looked at of an image that the destination has: what was attached after a push comes by events
/// of its own, so that it takes a reason.
pub(super) fn cosign_of_there(task: &Task<'_>, root: &Digest, was_there: bool) -> CosignTags {
    let is_due = !was_there || !task.request.heard || task.request.tried;
    if is_due { as_asked(task, root) } else { CosignTags::Ignored }
}

/// What is attached to an image that the destination has; `was_there`: not by this sync.
///
/// # Errors
/// It is more than is copied.
pub(super) async fn of_there(
    task: &Task<'_>,
    root: &Digest,
    known: &[Manifest],
    was_there: bool,
    foreseen: Option<&Foreseen>,
) -> Result<Findings, Error> {
    if !task.request.options.referrers.wanted() {
        return Ok(None);
    }
    let cosign = cosign_of_there(task, root, was_there);
    match of_all(task, root, known, false, cosign, false, foreseen).await {
        Ok(mut attached) => {
            attached.was_there = was_there;
            Ok(Some(Ok(attached)))
        }
        Err(Trouble::Refused(error)) => Err(error),
        Err(Trouble::Failed(error)) => Ok(Some(Err(error))),
    }
}

/// What is attached to all manifests of an image.
async fn of_all(
    task: &Task<'_>,
    root: &Digest,
    known: &[Manifest],
    is_new: bool,
    cosign: CosignTags,
    typed: bool,
    foreseen: Option<&Foreseen>,
) -> Result<Attached, Trouble> {
    let digests = match known {
        [] => vec![root.clone()],
        known => below(task, known).await?,
    };
    // Nothing at the source refers to a filtered index, and what refers to the whole one is not about it.
    let is_filtered = task.tally.source_digest().is_some();
    let digests = digests.into_iter().filter(|digest| !is_filtered || digest != root);
    find(task, digests.map(|digest| Subject { digest, is_new }).collect(), cosign, typed, foreseen).await
}

/// Copies what is attached to the image of `digest`, which is in place, and lists those of its own manifests that refer to
/// others.
///
/// # Errors
/// Says so, and why what is attached is not: this may be tried again.
pub(super) async fn follow(
    syncer: &Syncer,
    task: &Task<'_>,
    digest: &Digest,
    found: Result<Attached, Error>,
) -> Result<(), Error> {
    let attached = async {
        let mut own = task.unlisted.take();
        // Of what was put now the destination has said whether it lists it.
        let unlisted = found.iter().flat_map(|attached| &attached.own);
        own.extend(unlisted.filter(|manifest| !task.tally.has_pushed(&manifest.digest)).cloned());
        let listed = list_own(task, own).await;
        let mut attached = found?;
        for _ in 0..MOST_LOOKS {
            let (image, since) = (std::mem::take(&mut attached.image), attached.since);
            let nothing_new = attached.was_there && attached.waves.iter().all(Vec::is_empty);
            let moved = attach(syncer, task, attached).await?;
            listed.clone()?;
            if nothing_new || !moved && since.elapsed() < LOOK_AGAIN {
                return Ok(());
            }
            // What was attached meanwhile had an event of its own, which may have found no image here yet.
            let subjects = image.into_iter().map(|digest| Subject { digest, is_new: false }).collect();
            attached = find(task, subjects, CosignTags::Now, false, None).await.map_err(Trouble::into_error)?;
            if attached.waves.iter().all(Vec::is_empty) {
                return Ok(());
            }
        }
        let text = "signatures of it were pushed again and again while it was copied; another try brings the last ones";
        Err(Error::new(ErrorType::Unavailable, text))
    };
    attached.await.map_err(|error| {
        let message = format!(
            "the image {digest} is in place at {}, and not all that is attached to it: {}",
            task.request.destination, error.message
        );
        Error { message, ..error }
    })
}

/// Sees to it that the image's own manifests that refer to others are found by them.
async fn list_own(task: &Task<'_>, own: Vec<Manifest>) -> Result<(), Error> {
    // Lists name no blobs, so there is nothing to be asked for.
    let gate = CommitGate::new(None, Duration::ZERO);
    let mut failures = Failures::default();
    for (_, error) in fallback::list(task, own, &task.destination, &gate).await {
        failures.note(error);
    }
    failures.0.map_or(Ok(()), Err)
}

/// How long after what is attached was looked for it is looked for once more, when the image is there. Chosen: events of
/// what was attached meanwhile take as long to come.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How often what is attached is looked for in one sync.
const MOST_LOOKS: u32 = 4;

/// Copies what was found and the destination lacks; whether a tag has moved at the source meanwhile.
pub(super) async fn attach(syncer: &Syncer, task: &Task<'_>, attached: Attached) -> Result<bool, Error> {
    attached.present.iter().for_each(|digest| task.tally.referrer(digest, false));
    if attached.waves.iter().all(Vec::is_empty) {
        return Ok(false);
    }
    // Put together for one look at the destination and one transfer; only the puts have an order.
    let manifests = attached.waves.iter().flatten().flat_map(|artifact| &artifact.manifests).cloned().collect();
    let tree = ManifestTree { manifests, present: Vec::new(), only_tag: false };
    // The repository is there: the image is.
    let destination = Destination {
        repository: task.destination.repository.clone(),
        mount_from: task.destination.mount_from.clone(),
        manifests: task.destination.manifests.clone(),
        availability: task.destination.availability.clone(),
        creation: None,
    };
    for trusted in [true, false] {
        let put = copy(syncer, task, &destination, &tree, &attached.waves, trusted).await;
        match put {
            // The destination said that it has blobs, and then that it hasn't.
            Err(error) if trusted && error.error_type == ErrorType::BlobUnavailable => {
                tracing::info!(reason = %error, "copying what is attached anew");
                task.tally.source.retry();
            }
            put => return put,
        }
    }
    Ok(false)
}

/// The gravest of what failed: one that a registry does not take keeps back no other, and what may succeed later decides.
#[derive(Default)]
struct Failures(Option<Error>);

impl Failures {
    fn note(&mut self, error: Error) {
        let graver = |kept: &Error| kept.class() == Class::Never && error.class() == Class::Later;
        if self.0.as_ref().is_none_or(graver) {
            self.0 = Some(error);
        }
    }
}

/// inventory → plan → transfer → gate → publish.
async fn copy(
    syncer: &Syncer,
    task: &Task<'_>,
    destination: &Destination,
    tree: &ManifestTree,
    waves: &[Vec<Artifact>],
    trusted: bool,
) -> Result<bool, Error> {
    let Task { request, source, tally, .. } = task;
    let gate = CommitGate::new(destination.availability.clone(), syncer.limits.manifest_commit_wait);
    let held = match trusted {
        true => inventory::ask(destination, tree, syncer.limits.blob_concurrency, request.repeated).await?,
        false => Held::default(),
    };
    let plan = Plan::of(tree, &held, destination.mount_from.as_deref().filter(|_| trusted));
    plan.log(request);
    transfer::run(&plan, &source.repository, destination, &gate, &syncer.budget, syncer.limits, tally).await?;
    gate.open(&plan.to_be_good(), &destination.repository.run().deadline).await?;
    let (mut moved, mut failures, mut missing) = (false, Failures::default(), HashSet::<&Digest>::new());
    // Subject first: a wave refers to those before it.
    for wave in waves {
        let (gate, unlisted) = (&gate, &publish::Unlisted::default());
        let (ready, orphans): (Vec<&Artifact>, Vec<&Artifact>) =
            wave.iter().partition(|artifact| !missing.contains(&artifact.subject));
        let puts = stream::iter(ready)
            .map(|artifact| async move { (artifact, put(task, artifact, destination, gate, unlisted).await) });
        let puts: Vec<_> = puts.buffer_unordered(AT_ONCE).collect().await;
        let (mut there, mut absent) = (Vec::with_capacity(puts.len()), Vec::new());
        for (artifact, put) in puts {
            match put {
                Ok(again) => {
                    moved |= again;
                    there.push(artifact);
                }
                Err(error) => {
                    failures.note(error);
                    absent.push(artifact);
                }
            }
        }
        if !orphans.is_empty() {
            tracing::info!(count = orphans.len(), "left out: what they are attached to could not be put");
        }
        missing.extend(absent.into_iter().chain(orphans).flat_map(Artifact::digests));
        // The same one may have been put under another tag.
        there.iter().flat_map(|artifact| artifact.digests()).for_each(|digest| {
            missing.remove(digest);
        });
        let not_listed = fallback::list(task, unlisted.take(), destination, gate).await;
        // Only now is nothing left to be done for the others.
        let is_listed = |digest: &Digest| !not_listed.iter().any(|(digests, _)| digests.contains(digest));
        let done = there.iter().filter(|artifact| artifact.digests().all(is_listed));
        done.filter_map(|artifact| artifact.root()).for_each(|root| destination.repository.note_sent(&root.digest));
        not_listed.into_iter().for_each(|(_, error)| failures.note(error));
    }
    failures.0.map_or(Ok(moved), Err)
}

/// Puts one artifact, under its tag if it has one; whether the tag has moved at the source since it was read.
async fn put(
    task: &Task<'_>,
    artifact: &Artifact,
    destination: &Destination,
    gate: &CommitGate,
    unlisted: &publish::Unlisted,
) -> Result<bool, Error> {
    let Some((root, below)) = artifact.manifests.split_last() else { return Ok(false) };
    let repository = &destination.repository;
    let done = |digest: &Digest, pushed: bool| task.tally.referrer(digest, pushed);
    let put = async |manifest: &Manifest, target: &str| {
        let taken = publish::put(manifest, target, repository, gate, &done).await?;
        unlisted.note(manifest, taken);
        Ok::<_, Error>(())
    };
    for manifest in below {
        put(manifest, manifest.digest.as_str()).await?;
    }
    let Some(tag) = &artifact.tag else {
        return put(root, root.digest.as_str()).await.map(|()| false);
    };
    put(root, tag).await?;
    // As with an image's tag: whoever moved it looks once more.
    let now = presence::there(&task.source.repository, tag, &task.room).await?;
    Ok(now.is_some_and(|now| now != root.digest))
}
