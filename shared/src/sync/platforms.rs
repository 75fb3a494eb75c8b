//! Only some platforms of an image: what of its index is kept, or whether a single image is one of them.

use std::collections::HashSet;

use futures::future::BoxFuture;
use serde::Deserialize;

use super::{resolve::Root, source::Source};
use crate::{
    error::{Error, ErrorType},
    limits::{ByteBudget, ManifestRoom},
    oci::{Blob, Described, Digest, Entry, EntryKind, Manifest, Platform, Reference, cut, entries},
};

/// Indexes inside indexes that are looked into, and manifests that are read to learn what they are for: as many as are
/// copied of one image ([`super::resolve`]). Descriptors of most indexes tell it, so that none is read.
const MAX_DEPTH: usize = 8;
const MAX_READ: usize = 1000;

/// The most bytes of an image's configuration that are read to learn what it is for. Chosen: what a manifest may have; large
/// ones have some ten KiB.
const MAX_CONFIG_BYTES: u64 = 4 * 1024 * 1024;

/// What is asked of whom, while an image is filtered.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'w> {
    pub(super) source: &'w Source,
    pub(super) platforms: &'w [Platform],
    pub(super) budget: &'w ByteBudget,
    pub(super) room: &'w ManifestRoom,
}

/// The digest that an image has once it is filtered: what a destination is to hold that has `there` under the name now.
///
/// # Errors
/// `PlatformNotFound`: none of the platforms is in it. All that reading it can meet.
pub async fn filtered_digest(
    source: &Source,
    digest: &Digest,
    platforms: &[Platform],
    there: Option<&Digest>,
    budget: &ByteBudget,
) -> Result<Digest, Error> {
    let room = budget.manifests().await;
    let wanted = Wanted { source, platforms, budget, room: &room };
    let whole = source.manifest(digest.as_str(), Some(digest), &room).await?;
    Ok(wanted.of(whole, there).await?.digest)
}

