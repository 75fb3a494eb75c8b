//! What a manifest must be before it is kept.

use serde_json::Value;

use crate::{
    digest::{Algorithm, algorithm},
    registry::{
        Personality, Shared,
        reply::{Halt, refuse},
    },
};

const IMAGES: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];

/// What a good manifest refers to.
pub(super) struct Facts {
    pub(super) media_type: String,
    pub(super) subject: Option<String>,
    blobs: Vec<String>,
    children: Vec<String>,
    /// What an index lists that need not be a manifest.
    either: Vec<String>,
}

/// Checks that a digest is one, of an algorithm that is known.
pub(super) fn digest(shared: &Shared, digest: &str) -> Result<(), Halt> {
    match algorithm(digest) {
        Some(Algorithm::Sha256) => return Ok(()),
        Some(Algorithm::Sha512) if shared.traits.sha512 => return Ok(()),
        Some(Algorithm::Sha512) | None => {}
    }
    Err(refuse(400, "DIGEST_INVALID", "the digest is malformed, or of an algorithm that is not supported"))
}

/// Checks a manifest by itself.
pub(super) fn validate(shared: &Shared, content_type: &str, bytes: &[u8]) -> Result<Facts, Halt> {
    let bad = |text: &str| invalid(shared, text);
    if shared.traits.ecr && content_type.contains(';') {
        return Err(bad("Invalid parameter at 'ImageManifestMediaType' failed to satisfy constraint"));
    }
    let Ok(Value::Object(manifest)) = serde_json::from_slice::<Value>(bytes) else {
        return Err(bad("Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Invalid JSON syntax'"));
    };
    let manifest = Value::Object(manifest);
    let own = manifest.get("mediaType").and_then(Value::as_str);
    let media_type = match (content_type, own) {
        ("", Some(own)) => own,
        ("", None) => return Err(bad("the media type is missing")),
        (given, Some(own)) if given != own => return Err(bad("Content-Type and mediaType do not agree")),
        (given, _) => given,
    };
    let artifact = manifest.get("artifactType").or_else(|| manifest.get("config")?.get("mediaType"));
    if artifact.and_then(Value::as_str).is_some_and(|kind| shared.refused_artifacts.iter().any(|one| one == kind)) {
        return Err(bad("Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Invalid JSON syntax'"));
    }
    if shared.traits.ecr && has_parameter(&manifest) {
        return Err(bad("Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Invalid JSON syntax'"));
    }
    let mut facts = Facts {
        media_type: media_type.to_owned(),
        subject: None,
        blobs: Vec::new(),
        children: Vec::new(),
        either: Vec::new(),
    };
    if !shared.traits.sha512 && manifest.to_string().contains("\"sha512:") {
        return Err(bad("a digest is of an algorithm that is not supported"));
    }
    if let Some(subject) = manifest.get("subject").filter(|subject| !subject.is_null()) {
        facts.subject = Some(descriptor(subject).ok_or_else(|| bad("the subject is malformed"))?.to_owned());
    }
    if IMAGES.contains(&media_type) {
        schema_version(&manifest).ok_or_else(|| bad("schemaVersion must be 2"))?;
        if manifest.get("manifests").is_some() {
            return Err(bad("an image manifest has no manifests"));
        }
        let config = manifest.get("config").and_then(descriptor).ok_or_else(|| bad("the config is malformed"))?;
        facts.blobs.push(config.to_owned());
        let layers = manifest.get("layers").and_then(Value::as_array).ok_or_else(|| bad("layers are missing"))?;
        for layer in layers {
            let digest = descriptor(layer).ok_or_else(|| bad("a layer is malformed"))?;
            if layer.get("urls").and_then(Value::as_array).is_none_or(Vec::is_empty) {
                facts.blobs.push(digest.to_owned());
            }
        }
    } else if INDEXES.contains(&media_type) {
        schema_version(&manifest).ok_or_else(|| bad("schemaVersion must be 2"))?;
        if manifest.get("layers").is_some() || manifest.get("config").is_some() {
            return Err(bad("an index has no config and no layers"));
        }
        let children = manifest.get("manifests").and_then(Value::as_array);
        for child in children.ok_or_else(|| bad("manifests are missing"))? {
            let digest = match descriptor(child) {
                Some(digest) => digest,
                None if !shared.traits.checks_descriptors => continue,
                None => return Err(bad("a manifest's descriptor is malformed")),
            };
            let kind = child.get("mediaType").and_then(Value::as_str).unwrap_or_default();
            let is_manifest = IMAGES.contains(&kind) || INDEXES.contains(&kind);
            if is_manifest || !shared.traits.indexes_of_blobs {
                facts.children.push(digest.to_owned());
            } else {
                facts.either.push(digest.to_owned());
            }
        }
    } else if shared.traits.artifacts.contains(&media_type) {
        for blob in manifest.get("blobs").and_then(Value::as_array).into_iter().flatten() {
            facts.blobs.push(descriptor(blob).ok_or_else(|| bad("a blob is malformed"))?.to_owned());
        }
    } else {
        return Err(bad("the media type is not one of a manifest"));
    }
    Ok(facts)
}

