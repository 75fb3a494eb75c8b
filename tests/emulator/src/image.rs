//! Images that are true: every digest and size is that of the bytes.

mod index;
mod layer;

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use index::{Child, Index, IndexBuilder};
pub use layer::{Layer, foreign_layer, generated_layer, layer, raw_layer, unhashed_layer};

use crate::{digest, store::Store};

/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image configuration.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// OCI empty configuration, of artifacts.
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// OCI layer.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// Docker image manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker image configuration.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker layer.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker layer that is not distributed.
pub const DOCKER_FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

/// A descriptor of the specification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it describes.
    pub media_type: String,
    /// Its digest.
    pub digest: String,
    /// Its size.
    pub size: u64,
    /// The kind of artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Where else it may be had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// What machine it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What machine an image is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// Operating system.
    pub os: String,
    /// Processor.
    pub architecture: String,
    /// Kind of processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Version of the operating system (Windows).
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
}

impl Platform {
    /// Reads `os/architecture[/variant]`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut parts = text.split('/').map(str::to_owned);
        Self {
            os: parts.next().unwrap_or_default(),
            architecture: parts.next().unwrap_or_default(),
            variant: parts.next(),
            os_version: None,
        }
    }
}

/// An image (or artifact) that was built.
#[derive(Debug, Clone)]
pub struct Image {
    /// The manifest's bytes.
    pub manifest: Bytes,
    /// The manifest's media type.
    pub media_type: String,
    /// The manifest's digest.
    pub digest: String,
    /// The configuration's bytes.
    pub config: Bytes,
    /// The layers, foreign ones too.
    pub layers: Vec<Layer>,
    platform: Option<Platform>,
    artifact_type: Option<String>,
}

impl Image {
    /// Begins an OCI image for `linux/amd64`.
    #[must_use]
    pub fn builder() -> ImageBuilder {
        ImageBuilder::default()
    }

    /// A small OCI image with one layer, all from a seed.
    #[must_use]
    pub fn small(seed: u64) -> Self {
        Self::builder().layer(layer(seed, 2000)).build()
    }

    /// The descriptor that an index or a `subject` has of it.
    #[must_use]
    pub fn descriptor(&self) -> Descriptor {
        Descriptor {
            media_type: self.media_type.clone(),
            digest: self.digest.clone(),
            size: self.manifest.len() as u64,
            artifact_type: self.artifact_type.clone(),
            urls: Vec::new(),
            platform: self.platform.clone(),
            annotations: BTreeMap::new(),
        }
    }

    /// The digests of configuration and layers that a registry holds.
    #[must_use]
    pub fn blobs(&self) -> Vec<String> {
        let layers = self.layers.iter().filter(|layer| !layer.is_foreign()).map(|layer| layer.digest().to_owned());
        std::iter::once(digest::sha256(&self.config)).chain(layers).collect()
    }

    /// Puts all of it into a repository; a reference that is no digest is a tag. Returns the digest.
    pub fn push_to(&self, store: &Store, repository: &str, reference: &str) -> String {
        self.push_blobs_to(store, repository);
        store.put_manifest(repository, reference, &self.media_type, self.manifest.clone())
    }

    /// Puts configuration and layers into a repository.
    pub fn push_blobs_to(&self, store: &Store, repository: &str) {
        store.put_blob(repository, self.config.clone());
        for layer in &self.layers {
            layer.push_to(store, repository);
        }
    }
}

/// An image to be.
#[derive(Debug, Clone)]
pub struct ImageBuilder {
    docker: bool,
    platform: Option<Platform>,
    layers: Vec<Layer>,
    annotations: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    config: Option<(String, Bytes)>,
    artifact_type: Option<String>,
    subject: Option<Descriptor>,
    extra: BTreeMap<String, Value>,
}

impl Default for ImageBuilder {
    fn default() -> Self {
        Self {
            docker: false,
            platform: Some(Platform::parse("linux/amd64")),
            layers: Vec::new(),
            annotations: BTreeMap::new(),
            labels: BTreeMap::new(),
            config: None,
            artifact_type: None,
            subject: None,
            extra: BTreeMap::new(),
        }
    }
}