impl Wanted<'_> {
    /// Finds out what the source reference points to now, filtered, as [`super::resolve::root`] does it whole; and the
    /// digest that it has at the source, where that is another one.
    ///
    /// Only the index itself tells what is left of it, so it is read even where nothing has changed: a `GET` instead of a
    /// `HEAD`.
    pub(super) async fn root(
        self,
        reference: &Reference,
        there: Option<&Digest>,
    ) -> Result<(Root, Option<Digest>), Error> {
        let whole = self.source.manifest(reference.target(), reference.digest(), self.room).await?;
        let of = whole.digest.clone();
        let root = self.of(whole, there).await?;
        let of = Some(of).filter(|of| *of != root.digest);
        let is_same = there == Some(&root.digest);
        Ok((if is_same { Root::Same(root.digest.clone(), Some(root)) } else { Root::Manifest(root) }, of))
    }

    /// The image, filtered: as it is where all of it is wanted.
    async fn of(self, whole: Manifest, there: Option<&Digest>) -> Result<Manifest, Error> {
        if whole.is_index {
            return self.of_index(whole).await;
        }
        // Single images are never changed, and what the destination has came through here.
        if there != Some(&whole.digest)
            && let Some(platform) = self.of_image(&whole).await?
            && !self.takes(&platform)
        {
            return Err(self.nothing(&whole.digest, &[platform]));
        }
        Ok(whole)
    }

    async fn of_index(self, whole: Manifest) -> Result<Manifest, Error> {
        let invalid = |reason: String| {
            let text = format!("index {} at {}: {reason}", whole.digest, self.source.repository);
            Error::new(ErrorType::ManifestInvalid, text)
        };
        let entries = entries(&whole.bytes).map_err(|error| invalid(error.to_string()))?;
        let mut parts = Vec::with_capacity(entries.len());
        let mut reads = 0;
        for entry in &entries {
            parts.push(self.part(entry, 1, &mut reads).await?);
        }
        let keep = match choice(&entries, &parts, self.platforms) {
            Choice::All => return Ok(whole),
            Choice::Some(keep) => keep,
            Choice::Nothing(there) => return Err(self.nothing(&whole.digest, &there)),
        };
        let bytes = cut(&whole.bytes, &keep).ok_or_else(|| invalid("its entries can't be told apart".to_owned()))?;
        let digest = Digest::of(&bytes);
        let claim = self.source.repository.run().deadline.bound(self.room.claim(bytes.len() as u64)).await;
        let claim = claim.map_err(|passed| Error::new(ErrorType::DeadlineExceeded, passed.to_string()))?;
        let claim = claim.map_err(|reason| Error::new(ErrorType::ManifestTooLarge, reason.to_string()))?;
        Manifest::parse(claim.hold(bytes.into()), digest, Some(&whole.media_type))
            .map_err(|error| invalid(error.to_string()))
    }

    /// What an entry is for, and what is in it; only those that don't say it are read.
    fn part<'a>(self, entry: &'a Entry, depth: usize, reads: &'a mut usize) -> BoxFuture<'a, Result<Part, Error>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            let mut part = Part { platforms: Vec::new(), digests: HashSet::from([entry.digest.clone()]) };
            match &entry.kind {
                EntryKind::For(platform) => part.platforms.push(platform.clone()),
                EntryKind::Attests(_) | EntryKind::Other => {}
                EntryKind::Untold => {
                    *reads += 1;
                    if depth > MAX_DEPTH || *reads > MAX_READ {
                        let text = format!(
                            "{}: what its platforms are can't be told: indexes are nested over {MAX_DEPTH} deep, or over \
                             {MAX_READ} manifests don't say it",
                            self.source.repository
                        );
                        return Err(Error::new(ErrorType::ManifestInvalid, text));
                    }
                    let digest: Digest = entry.digest.parse().map_err(|error: crate::oci::DigestError| {
                        Error::new(ErrorType::ManifestInvalid, format!("{}: {error}", self.source.repository))
                    })?;
                    let manifest = self.source.manifest(digest.as_str(), Some(&digest), self.room).await?;
                    if !manifest.is_index {
                        part.platforms.extend(self.of_image(&manifest).await?);
                        return Ok(part);
                    }
                    let inside = entries(&manifest.bytes).map_err(|error| {
                        let text = format!("index {digest} at {}: {error}", self.source.repository);
                        Error::new(ErrorType::ManifestInvalid, text)
                    })?;
                    for entry in &inside {
                        let inner = self.part(entry, depth + 1, reads).await?;
                        part.platforms.extend(inner.platforms);
                        part.digests.extend(inner.digests);
                    }
                }
            }
            Ok(part)
        })
    }

    /// The platform that a single image's configuration names; `None`: it is no image but an artifact, which is for none.
    async fn of_image(self, manifest: &Manifest) -> Result<Option<Platform>, Error> {
        let Some(config) = serde_json::from_slice::<Image>(&manifest.bytes).ok().and_then(|image| image.config) else {
            return Ok(None);
        };
        let of_image = IMAGE_CONFIGS.contains(&config.media_type.as_str());
        let blob = manifest.blobs.iter().find(|blob| of_image && blob.digest.as_str() == config.digest);
        let Some(blob) = blob else { return Ok(None) };
        let bytes = self.config(manifest, blob).await?;
        let described: Described = serde_json::from_slice(&bytes).map_err(|error| {
            let text = format!(
                "image {} at {}: its configuration {} is none ({error})",
                manifest.digest, self.source.repository, blob.digest
            );
            Error::new(ErrorType::ManifestInvalid, text)
        })?;
        Ok(described.platform())
    }

    async fn config(self, manifest: &Manifest, blob: &Blob) -> Result<bytes::Bytes, Error> {
        if blob.size > MAX_CONFIG_BYTES {
            let text = format!(
                "image {} at {}: its configuration has {} bytes, over the {MAX_CONFIG_BYTES} that are read to learn its \
                 platform",
                manifest.digest, self.source.repository, blob.size
            );
            return Err(Error::new(ErrorType::ManifestInvalid, text));
        }
        match Box::pin(self.source.repository.small_blob(blob, self.budget)).await {
            Err(error) => Err(self.source.explained(error, manifest.digest.as_str()).await),
            read => read,
        }
    }

    fn takes(self, platform: &Platform) -> bool {
        self.platforms.iter().any(|wanted| wanted.takes(platform))
    }

    fn nothing(self, digest: &Digest, there: &[Platform]) -> Error {
        let list = |platforms: &[Platform]| {
            let mut seen = HashSet::new();
            let each = platforms.iter().map(ToString::to_string).filter(|text| seen.insert(text.clone()));
            each.collect::<Vec<_>>().join(", ")
        };
        let text = format!(
            "image {digest} at {} has none of the platforms {}; it has {}: correct `platforms`, or push the missing one",
            self.source.repository,
            list(self.platforms),
            list(there)
        );
        Error::new(ErrorType::PlatformNotFound, text)
    }
}

