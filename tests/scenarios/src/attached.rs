//! An image with all that people attach to one: attestations, signatures, an SBOM, and a signature of that.

use emulator::{
    Descriptor, Image, Index, Layer, Store,
    image::{Child, OCI_INDEX, Platform, raw_layer},
};
use serde_json::{Value, json};

/// A signature's type.
pub const SIGNATURE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The type of the layers of cosign's signatures by tag.
pub const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// An SBOM's type.
pub const SBOM: &str = "application/spdx+json";

/// An image for each platform, and for each an attestation manifest as `buildx build --provenance --sbom` attaches it.
#[must_use]
pub fn attested(platforms: &[&str]) -> Index {
    let images: Vec<Image> = (1..)
        .zip(platforms)
        .map(|(seed, platform)| Image::builder().platform(platform).layer(raw_layer(seed, 9_000)).build())
        .collect();
    let mut builder = images.iter().fold(Index::builder(), |builder, image| builder.child(image));
    for image in &images {
        let statement = |kind: &str| {
            let body = json!({"_type": "https://in-toto.io/Statement/v0.1", "predicateType": kind, "of": image.digest});
            let layer = Layer::from_bytes("application/vnd.in-toto+json", body.to_string());
            layer.annotation("in-toto.io/predicate-type", kind)
        };
        let layers = [statement("https://slsa.dev/provenance/v0.2"), statement("https://spdx.dev/Document")];
        let attestation = Image::builder().platform("unknown/unknown").layers(layers).build();
        let mut descriptor =
            Descriptor { platform: Some(Platform::parse("unknown/unknown")), ..attestation.descriptor() };
        descriptor.annotations.insert("vnd.docker.reference.type".into(), "attestation-manifest".into());
        descriptor.annotations.insert("vnd.docker.reference.digest".into(), image.digest.clone());
        builder = builder.child_as(&attestation, descriptor);
    }
    builder.build()
}

/// What is attached, to what.
pub struct Release {
    /// The image.
    pub index: Index,
    /// cosign's signature of the index, by tag.
    pub by_tag: Image,
    /// A signature of the index that refers to it.
    pub signature: Image,
    /// The SBOM of one child.
    pub sbom: Image,
    /// The signature of that SBOM.
    pub sbom_signature: Image,
}

/// The tag that stands for a digest: `sha256-<hex>` and what follows.
#[must_use]
pub fn tag_of(digest: &str, suffix: &str) -> String {
    format!("{}{suffix}", digest.replace(':', "-"))
}

/// An artifact that refers to a subject.
#[must_use]
pub fn artifact(kind: &str, text: &str, subject: &Descriptor) -> Image {
    let layer = Layer::from_bytes(kind, text.to_owned());
    Image::builder().artifact(kind).layer(layer).annotation("made.by", "a test").subject(subject).build()
}

impl Default for Release {
    fn default() -> Self {
        Self::new()
    }
}

impl Release {
    /// Five platforms, and all that is attached.
    #[must_use]
    pub fn new() -> Self {
        let platforms = ["linux/amd64", "linux/arm64/v8", "linux/arm/v7", "linux/s390x", "windows/amd64"];
        let index = attested(&platforms);
        let Some(Child::Image(child)) = index.children.get(1) else { panic!("its children are images") };
        let simple = json!({"critical": {"image": {"docker-manifest-digest": index.digest}}}).to_string();
        let by_tag = Image::builder().layer(Layer::from_bytes(SIMPLE_SIGNING, simple)).build();
        let signature = artifact(SIGNATURE, "a signature of the index", &index.descriptor());
        let sbom = artifact(SBOM, "what is in the child", &child.descriptor());
        let sbom_signature = artifact(SIGNATURE, "a signature of the SBOM", &sbom.descriptor());
        Self { index, by_tag, signature, sbom, sbom_signature }
    }

