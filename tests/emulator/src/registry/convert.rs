//! ECR's conversion on a pull by tag: a client that takes only the other family of types gets a new manifest.

use serde_json::Value;

use crate::{digest, store::StoredManifest};

/// OCI's names and Docker's for the same things.
const TYPES: [(&str, &str); 4] = [
    ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"),
    ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"),
    ("application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.docker.image.rootfs.diff.tar.gzip"),
    ("application/vnd.oci.image.layer.v1.tar", "application/vnd.docker.image.rootfs.diff.tar"),
];

/// The image in the other family, if the client wants that. Its digest is another.
pub(super) fn convert(stored: &StoredManifest, wanted: impl Fn(&str) -> bool) -> Option<StoredManifest> {
    let (oci, docker) = TYPES[0];
    let to_docker = stored.media_type == oci;
    let target = if to_docker { docker } else { oci };
    if !wanted(target) || (!to_docker && stored.media_type != docker) {
        return None;
    }
    let mut manifest: Value = serde_json::from_slice(&stored.bytes).ok()?;
    let other = |name: &str| {
        let pair = TYPES.iter().find(|(oci, docker)| if to_docker { *oci == name } else { *docker == name });
        pair.map(|(oci, docker)| if to_docker { *docker } else { *oci })
    };
    manifest["mediaType"] = target.into();
    if let Some(config) = manifest.get_mut("config") {
        rename(config, other);
    }
    for layer in manifest.get_mut("layers").and_then(Value::as_array_mut).into_iter().flatten() {
        rename(layer, other);
    }
    let bytes = serde_json::to_vec_pretty(&manifest).ok()?;
    Some(StoredManifest { digest: digest::sha256(&bytes), media_type: target.to_owned(), bytes: bytes.into() })
}

fn rename(descriptor: &mut Value, other: impl Fn(&str) -> Option<&'static str>) {
    if let Some(name) = descriptor.get("mediaType").and_then(Value::as_str).and_then(other) {
        descriptor["mediaType"] = name.into();
    }
}