/// Whether a manifest's configuration is an image's, so that somebody may run it.
pub(super) fn has_image_config(manifest: &Manifest) -> bool {
    let config = serde_json::from_slice::<Image>(&manifest.bytes).ok().and_then(|image| image.config);
    config.is_some_and(|config| IMAGE_CONFIGS.contains(&config.media_type.as_str()))
}

/// The configurations that tell a platform.
///
/// Source: OCI image-spec, "Image Configuration"; Docker image manifest v2 schema 2.
const IMAGE_CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

#[derive(Deserialize)]
struct Image {
    config: Option<Config>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    media_type: String,
    digest: String,
}

/// What is known of an entry.
struct Part {
    /// What it is for; none: for all, as artifacts are.
    platforms: Vec<Platform>,
    /// Its digest, and those of what is in it.
    digests: HashSet<String>,
}

/// What of an index is kept.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    All,
    /// For each entry whether it is.
    Some(Vec<bool>),
    /// None of the platforms is there; these are.
    Nothing(Vec<Platform>),
}

/// Chooses the entries of an index. Pure.
///
/// Kept is what is for a wanted platform, what attests it, and what is for no platform at all, such as a chart. An index that
/// doesn't say what it is for is kept whole if anything in it is wanted: to cut it too would give a third digest, that
/// nothing at the source refers to. What attests an image that is not kept would lead nowhere.
fn choice(entries: &[Entry], parts: &[Part], platforms: &[Platform]) -> Choice {
    let wanted = |part: &Part| part.platforms.iter().any(|there| platforms.iter().any(|wanted| wanted.takes(there)));
    let told = || parts.iter().flat_map(|part| &part.platforms).filter(|platform| !platform.is_unknown());
    if told().next().is_none() {
        return Choice::All;
    }
    if !parts.iter().any(wanted) {
        return Choice::Nothing(told().cloned().collect());
    }
    let is_kept = |part: &Part| part.platforms.is_empty() || wanted(part);
    let attests = |entry: &Entry| matches!(entry.kind, EntryKind::Attests(_));
    let images = entries.iter().zip(parts).filter(|(entry, part)| !attests(entry) && is_kept(part));
    let kept: HashSet<&String> = images.flat_map(|(_, part)| &part.digests).collect();
    let keep = entries.iter().zip(parts).map(|(entry, part)| match &entry.kind {
        EntryKind::Attests(image) => kept.contains(image),
        EntryKind::For(_) | EntryKind::Untold | EntryKind::Other => is_kept(part),
    });
    let keep: Vec<bool> = keep.collect();
    if keep.iter().all(|keep| *keep) { Choice::All } else { Choice::Some(keep) }
}

#[cfg(test)]
#[path = "platforms_tests.rs"]
mod tests;
