//! Indexes and manifest lists: of images, and of indexes again.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::json;

use crate::{
    digest,
    image::{DOCKER_LIST, Descriptor, Image, OCI_INDEX, pretty},
    store::Store,
};

/// What an index holds.
#[derive(Debug, Clone)]
pub enum Child {
    /// An image, or an artifact.
    Image(Image),
    /// An index again.
    Index(Index),
}

impl From<&Image> for Child {
    fn from(image: &Image) -> Self {
        Self::Image(image.clone())
    }
}

impl From<&Index> for Child {
    fn from(index: &Index) -> Self {
        Self::Index(index.clone())
    }
}

/// An index (or manifest list) that was built.
#[derive(Debug, Clone)]
pub struct Index {
    /// The index's bytes.
    pub manifest: Bytes,
    /// The index's media type.
    pub media_type: String,
    /// The index's digest.
    pub digest: String,
    /// What it holds.
    pub children: Vec<Child>,
}

impl Index {
    /// Begins an OCI index.
    #[must_use]
    pub fn builder() -> IndexBuilder {
        IndexBuilder::default()
    }

    /// An OCI index of these images.
    #[must_use]
    pub fn of(images: &[&Image]) -> Self {
        images.iter().fold(Self::builder(), |builder, image| builder.child(*image)).build()
    }

    /// The descriptor that another index or a `subject` has of it.
    #[must_use]
    pub fn descriptor(&self) -> Descriptor {
        Descriptor {
            media_type: self.media_type.clone(),
            digest: self.digest.clone(),
            size: self.manifest.len() as u64,
            artifact_type: None,
            urls: Vec::new(),
            platform: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Puts all of it into a repository, children first. Returns the digest.
    pub fn push_to(&self, store: &Store, repository: &str, reference: &str) -> String {
        for child in &self.children {
            match child {
                Child::Image(image) => image.push_to(store, repository, &image.digest),
                Child::Index(index) => index.push_to(store, repository, &index.digest),
            };
        }
        store.put_manifest(repository, reference, &self.media_type, self.manifest.clone())
    }
}

/// An index to be.
#[derive(Debug, Clone, Default)]
pub struct IndexBuilder {
    docker: bool,
    children: Vec<(Child, Descriptor)>,
    annotations: BTreeMap<String, String>,
    artifact_type: Option<String>,
    subject: Option<Descriptor>,
}

impl IndexBuilder {
    /// Use Docker's media type.
    #[must_use]
    pub fn docker(mut self) -> Self {
        self.docker = true;
        self
    }

    /// Add an image or an index.
    #[must_use]
    pub fn child(self, child: impl Into<Child>) -> Self {
        let child = child.into();
        let descriptor = match &child {
            Child::Image(image) => image.descriptor(),
            Child::Index(index) => index.descriptor(),
        };
        self.child_as(child, descriptor)
    }

    /// Add an image or an index under a descriptor of one's own making.
    #[must_use]
    pub fn child_as(mut self, child: impl Into<Child>, descriptor: Descriptor) -> Self {
        self.children.push((child.into(), descriptor));
        self
    }

    /// Annotate the index.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The type of an index that is an artifact.
    #[must_use]
    pub fn artifact_type(mut self, artifact_type: &str) -> Self {
        self.artifact_type = Some(artifact_type.to_owned());
        self
    }

    /// Refer to a subject.
    #[must_use]
    pub fn subject(mut self, subject: &Descriptor) -> Self {
        self.subject = Some(Descriptor { platform: None, ..subject.clone() });
        self
    }

    /// Builds the index.
    #[must_use]
    pub fn build(self) -> Index {
        let media_type = if self.docker { DOCKER_LIST } else { OCI_INDEX };
        let (children, descriptors): (Vec<_>, Vec<_>) = self.children.into_iter().unzip();
        let mut manifest = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": descriptors});
        if let Some(artifact_type) = &self.artifact_type {
            manifest["artifactType"] = artifact_type.as_str().into();
        }
        if let Some(subject) = &self.subject {
            manifest["subject"] = json!(subject);
        }
        if !self.annotations.is_empty() {
            manifest["annotations"] = json!(self.annotations);
        }
        let manifest = pretty(&manifest);
        Index { digest: digest::sha256(&manifest), manifest, media_type: media_type.to_owned(), children }
    }
}