impl ImageBuilder {
    /// Use Docker's media types.
    #[must_use]
    pub fn docker(mut self) -> Self {
        self.docker = true;
        self
    }

    /// The machine, as `os/architecture[/variant]`.
    #[must_use]
    pub fn platform(mut self, platform: &str) -> Self {
        self.platform = Some(Platform::parse(platform));
        self
    }

    /// Add a layer.
    #[must_use]
    pub fn layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// Add layers.
    #[must_use]
    pub fn layers(mut self, layers: impl IntoIterator<Item = Layer>) -> Self {
        self.layers.extend(layers);
        self
    }

    /// Annotate the manifest.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Label the configuration; also a way to tell two images apart.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Use this configuration as it is.
    #[must_use]
    pub fn config(mut self, media_type: &str, bytes: impl Into<Bytes>) -> Self {
        self.config = Some((media_type.to_owned(), bytes.into()));
        self
    }

    /// Make an artifact of this type: an empty configuration and no platform.
    #[must_use]
    pub fn artifact(mut self, artifact_type: &str) -> Self {
        self.artifact_type = Some(artifact_type.to_owned());
        self.config = Some((OCI_EMPTY.to_owned(), Bytes::from_static(b"{}")));
        self.platform = None;
        self
    }

    /// Refer to a subject.
    #[must_use]
    pub fn subject(mut self, subject: &Descriptor) -> Self {
        // A subject's descriptor has no platform: it is about the manifest.
        self.subject = Some(Descriptor { platform: None, ..subject.clone() });
        self
    }

    /// Add a member of the manifest that no specification knows.
    #[must_use]
    pub fn extra(mut self, key: &str, value: Value) -> Self {
        self.extra.insert(key.to_owned(), value);
        self
    }

    /// Builds the image.
    #[must_use]
    pub fn build(self) -> Image {
        let (config_type, config) = self.config.clone().unwrap_or_else(|| self.own_config());
        let (media_type, layer_type) =
            if self.docker { (DOCKER_MANIFEST, DOCKER_LAYER) } else { (OCI_MANIFEST, OCI_LAYER) };
        let layers: Vec<Descriptor> = self.layers.iter().map(|layer| layer.descriptor(layer_type)).collect();
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": {"mediaType": config_type, "digest": digest::sha256(&config), "size": config.len()},
            "layers": layers,
        });
        if let Some(artifact_type) = &self.artifact_type {
            manifest["artifactType"] = artifact_type.as_str().into();
        }
        if let Some(subject) = &self.subject {
            manifest["subject"] = json!(subject);
        }
        if !self.annotations.is_empty() {
            manifest["annotations"] = json!(self.annotations);
        }
        for (key, value) in self.extra {
            manifest[key] = value;
        }
        let manifest = pretty(&manifest);
        Image {
            digest: digest::sha256(&manifest),
            manifest,
            media_type: media_type.to_owned(),
            config,
            layers: self.layers,
            platform: self.platform,
            artifact_type: self.artifact_type,
        }
    }

    fn own_config(&self) -> (String, Bytes) {
        let media_type = if self.docker { DOCKER_CONFIG } else { OCI_CONFIG };
        let platform = self.platform.clone().unwrap_or_else(|| Platform::parse("linux/amd64"));
        let mut config = json!(platform);
        let diff_ids: Vec<&str> = self.layers.iter().map(Layer::diff_id).collect();
        config["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
        config["config"] = json!({"Labels": self.labels, "Env": ["PATH=/usr/bin:/bin"]});
        config["history"] = json!([]);
        (media_type.to_owned(), Bytes::from(config.to_string()))
    }
}

/// With white space, so that whoever parses and writes again is found out by the digest.
fn pretty(value: &Value) -> Bytes {
    serde_json::to_vec_pretty(value).expect("JSON values can be written").into()
}