    /// Those that refer to something, each with its subject's digest.
    #[must_use]
    pub fn referring(&self) -> Vec<(&Image, String)> {
        let Some(Child::Image(child)) = self.index.children.get(1) else { panic!("its children are images") };
        vec![
            (&self.signature, self.index.digest.clone()),
            (&self.sbom, child.digest.clone()),
            (&self.sbom_signature, self.sbom.digest.clone()),
        ]
    }

    /// The tag of cosign's signature.
    #[must_use]
    pub fn signature_tag(&self) -> String {
        tag_of(&self.index.digest, ".sig")
    }

    /// Manifests in all: the index, its children, and what is attached.
    #[must_use]
    pub fn manifests(&self) -> usize {
        1 + self.index.children.len() + 4
    }

    /// Pushes all of it; to a registry without the referrers API as clients do that know it.
    pub fn push_to(&self, store: &Store, repository: &str, tag: &str, api: bool) {
        self.index.push_to(store, repository, tag);
        self.by_tag.push_to(store, repository, &self.signature_tag());
        for (artifact, subject) in self.referring() {
            attach(store, repository, artifact, &subject, api);
        }
    }

    /// Asserts that all of it is in a repository, each after its subject, and can be found there.
    pub fn assert_arrived(&self, store: &Store, repository: &str, tag: &str, api: bool) {
        assert_eq!(store.tag(repository, tag), Some(self.index.digest.clone()));
        store.is_whole(repository, tag).unwrap();
        assert_eq!(store.tag(repository, &self.signature_tag()), Some(self.by_tag.digest.clone()));
        store.is_whole(repository, &self.by_tag.digest).unwrap();
        let order = store.manifests_in_push_order(repository);
        let position = |digest: &str| order.iter().position(|other| other == digest).expect("it is there");
        assert!(position(&self.index.digest) < position(&self.by_tag.digest));
        for (artifact, subject) in self.referring() {
            let there = store.manifest(repository, &artifact.digest).expect("the artifact is there");
            assert_eq!(there.bytes, artifact.manifest);
            store.is_whole(repository, &artifact.digest).unwrap();
            assert!(position(&subject) < position(&artifact.digest), "subject first");
            assert_listed(store, repository, artifact, &subject, api);
        }
    }
}

/// Pushes an artifact; where there is no API, into the list under its subject's tag, too.
pub fn attach(store: &Store, repository: &str, artifact: &Image, subject: &str, api: bool) {
    artifact.push_to(store, repository, &artifact.digest);
    if api {
        return;
    }
    let tag = tag_of(subject, "");
    let mut listed = listed(store, repository, subject);
    // Sizes that nobody should trust.
    let mut descriptor = json!(artifact.descriptor());
    descriptor["size"] = json!(4_000_000_000_000_u64);
    listed.push(descriptor);
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed});
    store.put_manifest(repository, &tag, OCI_INDEX, index.to_string());
}

/// What the list under a subject's tag names.
#[must_use]
pub fn listed(store: &Store, repository: &str, subject: &str) -> Vec<Value> {
    let Some(index) = store.manifest(repository, &tag_of(subject, "")) else { return Vec::new() };
    let index: Value = serde_json::from_slice(&index.bytes).expect("it is JSON");
    index["manifests"].as_array().expect("it is an index").clone()
}

/// Asserts that an artifact is found by its subject, by its own size and types.
pub fn assert_listed(store: &Store, repository: &str, artifact: &Image, subject: &str, api: bool) {
    if api {
        assert!(store.referrers(repository, subject).contains(&artifact.digest));
        assert!(store.manifest(repository, &tag_of(subject, "")).is_none(), "no list is needed");
        return;
    }
    let listed = listed(store, repository, subject);
    let entry = listed.iter().find(|entry| entry["digest"] == artifact.digest.as_str());
    let entry = entry.unwrap_or_else(|| panic!("{} is not listed in {listed:?}", artifact.digest));
    assert_eq!(entry["size"], artifact.manifest.len());
    assert_eq!(entry["mediaType"], artifact.media_type.as_str());
    assert_eq!(entry["artifactType"], json!(artifact.descriptor().artifact_type));
    assert_eq!(entry["annotations"]["made.by"], "a test");
}
