//! The gate before the first upload, where a rule wants ECR to have scanned the image: every image that comes along must
//! have passed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::{StreamExt, TryStreamExt, future::BoxFuture, stream};
use serde::Deserialize;

use super::{Source, platforms::has_image_config};
use crate::{
    error::{Error, ErrorType},
    limits::ManifestRoom,
    oci::{AttachedTag, Digest, Manifest},
    request::{Judgement, Scan, ScanGate, Severity, SyncRequest},
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
    /// What is known of the scan of an image of the source's repository, for whom findings of `refused` and above matter.
    fn scan<'a>(&'a self, digest: &'a Digest, refused: Severity) -> BoxFuture<'a, Result<Scan, Error>>;

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
    request: &SyncRequest,
    root: &Manifest,
    room: &ManifestRoom,
) -> Result<(), Error> {
    let reference = &request.source;
    let is_tagged = reference.tag().and_then(AttachedTag::of).is_some();
    let Listed { mut images, attestations } = listed(source, root, room).await?;
    // What says that it is no image is asked for all the same if it is one. Under a tag for what is attached all say so.
    let said =
        if is_tagged { std::mem::take(&mut images).into_iter().chain(attestations).collect() } else { attestations };
    images.extend(with_files(source, root, said, room).await?);
    if is_tagged && images.is_empty() {
        return Ok(());
    }
    let Some(scans) = &source.scans else {
        let text = format!(
            "{reference} is not copied: its registry has no scans that could be asked for, and the rule has a scan_gate, which \
             goes with private ECR as the source alone"
        );
        return Err(Error::new(ErrorType::InvalidConfig, text));
    };
    if images.is_empty() {
        // What it lists never changes, so that there is nothing to wait for.
        let text = format!(
            "{reference} is not copied, by its rule's scan_gate: index {} lists no image that a scan could be asked for; \
             leave scan_gate out of the rule, or such images by its tags",
            root.digest
        );
        return Err(Error::new(ErrorType::ScanRefused, text));
    }
    let since = since_asked(request, SystemTime::now());
    let asked: Vec<(Digest, Judgement, Option<Duration>)> =
        stream::iter(images).map(|digest| judged(gate, scans, digest, since)).buffered(AT_ONCE).try_collect().await?;
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
    since_asked: Option<Duration>,
) -> Result<(Digest, Judgement, Option<Duration>), Error> {
    let scan = scans.scan(&digest, gate.severity).await?;
    let waited = match &scan {
        // Whoever has just asked may wait, however old the image is.
        Scan::Running(_) | Scan::Missing if since_asked.is_some() && gate.holds(since_asked) => since_asked,
        Scan::Running(_) | Scan::Missing => least(scans.age(&digest).await?, since_asked),
        // Only what may be held has to have an age.
        Scan::Finished(_) | Scan::Impossible(_) => None,
    };
    let judgement = gate.judge(&scan, waited);
    Ok((digest, judgement, waited))
}

/// How long ago an image was last asked for: by its push's event, or by the message, which keeps its time however often it is
/// received. A tag may be put on an old image, and a message may come back from a dead-letter queue, or out of a backfill.
fn since_asked(request: &SyncRequest, now: SystemTime) -> Option<Duration> {
    let since = |at: Option<SystemTime>| at.map(|at| now.duration_since(at).unwrap_or_default());
    least(since(request.pushed_at), since(request.asked_at))
}

/// The shorter of two times; one that nobody knows doesn't count.
fn least(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.into_iter().chain(other).min()
}

