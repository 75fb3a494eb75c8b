//! A manifest: its exact bytes, and a view of what it needs.

use bytes::Bytes;
use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType};
use serde::Deserialize;

use super::Digest;

/// The `Accept` header of a manifest read: every type that can be copied, so that no registry converts.
///
/// ECR converts between OCI and Docker types when a tag is pulled without its stored type in `Accept`, which
/// changes the digest. The types at the end are kept for artifacts of the time before OCI 1.1.
pub const MANIFEST_ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.oci.artifact.manifest.v1+json, \
     application/vnd.cncf.oras.artifact.manifest.v1+json, \
     */*";

/// One manifest of any kind that can be copied. The bytes are never written anew: copying is verbatim.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Digest of `bytes`.
    pub digest: Digest,
    /// The media type that the destination is told.
    pub media_type: String,
    /// The exact bytes.
    pub bytes: Bytes,
    /// The manifests that an index lists, in its order; empty for an image or artifact.
    pub children: Vec<Child>,
    /// The blobs that it needs: of an image its config, then its layers; of an index those that it lists beside manifests,
    /// as BuildKit's caches do. Each digest once.
    pub blobs: Vec<Blob>,
    /// Whether this is an index (a Docker manifest list included).
    pub is_index: bool,
    /// The manifest that this one is attached to, where it says one.
    pub subject: Option<Digest>,
    /// What kind of artifact it is: its `artifactType`, or its configuration's media type.
    pub artifact_type: Option<String>,
    /// The media types of its layers: of cosign's artifacts, which call themselves images, they are what tells.
    pub layer_types: Vec<String>,
}

/// A manifest that an index lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes, as the index declares it.
    pub size: u64,
    /// Whether the index calls it an index.
    pub is_index: bool,
}

/// A blob that a manifest needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes, as the manifest declares it. Verified while the bytes pass; never trusted to allocate.
    pub size: u64,
    /// A non-distributable layer that names where else to get it: registries don't hold it.
    pub foreign: bool,
}

/// Bytes are no manifest that can be copied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON of the shape that its media type promises.
    #[error("is not valid: {0}")]
    Invalid(String),
    /// A kind of manifest that is not copied.
    #[error("has the media type `{media_type}`: {reason}")]
    Unsupported {
        /// The media type, or what stood for one.
        media_type: String,
        /// Why it can't be copied, and what to do.
        reason: &'static str,
    },
}

/// What is read of any manifest before its kind is known.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    schema_version: Option<u64>,
    media_type: Option<String>,
    config: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    manifests: Option<serde::de::IgnoredAny>,
    blobs: Option<serde::de::IgnoredAny>,
    artifact_type: Option<String>,
    subject: Option<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    digest: Option<String>,
}

/// The artifact manifests of before OCI 1.1 (`application/vnd.oci.artifact.manifest.v1+json` and ORAS's).
#[derive(Deserialize)]
struct ArtifactManifest {
    #[serde(default)]
    blobs: Vec<Descriptor>,
}

const SCHEMA_1: &str = "Docker schema 1 is not copied; push the image again with a current client";

impl Manifest {
    /// Reads `bytes`, whose digest the caller has verified, under the answer's `Content-Type`.
    ///
    /// # Errors
    /// [`ManifestError`]: the bytes don't parse, contradict their `Content-Type`, or are Docker schema 1.
    pub fn parse(bytes: Bytes, digest: Digest, content_type: Option<&str>) -> Result<Self, ManifestError> {
        let invalid = |error: serde_json::Error| ManifestError::Invalid(error.to_string());
        let probe: Probe = serde_json::from_slice(&bytes).map_err(invalid)?;
        // Parameters are to be ignored, and some registries answer with a type that says nothing.
        let header = content_type
            .map(|value| value.split(';').next().unwrap_or(value).trim())
            .filter(|value| !matches!(*value, "" | "application/json" | "text/plain" | "application/octet-stream"));
        let declared = probe.media_type.as_deref().filter(|value| !value.is_empty());
        if let (Some(header), Some(declared)) = (header, declared)
            && header != declared
        {
            return Err(ManifestError::Invalid(format!(
                "its mediaType `{declared}` contradicts the answer's Content-Type `{header}`"
            )));
        }
        let media_type = declared.or(header).unwrap_or_default().to_owned();
        let unsupported = |reason| ManifestError::Unsupported { media_type: media_type.clone(), reason };
        if probe.schema_version == Some(1) || media_type.starts_with("application/vnd.docker.distribution.manifest.v1")
        {
            return Err(unsupported(SCHEMA_1));
        }
        let shape = Shape::of(&media_type, &probe)
            .ok_or_else(|| unsupported("neither an image, nor an index, nor an artifact that is known"))?;
        let media_type = if media_type.is_empty() { shape.default_media_type().to_owned() } else { media_type };

        let mut children = Vec::new();
        let mut blobs: Vec<Blob> = Vec::new();
        let mut artifact_type = probe.artifact_type.filter(|text| !text.is_empty());
        let mut layer_types = Vec::new();
        match shape {
            Shape::Index => {
                let index: ImageIndex = serde_json::from_slice(&bytes).map_err(invalid)?;
                for descriptor in index.manifests() {
                    let media_type = descriptor.media_type().to_string();
                    if is_blob(&media_type) {
                        push_blob(&mut blobs, descriptor)?;
                        continue;
                    }
                    let is_index = matches!(Shape::known(&media_type), Some(Shape::Index));
                    children.push(Child { digest: digest_of(descriptor)?, size: descriptor.size(), is_index });
                }
            }
            Shape::Image => {
                let image: ImageManifest = serde_json::from_slice(&bytes).map_err(invalid)?;
                for descriptor in std::iter::once(image.config()).chain(image.layers()) {
                    push_blob(&mut blobs, descriptor)?;
                }
                artifact_type = artifact_type.or_else(|| Some(image.config().media_type().to_string()));
                layer_types = image.layers().iter().map(|layer| layer.media_type().to_string()).collect();
                layer_types.sort_unstable();
                layer_types.dedup();
            }
            Shape::Artifact => {
                let artifact: ArtifactManifest = serde_json::from_slice(&bytes).map_err(invalid)?;
                for descriptor in &artifact.blobs {
                    push_blob(&mut blobs, descriptor)?;
                }
            }
        }
        let is_index = matches!(shape, Shape::Index);
        // Nothing is asked of a subject but to be found by it, so one that is no digest is none.
        let subject = probe.subject.and_then(|subject| subject.digest?.parse().ok());
        Ok(Self { digest, media_type, bytes, children, blobs, is_index, subject, artifact_type, layer_types })
    }
}

/// How a manifest is laid out.
enum Shape {
    Index,
    Image,
    Artifact,
}

impl Shape {
    /// By media type where it is known; else by the members it has, as OCI manifests need not declare a type.
    fn of(media_type: &str, probe: &Probe) -> Option<Self> {
        Self::known(media_type).or_else(|| {
            if probe.manifests.is_some() {
                Some(Self::Index)
            } else if probe.config.is_some() && probe.layers.is_some() {
                Some(Self::Image)
            } else {
                probe.blobs.as_ref().map(|_| Self::Artifact)
            }
        })
    }

    fn known(media_type: &str) -> Option<Self> {
        match media_type {
            "application/vnd.oci.image.index.v1+json" | "application/vnd.docker.distribution.manifest.list.v2+json" => {
                Some(Self::Index)
            }
            "application/vnd.oci.image.manifest.v1+json" | "application/vnd.docker.distribution.manifest.v2+json" => {
                Some(Self::Image)
            }
            "application/vnd.oci.artifact.manifest.v1+json" | "application/vnd.cncf.oras.artifact.manifest.v1+json" => {
                Some(Self::Artifact)
            }
            _ => None,
        }
    }

    fn default_media_type(&self) -> &'static str {
        match self {
            Self::Index => "application/vnd.oci.image.index.v1+json",
            Self::Image => "application/vnd.oci.image.manifest.v1+json",
            Self::Artifact => "application/vnd.oci.artifact.manifest.v1+json",
        }
    }
}

fn digest_of(descriptor: &Descriptor) -> Result<Digest, ManifestError> {
    descriptor
        .digest()
        .to_string()
        .parse()
        .map_err(|error: super::DigestError| ManifestError::Invalid(error.to_string()))
}

fn push_blob(blobs: &mut Vec<Blob>, descriptor: &Descriptor) -> Result<(), ManifestError> {
    let digest = digest_of(descriptor)?;
    let has_urls = descriptor.urls().as_ref().is_some_and(|urls| !urls.is_empty());
    let blob =
        Blob { digest, size: descriptor.size(), foreign: has_urls && non_distributable(descriptor.media_type()) };
    match blobs.iter().find(|seen| seen.digest == blob.digest) {
        None => blobs.push(blob),
        Some(seen) if seen.size == blob.size => {}
        Some(seen) => {
            return Err(ManifestError::Invalid(format!(
                "it lists {} with two sizes, {} and {} bytes",
                blob.digest, seen.size, blob.size
            )));
        }
    }
    Ok(())
}

/// Whether an index calls it a layer or a configuration, so that it is no manifest.
///
/// Source: OCI image-spec and Docker's image manifest v2 schema 2, media types; BuildKit, "Registry cache".
pub(super) fn is_blob(media_type: &str) -> bool {
    const FAMILIES: [&str; 6] = [
        "application/vnd.oci.image.layer.",
        "application/vnd.oci.image.config.",
        "application/vnd.docker.image.rootfs.",
        "application/vnd.docker.container.image.",
        "application/vnd.buildkit.cacheconfig.",
        "application/vnd.oci.empty.",
    ];
    FAMILIES.iter().any(|family| media_type.starts_with(family))
}

/// Source: OCI image-spec, "Non-Distributable Layers"; Docker image manifest v2 schema 2, `foreign` layers.
fn non_distributable(media_type: &MediaType) -> bool {
    let text = media_type.to_string();
    text.starts_with("application/vnd.oci.image.layer.nondistributable.v1.")
        || text.starts_with("application/vnd.docker.image.rootfs.foreign.")
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
