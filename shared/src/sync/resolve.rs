//! From a reference to every manifest that has to be put, each once, children before what lists them.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt, stream};

use super::{
    Destination,
    presence::{Presence, is_small},
    source::Source,
};
use crate::{
    error::{Error, ErrorType},
    limits::{ManifestRoom, TooManyManifests},
    oci::{Child, Digest, Manifest, Reference},
    registry::Repository,
};

/// Indexes inside indexes. Buildx makes one level, multi-arch artifacts two; nobody is known to make more than three.
const MAX_DEPTH: usize = 8;

/// Manifests of one image. Chosen: ten times the largest official index with its attestations.
const MAX_MANIFESTS: usize = 1000;

/// Manifests that are asked for at once.
const AT_ONCE: usize = 8;

/// What a source reference points to now, seen from the destination.
pub(super) enum Root {
    /// What the destination has already; the manifest itself, where it was read.
    Same(Digest, Option<Manifest>),
    /// Something else.
    Manifest(Manifest),
}

impl Root {
    /// A manifest of the source, where the destination has `there`.
    pub(super) fn of(manifest: Manifest, there: Option<&Digest>) -> Self {
        if there == Some(&manifest.digest) {
            Self::Same(manifest.digest.clone(), Some(manifest))
        } else {
            Self::Manifest(manifest)
        }
    }
}

/// An image's manifests.
#[derive(Debug)]
pub(super) struct ManifestTree {
    /// Those to put, children before what lists them; the root is the last.
    pub(super) manifests: Vec<Manifest>,
    /// Those that the destination has already; they and all below them are left out of `manifests`.
    pub(super) present: Vec<Digest>,
    /// Whether the destination has the root's whole content, so that only a tag is to be set.
    pub(super) only_tag: bool,
}

impl ManifestTree {
    pub(super) fn root(&self) -> Option<&Manifest> {
        self.manifests.last()
    }
}

/// Finds out what the source reference points to now.
///
/// The destination was asked first: where it has nothing under the name, the source's manifest is needed anyway and a
/// `HEAD` would be a request too many; where it has something, a `HEAD` may be all that it takes. Not where its manifest
/// is to be `read` in any case.
pub(super) async fn root(
    source: &Source,
    reference: &Reference,
    there: Option<&Digest>,
    reads: bool,
    room: &ManifestRoom,
) -> Result<Root, Error> {
    let target = reference.target();
    let now = match (reference.digest(), there) {
        (Some(digest), _) => Some(digest.clone()),
        (None, Some(_)) if !reads => {
            let head = source.repository.head_manifest(target).await?;
            let Some(head) = head else {
                let text =
                    format!("{reference} is not at the source (any more); push it again, or correct the reference");
                return Err(source.explained(Error::new(ErrorType::SourceNotFound, text), target).await);
            };
            head.digest
        }
        (None, _) => None,
    };
    let manifest = match now {
        Some(now) if there == Some(&now) && !reads => return Ok(Root::Same(now, None)),
        // By digest, so that what was compared is what is copied.
        Some(now) => source.manifest(now.as_str(), Some(&now), room).await?,
        None => source.manifest(target, None, room).await?,
    };
    Ok(Root::of(manifest, there))
}

/// Reads the whole image below `root`. Where the destination's word is taken, which is then in `presence`, a manifest that
/// it has is not read, nor what is below it, since no registry takes an image before its blobs. An index proves its children
/// only where the registry keeps them ([`crate::provider::Provider::keeps_children`]); elsewhere they are asked for one by one.
pub(super) async fn tree(
    source: &Source,
    destination: &Destination,
    root: Manifest,
    mut presence: Option<&mut Presence>,
    room: &ManifestRoom,
) -> Result<ManifestTree, Error> {
    if let Some(presence) = &mut presence
        && is_whole(destination, &root, presence, room).await?
    {
        return Ok(ManifestTree { manifests: vec![root], present: Vec::new(), only_tag: true });
    }
    let mut seen = HashSet::from([root.digest.clone()]);
    let mut bytes = root.bytes.len();
    let mut present = Vec::new();
    let mut levels = vec![vec![root]];
    loop {
        let children: Vec<Child> = levels
            .last()
            .into_iter()
            .flatten()
            .flat_map(|manifest| &manifest.children)
            .filter(|child| seen.insert(child.digest.clone()))
            .cloned()
            .collect();
        if children.is_empty() {
            break;
        }
        if levels.len() == MAX_DEPTH {
            return Err(too_much(
                &source.repository,
                &levels,
                &format!("its indexes are nested over {MAX_DEPTH} deep"),
            ));
        }
        if seen.len() > MAX_MANIFESTS {
            return Err(too_much(&source.repository, &levels, &format!("it has over {MAX_MANIFESTS} manifests")));
        }
        let declared: u64 = children.iter().map(|child| child.size).fold(0, u64::saturating_add);
        if declared.saturating_add(bytes as u64) > room.limit() {
            let reason = TooManyManifests { limit: room.limit() }.to_string();
            return Err(too_much(&source.repository, &levels, &reason));
        }
        if let Some(presence) = &mut presence {
            presence.ask(destination, small(&children)).await?;
        }
        let found: Vec<Found> = stream::iter(children)
            .map(|child| self::child(source, destination, child, presence.as_deref(), room))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let mut level = Vec::new();
        for child in found {
            match child {
                Found::There(digest) => present.push(digest),
                Found::Read(manifest) => level.push(manifest),
            }
        }
        bytes += level.iter().map(|manifest| manifest.bytes.len()).sum::<usize>();
        levels.push(level);
    }
    let manifests = children_first(levels.into_iter().flatten().collect());
    Ok(ManifestTree { manifests, present, only_tag: false })
}