/// Those that hold an image's files, or list others. The rest is what is attached to an image: a signature, an SBOM, an
/// attestation. ECR scans none, and it has nothing to scan. Neither a tag nor a list makes it one, as anybody may write them.
async fn with_files(
    source: &Source,
    root: &Manifest,
    said: Vec<Digest>,
    room: &ManifestRoom,
) -> Result<Vec<Digest>, Error> {
    let read = |digest: Digest| async move {
        let is_one = match digest == root.digest {
            true => has_files(root),
            false => {
                let manifest = source.manifest(digest.as_str(), Some(&digest), room).await?;
                manifest.is_index || has_files(&manifest)
            }
        };
        Ok::<_, Error>(is_one.then_some(digest))
    };
    let found: Vec<Option<Digest>> = stream::iter(said).map(read).buffered(AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// Whether a manifest is an image with files, which somebody may run: told by its layers, as clients ask little of the type of a
/// configuration. Of artifacts that call any file a layer, as ORAS makes them, the configuration is `{}`, which runs nowhere.
///
/// Source: OCI image specification, "Media types", "Guidance for an Empty Descriptor"; Docker "Image Manifest Version 2, Schema 2".
pub(super) fn has_files(manifest: &Manifest) -> bool {
    const OF_FILES: [&str; 2] = ["application/vnd.oci.image.", "application/vnd.docker."];
    // What Docker takes for layers besides.
    const OF_ANYTHING: [&str; 3] = ["", "application/octet-stream", "text/html"];
    let is_file_system = |of: &String| {
        OF_FILES.iter().any(|prefix| of.starts_with(prefix))
            || has_image_config(manifest) && OF_ANYTHING.contains(&of.as_str())
    };
    let empty = Digest::of(b"{}");
    let runs = manifest.blobs.first().is_some_and(|config| config.digest != empty);
    runs && manifest.layer_types.iter().any(is_file_system)
}

/// When it is worth another look: after as long again as it has taken so far, and when the wait is over.
fn next_look(gate: &ScanGate, age: Option<Duration>) -> Duration {
    let wait = age.unwrap_or_default().clamp(LEAST_WAIT, MOST_WAIT);
    match age {
        Some(age) => wait.min(gate.wait().saturating_sub(age) + Duration::from_secs(1)),
        None => wait,
    }
}

/// What comes with a root.
struct Listed {
    images: Vec<Digest>,
    /// What its indexes say to be attestations, which are no images.
    attestations: Vec<Digest>,
}

/// What comes with `root`: itself, or all that its indexes list. ECR scans no indexes.
async fn listed(source: &Source, root: &Manifest, room: &ManifestRoom) -> Result<Listed, Error> {
    if !root.is_index {
        return Ok(Listed { images: vec![root.digest.clone()], attestations: Vec::new() });
    }
    let too_much = |reason: String| {
        let text = format!("image {} is not copied: {reason}, too many to ask for the scan of each", root.digest);
        Error::new(ErrorType::ManifestInvalid, text)
    };
    let (mut images, mut attestations): (Vec<Digest>, Vec<Digest>) = (Vec::new(), Vec::new());
    let mut level = vec![root.clone()];
    for _ in 0..MAX_DEPTH {
        let mut below = Vec::new();
        for index in &level {
            let marked = marked(index);
            for child in &index.children {
                if marked.contains(child.digest.as_str()) {
                    attestations.push(child.digest.clone());
                } else if child.is_index {
                    below.push(source.manifest(child.digest.as_str(), Some(&child.digest), room).await?);
                } else if !images.contains(&child.digest) {
                    images.push(child.digest.clone());
                }
                if images.len().max(attestations.len()) + below.len() > MOST_IMAGES {
                    return Err(too_much(format!("it lists over {MOST_IMAGES} images")));
                }
            }
        }
        if below.is_empty() {
            return Ok(Listed { images, attestations });
        }
        level = below;
    }
    Err(too_much(format!("its indexes are nested over {MAX_DEPTH} deep")))
}

/// What an index says of what it lists, as far as the gate is concerned.
#[derive(Deserialize)]
struct Entries {
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

impl Platform {
    /// Nobody pulls it.
    fn is_unknown(&self) -> bool {
        self.os == "unknown" && self.architecture == "unknown"
    }
}

/// The attestations among the children of an index: BuildKit marks them, and gives them a platform that nobody pulls. Both
/// are asked for, so that no image passes for one.
///
/// Source: BuildKit, "Image attestation storage".
fn marked(index: &Manifest) -> BTreeSet<String> {
    let Ok(listed) = serde_json::from_slice::<Entries>(&index.bytes) else { return BTreeSet::new() };
    let is_attestation = |entry: &Entry| {
        let marked = entry.annotations.as_ref().and_then(|found| found.get("vnd.docker.reference.type"));
        marked.is_some_and(|kind| kind == "attestation-manifest")
            && entry.platform.as_ref().is_some_and(Platform::is_unknown)
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

    fn manifest(json: &serde_json::Value) -> Manifest {
        let bytes = json.to_string().into_bytes();
        let digest = Digest::of(&bytes);
        Manifest::parse(bytes.into(), digest, None).unwrap()
    }

    fn request(source: &str, pushed: Option<u64>, asked: Option<u64>) -> SyncRequest {
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        SyncRequest {
            source: source.parse().unwrap(),
            destination: "quay.io/b/app:v1".parse().unwrap(),
            expected: None,
            options: crate::request::SyncOptions::default(),
            pushed_at: pushed.map(at),
            asked_at: asked.map(at),
            repeated: false,
            tried: false,
            heard: false,
            attached: false,
        }
    }

    #[test]
    fn the_wait_is_counted_from_what_asked_last() {
        let since = |pushed, asked| {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
            since_asked(&request("quay.io/a/app:v1", pushed, asked), now).map(|since| since.as_secs())
        };
        assert_eq!(since(None, None), None);
        assert_eq!((since(Some(100), None), since(None, Some(200))), (Some(900), Some(800)));
        assert_eq!((since(Some(100), Some(990)), since(Some(990), Some(100))), (Some(10), Some(10)));
        assert_eq!(since(Some(1100), None), Some(0), "another clock");
        assert_eq!(least(Some(Duration::from_secs(5)), None), Some(Duration::from_secs(5)));
    }

    #[test]
    fn an_image_with_files_is_one_whatever_its_tag() {
        let blob = |of: &str| serde_json::json!({ "mediaType": of, "digest": Digest::of(b"x").as_str(), "size": 1 });
        let image = |config: &str, layer: &str| {
            manifest(&serde_json::json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": blob(config),
                "layers": [blob(layer)],
            }))
        };
        let (of_image, files) =
            ("application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip");
        assert!(has_files(&image(of_image, files)));
        let docker = "application/vnd.docker.image.rootfs.diff.tar.gzip";
        assert!(has_files(&image("application/vnd.docker.container.image.v1+json", docker)));
        // cosign's artifacts call themselves images, and ORAS calls any file a layer of one.
        assert!(!has_files(&image(of_image, "application/vnd.dev.cosign.simplesigning.v1+json")));
        let empty = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest::of(b"{}").as_str(), "size": 2 },
            "layers": [blob(files)],
        });
        assert!(!has_files(&manifest(&empty)));
        // Docker asks nothing of the configuration's type.
        assert!(has_files(&image("application/vnd.oci.empty.v1+json", files)));
        assert!(has_files(&image(of_image, "application/octet-stream")));
        assert!(!has_files(&image("application/vnd.cncf.helm.config.v1+json", "application/octet-stream")));
    }

    #[test]
    fn the_next_look_waits_as_long_again_and_no_longer_than_the_gate() {
        let gate = ScanGate { severity: Severity::High, wait_minutes: 60 };
        let after = |age: u64| next_look(&gate, Some(Duration::from_secs(age))).as_secs();
        assert_eq!((after(0), after(45), after(300), after(1800)), (30, 45, 300, 900));
        assert_eq!(after(3590), 11);
        assert_eq!(next_look(&gate, None), LEAST_WAIT);
    }
}
