use serde_json::{Value, json};

use super::*;

fn parse(body: &Value, content_type: Option<&str>) -> Result<Manifest, ManifestError> {
    let bytes = Bytes::from(serde_json::to_vec(body).unwrap());
    let digest = Digest::of(&bytes);
    Manifest::parse(bytes, digest, content_type)
}

fn descriptor(seed: &str, media_type: &str) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(seed.as_bytes()).as_str(), "size": seed.len()})
}

fn image() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("config", "application/vnd.oci.image.config.v1+json"),
        "layers": [
            descriptor("one", "application/vnd.oci.image.layer.v1.tar+gzip"),
            descriptor("one", "application/vnd.oci.image.layer.v1.tar+gzip"),
            descriptor("two", "application/vnd.oci.image.layer.v1.tar+zstd"),
        ],
    })
}

#[test]
fn an_image_needs_its_config_and_each_layer_once() {
    let manifest = parse(&image(), Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8")).unwrap();
    let digests: Vec<_> = manifest.blobs.iter().map(|blob| blob.digest.clone()).collect();
    assert_eq!(digests, [Digest::of(b"config"), Digest::of(b"one"), Digest::of(b"two")]);
    assert!(!manifest.is_index && manifest.blobs.iter().all(|blob| !blob.foreign));
}

#[test]
fn an_untyped_manifest_is_told_by_its_members() {
    let mut untyped = image();
    untyped.as_object_mut().unwrap().remove("mediaType");
    let manifest = parse(&untyped, Some("application/json")).unwrap();
    assert_eq!(manifest.media_type, "application/vnd.oci.image.manifest.v1+json");
    let index = json!({"schemaVersion": 2, "manifests": []});
    assert!(parse(&index, None).unwrap().is_index);
}

#[test]
fn a_foreign_layer_is_marked_only_when_it_names_its_urls() {
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let mut body = image();
    body["layers"][0] = descriptor("three", foreign);
    body["layers"][0]["urls"] = json!(["https://example.test/three"]);
    body["layers"][1] = descriptor("four", foreign);
    body["layers"][2]["urls"] = json!(["https://example.test/two"]);
    let manifest = parse(&body, None).unwrap();
    let marks: Vec<_> = manifest.blobs.iter().map(|blob| blob.foreign).collect();
    assert_eq!(marks, [false, true, false, false], "config, with urls, without urls, urls on an ordinary layer");
}

#[test]
fn schema_1_is_refused_and_named() {
    let body = json!({"schemaVersion": 1, "name": "x", "fsLayers": [], "signatures": []});
    let error = parse(&body, Some("application/vnd.docker.distribution.manifest.v1+prettyjws")).unwrap_err();
    assert!(error.to_string().contains("schema 1"), "{error}");
    assert!(matches!(parse(&body, None).unwrap_err(), ManifestError::Unsupported { .. }));
}

#[test]
fn contradictions_are_refused() {
    let error = parse(&image(), Some("application/vnd.oci.image.index.v1+json")).unwrap_err();
    assert!(error.to_string().contains("contradicts"), "{error}");
    let mut body = image();
    body["layers"][1]["size"] = json!(99);
    assert!(parse(&body, None).unwrap_err().to_string().contains("two sizes"));
    body["layers"][1] = json!({"mediaType": "x", "digest": "sha256:12", "size": 1});
    assert!(matches!(parse(&body, None).unwrap_err(), ManifestError::Invalid(_)));
}

#[test]
fn artifacts_of_every_age_are_read() {
    let old = json!({
        "mediaType": "application/vnd.cncf.oras.artifact.manifest.v1+json",
        "artifactType": "text/sbom+json",
        "blobs": [descriptor("sbom", "text/plain")],
    });
    assert_eq!(parse(&old, None).unwrap().blobs.len(), 1);
    let empty = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/example",
        "config": descriptor("{}", "application/vnd.oci.empty.v1+json"),
        "layers": [descriptor("{}", "application/vnd.oci.empty.v1+json")],
    });
    assert_eq!(parse(&empty, None).unwrap().blobs.len(), 1);
    let unknown = json!({"mediaType": "application/example", "hello": 1});
    assert!(matches!(parse(&unknown, None).unwrap_err(), ManifestError::Unsupported { .. }));
}
