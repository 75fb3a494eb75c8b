//! Manifests go in: children before what lists them, the tag last. Each needs the gate's leave.

use std::sync::{Mutex, PoisonError};

use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::{report::Tally, resolve::ManifestTree};
use crate::{
    error::{Class, Error, ErrorType},
    limits::CommitGate,
    oci::{Digest, Manifest},
    registry::{Repository, Taken},
};

/// Manifests that are put at once. ECR takes 10 `PutImage` a second for an account and region.
const AT_ONCE: usize = 4;

/// Manifests that refer to something, and of which the registry did not say that it lists them there. Whoever put them is to
/// see to it.
///
/// Source: OCI distribution-spec, "Pushing Manifests with Subject".
#[derive(Debug, Default)]
pub(super) struct Unlisted(Mutex<Vec<Manifest>>);

impl Unlisted {
    /// Notes what the registry said of a manifest.
    pub(super) fn note(&self, manifest: &Manifest, taken: Taken) {
        if manifest.subject.is_some() && !taken.listed {
            // Held for moves, which don't panic; a poisoned one is whole.
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(manifest.clone());
        }
    }

    /// Takes them out.
    pub(super) fn take(&self) -> Vec<Manifest> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Puts the manifests of `tree`, the root under `target` and last.
pub(super) async fn run(
    tree: &ManifestTree,
    destination: &Repository,
    target: &str,
    gate: &CommitGate,
    tally: &Tally,
    unlisted: &Unlisted,
) -> Result<(), Error> {
    tree.present.iter().for_each(|digest| tally.manifest(digest, false));
    let done = |digest: &Digest, pushed: bool| tally.manifest(digest, pushed);
    let put = async |manifest: &Manifest, target: &str| {
        let taken = put(manifest, target, destination, gate, &done).await?;
        unlisted.note(manifest, taken);
        Ok::<_, Error>(())
    };
    let Some((root, below)) = tree.manifests.split_last() else { return Ok(()) };
    // Images in any order; indexes after them, in order, as one may list another.
    let (indexes, images): (Vec<&Manifest>, Vec<&Manifest>) = below.iter().partition(|manifest| manifest.is_index);
    stream::iter(images)
        .map(|image| put(image, image.digest.as_str()))
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    for index in indexes {
        put(index, index.digest.as_str()).await?;
    }
    put(root, target).await
}

/// Is told of a manifest that is at the destination, and whether this run put it.
pub(super) type Done<'d> = &'d (dyn Fn(&Digest, bool) + Sync);

/// Puts one manifest: the one owner of its tries, each of which needs a permit of its own.
pub(super) async fn put(
    manifest: &Manifest,
    target: &str,
    destination: &Repository,
    gate: &CommitGate,
    done: Done<'_>,
) -> Result<Taken, Error> {
    let (run, policy) = (destination.run(), destination.client().policy);
    let mut attempt = 0;
    // The registry contradicts itself: since when, and how often.
    let mut contradicted: Option<(Instant, u32)> = None;
    loop {
        let permit = gate.permit(manifest)?;
        let error = match destination.put_manifest(permit, target).await {
            Ok(taken) => {
                done(&manifest.digest, true);
                return Ok(taken);
            }
            Err(error) => error,
        };
        let wait = match error.error_type {
            ErrorType::TagImmutable => {
                return already_there(error, attempt > 0, manifest, target, destination, done).await;
            }
            ErrorType::BlobUnavailable if lists_blobs(manifest, destination).await? => {
                return Err(no_index_of_blobs(&error));
            }
            ErrorType::BlobUnavailable => {
                gate.recheck(manifest, &run.deadline).await?;
                let (since, times) = contradicted.map_or((Instant::now(), 1), |(since, times)| (since, times + 1));
                contradicted = Some((since, times));
                gate.patience(times, since.elapsed())
            }
            _ if error.retry_above && error.class() == Class::Later => {
                attempt += 1;
                policy.backoff(attempt, error.retry_after, fastrand::f64())
            }
            _ => None,
        };
        let Some(wait) = wait else { return Err(error) };
        if run.deadline.sleep(wait).await.is_err() {
            return Err(error);
        }
        tracing::debug!(manifest = %manifest.digest, retry.reason = %error, "putting the manifest again");
        run.meter.retry();
    }
}

/// Whether `manifest` is an index that lists blobs, all of which the destination has: then they are not what it misses.
async fn lists_blobs(manifest: &Manifest, destination: &Repository) -> Result<bool, Error> {
    if !manifest.is_index || manifest.blobs.is_empty() {
        return Ok(false);
    }
    for blob in &manifest.blobs {
        if !destination.has_blob(&blob.digest).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Docker's registry takes the caches that BuildKit writes as indexes of layers; others look for manifests there, and
/// would for ever. Source: BuildKit, "Registry cache", `image-manifest`.
fn no_index_of_blobs(refused: &Error) -> Error {
    let advice =
        "it has all blobs of this index, and takes no index of blobs: write the cache with image-manifest=true";
    let message = refused.message.replace("; what is missing is sent again", "");
    Error::new(ErrorType::ManifestInvalid, format!("{message}; {advice}"))
}

/// ECR refuses to put an immutable tag again even if it holds this very digest: somebody else was faster, or, where it was
/// `tried_before`, the answer to our own put was lost.
async fn already_there(
    refused: Error,
    tried_before: bool,
    manifest: &Manifest,
    target: &str,
    destination: &Repository,
    done: Done<'_>,
) -> Result<Taken, Error> {
    // What the refusal was is said even if this look fails.
    let there = destination.head_manifest(target).await.ok().flatten().and_then(|head| head.digest);
    if there.as_ref() == Some(&manifest.digest) {
        done(&manifest.digest, tried_before);
        // What it said to whoever put it is not known.
        return Ok(Taken { listed: false });
    }
    let there = there.map_or_else(|| "another digest".to_owned(), |digest| digest.to_string());
    let text = format!("{}; it holds {there}, the source {}", refused.message, manifest.digest);
    Err(Error::new(ErrorType::TagImmutable, text))
}