/// Checks that what a manifest refers to is there. A subject need not be.
pub(super) fn references(shared: &Shared, name: &str, facts: &Facts) -> Result<(), Halt> {
    let lag = shared.validation_lag;
    let (blob, child) = shared.store.with(|inner| {
        let found = inner.repositories.get(name);
        let blob = facts.blobs.iter().find(|digest| {
            !found.is_some_and(|found| found.blobs.get(*digest).is_some_and(|blob| blob.available(lag)))
        });
        let there = |digest: &String| {
            found.is_some_and(|found| found.manifests.contains_key(digest) || found.blobs.contains_key(digest))
        };
        let child = facts.either.iter().find(|digest| !there(digest));
        let child = child.or_else(|| {
            facts.children.iter().find(|digest| !found.is_some_and(|found| found.manifests.contains_key(*digest)))
        });
        (blob.cloned(), child.cloned())
    });
    if let Some(digest) = blob {
        let text = if shared.traits.ecr {
            format!(
                "Layers with digests '[{digest}]' do not exist in the repository with name '{name}' in the registry \
                 with id '{}'",
                shared.account
            )
        } else {
            format!("blob {digest} unknown to registry")
        };
        let code = if shared.traits.ecr { "BLOB_UNKNOWN" } else { "MANIFEST_BLOB_UNKNOWN" };
        return Err(refuse(404, code, &text));
    }
    if let Some(digest) = child {
        let text = if shared.traits.ecr {
            format!(
                "Images with digests '[{digest}]' required for pushing image into repository with name '{name}' in \
                 the registry with id '{}' do not exist",
                shared.account
            )
        } else {
            format!("manifest {digest} unknown to registry")
        };
        return Err(refuse(404, "MANIFEST_BLOB_UNKNOWN", &text));
    }
    Ok(())
}

/// Whether the type of the artifact, its config or a layer has a parameter, which ECR refuses (sigstore/sigstore-js, issue
/// 1058; aws/containers-roadmap, issue 2306).
fn has_parameter(manifest: &Value) -> bool {
    let layers = manifest.get("layers").and_then(Value::as_array).into_iter().flatten();
    let described = manifest.get("config").into_iter().chain(layers).filter_map(|one| one.get("mediaType"));
    let mut kinds = described.chain(manifest.get("artifactType")).filter_map(Value::as_str);
    kinds.any(|kind| kind.contains(';'))
}

fn schema_version(manifest: &Value) -> Option<()> {
    (manifest.get("schemaVersion")?.as_u64()? == 2).then_some(())
}

/// The digest of a descriptor with all it must have.
fn descriptor(value: &Value) -> Option<&str> {
    value.get("mediaType")?.as_str()?;
    value.get("size")?.as_u64()?;
    value.get("digest")?.as_str().filter(|digest| algorithm(digest).is_some())
}

/// ECR has a status and code of its own for manifests that it does not understand.
fn invalid(shared: &Shared, text: &str) -> Halt {
    match shared.personality {
        Personality::Ecr | Personality::EcrPublic => refuse(405, "UNSUPPORTED", text),
        _ => refuse(400, "MANIFEST_INVALID", text),
    }
}
