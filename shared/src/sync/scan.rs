//! The gate before the first upload, where a rule wants ECR to have scanned the image: every image that comes along must
//! have passed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, future::BoxFuture, stream};
use serde::Deserialize;

use super::Source;
use crate::{
    error::{Error, ErrorType},
    limits::ManifestRoom,
    oci::{Digest, Manifest, Reference},
    request::{Judgement, Scan, ScanGate},
};

/// Images that are asked for at once.
const AT_ONCE: usize = 4;

/// Indexes inside indexes, as deep as they are copied.
const MAX_DEPTH: usize = 8;

/// Images that are asked for, one call each. Chosen: far beyond the platforms that there are.
const MOST_IMAGES: usize = 200;

/// The least wait for another look at a scan. Chosen: a basic scan of a small image takes about so long.
const LEAST_WAIT: Duration = Duration::from_secs(30);

/// The longest one: a scan that is finished is not to wait for much longer than this.
const MOST_WAIT: Duration = Duration::from_secs(15 * 60);

/// Tells what scans found.
pub trait ScanFindings: Send + Sync {
    /// What is known of the scan of an image of the source's repository.
    fn scan<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<Scan, Error>>;

    /// How long ago it was pushed; `None`: nobody knows.
    fn age<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<Option<Duration>, Error>>;
}

/// Lets an image through the gate.
///
/// # Errors
/// `ScanPending`: it waits. `ScanRefused`: it may not go. `InvalidConfig`: the source's registry scans nothing. And what
/// asking meets.
pub(super) async fn pass(
    gate: &ScanGate,
    source: &Source,
    reference: &Reference,
    root: &Manifest,
    room: &ManifestRoom,
) -> Result<(), Error> {
    let Some(scans) = &source.scans else {
        let text = format!(
            "{reference} is not copied: its registry has no scans that could be asked for, and the rule has a scan_gate, which \
             goes with private ECR as the source alone"
        );
        return Err(Error::new(ErrorType::InvalidConfig, text));
    };
    let images = images(source, root, room).await?;
    let asked: Vec<(Digest, Judgement, Option<Duration>)> =
        stream::iter(images).map(|digest| judged(gate, scans, digest)).buffered(AT_ONCE).try_collect().await?;
    let of = |reason: &str, digest: &Digest| match *digest == root.digest {
        true => format!("{digest}: {reason}"),
        false => format!("{digest}, which index {} lists: {reason}", root.digest),
    };
    let refused: Vec<String> = asked
        .iter()
        .filter_map(|(digest, judgement, _)| match judgement {
            Judgement::Refuse(reason) => Some(of(reason, digest)),
            Judgement::Pass | Judgement::Hold(_) => None,
        })
        .collect();
    if !refused.is_empty() {
        let text = format!("{reference} is not copied, by its rule's scan_gate: {}", refused.join("; "));
        return Err(Error::new(ErrorType::ScanRefused, text));
    }
    let held = asked.iter().find_map(|(digest, judgement, age)| match judgement {
        Judgement::Hold(reason) => Some((of(reason, digest), *age)),
        Judgement::Pass | Judgement::Refuse(_) => None,
    });
    let Some((reason, age)) = held else { return Ok(()) };
    let text = format!("{reference} is held by its rule's scan_gate: {reason}");
    Err(Error::new(ErrorType::ScanPending, text).retry_after(Some(next_look(gate, age))))
}

async fn judged(
    gate: &ScanGate,
    scans: &Arc<dyn ScanFindings>,
    digest: Digest,
) -> Result<(Digest, Judgement, Option<Duration>), Error> {
    let scan = scans.scan(&digest).await?;
    // Only what may be held has to have an age.
    let age = match &scan {
        Scan::Running(_) | Scan::Missing => scans.age(&digest).await?,
        Scan::Finished(_) | Scan::Impossible(_) => None,
    };
    let judgement = gate.judge(&scan, age);
    Ok((digest, judgement, age))
}

/// When it is worth another look: after as long again as it has taken so far, and when the wait is over.
fn next_look(gate: &ScanGate, age: Option<Duration>) -> Duration {
    let wait = age.unwrap_or_default().clamp(LEAST_WAIT, MOST_WAIT);
    match age {
        Some(age) => wait.min(gate.wait().saturating_sub(age) + Duration::from_secs(1)),
        None => wait,
    }
}

/// The images that come with `root`: itself, or all that its indexes list. ECR scans no indexes, and attestations are no
/// images.
async fn images(source: &Source, root: &Manifest, room: &ManifestRoom) -> Result<Vec<Digest>, Error> {
    if !root.is_index {
        return Ok(vec![root.digest.clone()]);
    }
    let too_much = |reason: String| {
        let text = format!("image {} is not copied: {reason}, too many to ask for the scan of each", root.digest);
        Error::new(ErrorType::ManifestInvalid, text)
    };
    let mut images: Vec<Digest> = Vec::new();
    let mut level = vec![root.clone()];
    for _ in 0..MAX_DEPTH {
        let mut below = Vec::new();
        for index in &level {
            let attestations = attestations(index);
            for child in index.children.iter().filter(|child| !attestations.contains(child.digest.as_str())) {
                if child.is_index {
                    below.push(source.manifest(child.digest.as_str(), Some(&child.digest), room).await?);
                } else if !images.contains(&child.digest) {
                    images.push(child.digest.clone());
                }
                if images.len() + below.len() > MOST_IMAGES {
                    return Err(too_much(format!("it lists over {MOST_IMAGES} images")));
                }
            }
        }
        if below.is_empty() {
            return Ok(images);
        }
        level = below;
    }
    Err(too_much(format!("its indexes are nested over {MAX_DEPTH} deep")))
}

/// What an index says of what it lists, as far as the gate is concerned.
#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    manifests: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    digest: String,
    platform: Option<Platform>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

/// The attestations among the children of an index: BuildKit marks them, and gives them a platform that nobody pulls. Both
/// are asked for, so that no image passes for one.
///
/// Source: BuildKit, "Image attestation storage".
fn attestations(index: &Manifest) -> BTreeSet<String> {
    let Ok(listed) = serde_json::from_slice::<Listed>(&index.bytes) else { return BTreeSet::new() };
    let is_attestation = |entry: &Entry| {
        let marked = entry.annotations.as_ref().and_then(|found| found.get("vnd.docker.reference.type"));
        marked.is_some_and(|kind| kind == "attestation-manifest")
            && entry.platform.as_ref().is_some_and(|of| of.os == "unknown" && of.architecture == "unknown")
    };
    // What is also listed as an image is one.
    let images: Vec<&str> =
        listed.manifests.iter().filter(|entry| !is_attestation(entry)).map(|entry| entry.digest.as_str()).collect();
    let marked =
        listed.manifests.iter().filter(|entry| is_attestation(entry) && !images.contains(&entry.digest.as_str()));
    marked.map(|entry| entry.digest.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Severity;

    #[test]
    fn the_next_look_waits_as_long_again_and_no_longer_than_the_gate() {
        let gate = ScanGate { severity: Severity::High, wait_minutes: 60 };
        let after = |age: u64| next_look(&gate, Some(Duration::from_secs(age))).as_secs();
        assert_eq!((after(0), after(45), after(300), after(1800)), (30, 45, 300, 900));
        assert_eq!(after(3590), 11);
        assert_eq!(next_look(&gate, None), LEAST_WAIT);
    }
}