/// What a destination that tells of many manifests at once is asked of an image: of an index, which is not refused for its
/// size; a single one is told by its blobs.
pub(super) fn asked_together(root: &Manifest) -> Vec<String> {
    if !root.is_index || root.children.len() > MAX_MANIFESTS {
        return Vec::new();
    }
    let own = is_small(root.bytes.len() as u64).then(|| root.digest.to_string());
    own.into_iter().chain(small(&root.children)).collect()
}

fn small(children: &[Child]) -> impl Iterator<Item = String> {
    children.iter().filter(|child| is_small(child.size)).map(|child| child.digest.to_string())
}

/// Whether the destination has the root's manifest already, where that proves that it has the whole image.
async fn is_whole(
    destination: &Destination,
    root: &Manifest,
    presence: &mut Presence,
    room: &ManifestRoom,
) -> Result<bool, Error> {
    let provider = destination.repository.client().provider;
    // At ECR one batch call tells of all blobs of a single image; elsewhere one question for the manifest may spare
    // one for each blob, and an index's children besides.
    let proves = if root.is_index { provider.keeps_children() } else { !provider.tells_of_many_blobs_at_once() };
    if !proves {
        return Ok(false);
    }
    presence.ask(destination, asked_together(root)).await?;
    Ok(presence.there(destination, root.digest.as_str(), room).await?.is_some())
}

/// A child of an index.
enum Found {
    /// The destination has it, and all below it.
    There(Digest),
    /// It has to be put.
    Read(Manifest),
}

/// Reads one child, unless the destination has it.
async fn child(
    source: &Source,
    destination: &Destination,
    child: Child,
    presence: Option<&Presence>,
    room: &ManifestRoom,
) -> Result<Found, Error> {
    if let Some(presence) = presence
        && holds(&destination.repository, &child, presence).await?
    {
        return Ok(Found::There(child.digest));
    }
    let manifest = source.manifest(child.digest.as_str(), Some(&child.digest), room).await?;
    if manifest.bytes.len() as u64 != child.size {
        return Err(Error::new(
            ErrorType::DigestMismatch,
            format!(
                "{}: manifest {} has {} bytes, the index that lists it says {}",
                source.repository,
                child.digest,
                manifest.bytes.len(),
                child.size
            ),
        ));
    }
    Ok(Found::Read(manifest))
}

/// Whether the destination has a child, and all below it.
async fn holds(repository: &Repository, child: &Child, presence: &Presence) -> Result<bool, Error> {
    // Known beforehand at ECR alone, which keeps the children of what it has.
    if let Some(known) = presence.of(child.digest.as_str()) {
        return Ok(known.is_some());
    }
    let keeps_children = repository.client().provider.keeps_children();
    let head = repository.head_manifest(child.digest.as_str()).await?;
    Ok(head.is_some_and(|head| !(head.is_index || child.is_index) || keeps_children))
}

/// Orders manifests so that each stands after all that it lists. The first one is the root, and ends last.
fn children_first(manifests: Vec<Manifest>) -> Vec<Manifest> {
    let mut ordered = Vec::with_capacity(manifests.len());
    let mut left = manifests;
    while !left.is_empty() {
        let waiting: HashSet<Digest> = left.iter().map(|manifest| manifest.digest.clone()).collect();
        let (ready, blocked): (Vec<_>, Vec<_>) = left
            .into_iter()
            .partition(|manifest| !manifest.children.iter().any(|child| waiting.contains(&child.digest)));
        if ready.is_empty() {
            // A circle of digests; no bytes can make one, and every manifest here was verified.
            ordered.extend(blocked);
            break;
        }
        ordered.extend(ready);
        left = blocked;
    }
    ordered
}

fn too_much(source: &Repository, levels: &[Vec<Manifest>], reason: &str) -> Error {
    let root = levels.first().and_then(|level| level.first()).map(|root| root.digest.to_string()).unwrap_or_default();
    Error::new(ErrorType::ManifestInvalid, format!("image {root} at {source} is not copied: {reason}"))
}
