//! What is attached to an image goes the same road once more: find → inventory → plan → transfer → gate → publish.
//!
//! It is found before anything is sent, so that what is too much, or lacks what is required, is refused before the first
//! upload. It is put when its subjects are there, and its failure is one of its own: the image is in place by then.

mod cosign;
mod fallback;
mod find;

pub(super) use find::{Attached, Subject, Trouble, below, find};
use futures::{StreamExt, TryStreamExt, stream};

use super::{Syncer, Task, inventory, inventory::Held, plan::Plan, publish, resolve::ManifestTree, transfer};
use crate::{
    error::{Error, ErrorType},
    limits::CommitGate,
    oci::{Digest, Manifest},
    sync::Destination,
};

/// Artifacts that are put at once.
const AT_ONCE: usize = 4;

/// An artifact that the destination lacks.
pub(super) struct Artifact {
    /// Its manifests, children before what lists them; the last one is the artifact's own.
    manifests: Vec<Manifest>,
    /// What it is attached to.
    subject: Digest,
    /// The tag that ties it to its subject, where its own bytes don't.
    tag: Option<String>,
}

impl Artifact {
    fn root(&self) -> Option<&Manifest> {
        self.manifests.last()
    }

    /// Whether lists of referrers name it: it says itself what it is attached to.
    fn is_listed(&self) -> bool {
        self.root().is_some_and(|root| root.subject.as_ref() == Some(&self.subject))
    }
}

/// Copies what was found and the destination lacks.
pub(super) async fn attach(syncer: &Syncer, task: &Task<'_>, attached: Attached) -> Result<(), Error> {
    attached.present.iter().for_each(|digest| task.tally.referrer(digest, false));
    if attached.waves.iter().all(Vec::is_empty) {
        return Ok(());
    }
    // Put together for one look at the destination and one transfer; only the puts have an order.
    let manifests = attached.waves.iter().flatten().flat_map(|artifact| &artifact.manifests).cloned().collect();
    let tree = ManifestTree { manifests, present: Vec::new(), only_tag: false };
    // The repository is there: the image is.
    let destination = Destination {
        repository: task.destination.repository.clone(),
        mount_from: task.destination.mount_from.clone(),
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
    Ok(())
}

/// inventory → plan → transfer → gate → publish.
async fn copy(
    syncer: &Syncer,
    task: &Task<'_>,
    destination: &Destination,
    tree: &ManifestTree,
    waves: &[Vec<Artifact>],
    trusted: bool,
) -> Result<(), Error> {
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
    // Subject first: a wave refers to those before it.
    for wave in waves {
        stream::iter(wave)
            .map(|artifact| put(task, artifact, destination, &gate))
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        fallback::list(task, wave, destination, &gate).await?;
    }
    Ok(())
}

/// Puts one artifact, under its tag if it has one.
async fn put(task: &Task<'_>, artifact: &Artifact, destination: &Destination, gate: &CommitGate) -> Result<(), Error> {
    let Some((root, below)) = artifact.manifests.split_last() else { return Ok(()) };
    let repository = &destination.repository;
    let done = |digest: &Digest, pushed: bool| {
        task.tally.referrer(digest, pushed);
        repository.note_sent(digest);
    };
    for manifest in below {
        publish::put(manifest, manifest.digest.as_str(), repository, gate, &done).await?;
    }
    publish::put(root, artifact.tag.as_deref().unwrap_or(root.digest.as_str()), repository, gate, &done).await
}
