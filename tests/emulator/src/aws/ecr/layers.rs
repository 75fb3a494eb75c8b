//! Layers: whether they are there yet, and where to read them.

use serde_json::{Value, json};

use super::{invalid, missing, text};
use crate::{aws::ApiError, digest::algorithm, registry::Registry};

/// The media type that ECR reports for any layer.
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

pub(crate) fn check(registry: &Registry, body: &Value, missing_as_failure: bool) -> Result<Value, ApiError> {
    let name = text(body, "repositoryName").ok_or_else(|| invalid("repositoryName", "Member must not be null"))?;
    let digests = body.get("layerDigests").and_then(Value::as_array);
    let digests = digests.ok_or_else(|| invalid("layerDigests", "Member must not be null"))?;
    if digests.is_empty() {
        return Err(invalid("layerDigests", "Member must have length greater than or equal to 1"));
    }
    if digests.len() > 100 {
        return Err(invalid("layerDigests", "Member must have length less than or equal to 100"));
    }
    if !registry.store().exists(name) {
        return Err(missing(name, registry.account()));
    }
    let (mut layers, mut failures) = (Vec::new(), Vec::new());
    let mut fail = |digest: &str, code: &str, reason: &str| {
        failures.push(json!({"layerDigest": digest, "failureCode": code, "failureReason": reason}));
    };
    for digest in digests.iter().map(|digest| digest.as_str().unwrap_or_default()) {
        if digest.is_empty() {
            fail(digest, "MissingLayerDigest", "Layer digest is missing");
            continue;
        }
        if algorithm(digest).is_none() {
            fail(digest, "InvalidLayerDigest", "Invalid layer digest");
            continue;
        }
        let blob = registry.store().blob(name, digest);
        match blob.filter(|blob| blob.available(registry.shared().validation_lag)) {
            Some(blob) => layers.push(json!({
                "layerDigest": digest,
                "layerAvailability": "AVAILABLE",
                "layerSize": blob.content.size(),
                "mediaType": LAYER,
            })),
            None if registry.store().is_archived(name, digest) => {
                layers.push(json!({"layerDigest": digest, "layerAvailability": "ARCHIVED"}));
            }
            None if missing_as_failure => fail(digest, "MissingLayerDigest", "Layer is missing"),
            None => layers.push(json!({"layerDigest": digest, "layerAvailability": "UNAVAILABLE"})),
        }
    }
    Ok(json!({"layers": layers, "failures": failures}))
}

pub(super) fn download_url(registry: &Registry, body: &Value) -> Result<Value, ApiError> {
    let name = text(body, "repositoryName").ok_or_else(|| invalid("repositoryName", "Member must not be null"))?;
    let digest = text(body, "layerDigest").ok_or_else(|| invalid("layerDigest", "Member must not be null"))?;
    if !registry.store().exists(name) {
        return Err(missing(name, registry.account()));
    }
    if !registry.store().has_blob(name, digest) {
        let text = format!(
            "The layer with digest '{digest}' does not exist in the repository with name '{name}' in the registry \
             with id '{}'",
            registry.account()
        );
        return Err(ApiError::client("LayersNotFoundException", text));
    }
    Ok(json!({"downloadUrl": registry.shared().object_url(name, digest), "layerDigest": digest}))
}
