//! One repository, and what its manifests say.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Map, Value};

use crate::store::{Content, StoredManifest};

/// A blob in a repository.
#[derive(Debug, Clone)]
pub(crate) struct Blob {
    pub(crate) content: Content,
    /// When it was uploaded; none for what was seeded or mounted.
    pub(crate) committed: Option<Instant>,
    /// Archived with the last active image that named it.
    pub(crate) archived: bool,
}

impl Blob {
    /// Whether the registry's own check has caught up with the upload.
    pub(crate) fn available(&self, lag: Duration) -> bool {
        !self.archived && self.committed.is_none_or(|at| at.elapsed() >= lag)
    }
}

/// Whether an image can be pulled: ECR's `imageStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageStatus {
    /// It can.
    Active,
    /// It can't, until it is restored or pushed again.
    Archived,
    /// It is being restored.
    Activating,
}

impl ImageStatus {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Archived => "ARCHIVED",
            Self::Activating => "ACTIVATING",
        }
    }
}

/// A manifest and what is read from it once.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    pub(crate) stored: StoredManifest,
    pub(crate) order: u64,
    pub(crate) pushed: SystemTime,
    pub(crate) status: ImageStatus,
    json: Value,
}

impl Manifest {
    pub(crate) fn new(stored: StoredManifest, order: u64) -> Self {
        let json = serde_json::from_slice(&stored.bytes).unwrap_or(Value::Null);
        Self { stored, order, pushed: SystemTime::now(), status: ImageStatus::Active, json }
    }

    pub(crate) fn is_active(&self) -> bool {
        self.status == ImageStatus::Active
    }

    pub(crate) fn subject(&self) -> Option<&str> {
        self.json.get("subject")?.get("digest")?.as_str()
    }

    /// `artifactType`, or else the config's media type.
    pub(crate) fn artifact_type(&self) -> Option<&str> {
        let own = self.json.get("artifactType").and_then(Value::as_str).filter(|text| !text.is_empty());
        own.or_else(|| self.config_type())
    }

    pub(crate) fn config_type(&self) -> Option<&str> {
        self.json.get("config")?.get("mediaType")?.as_str()
    }

    /// Config and layers, or the blobs of an artifact.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &Value> {
        let list = |key| self.json.get(key).and_then(Value::as_array).into_iter().flatten();
        self.json.get("config").into_iter().chain(list("layers")).chain(list("blobs"))
    }

    pub(crate) fn children(&self) -> impl Iterator<Item = &Value> {
        self.json.get("manifests").and_then(Value::as_array).into_iter().flatten()
    }

    /// The descriptor of the referrers API.
    pub(crate) fn as_referrer(&self) -> Value {
        let mut descriptor = Map::new();
        descriptor.insert("mediaType".into(), self.stored.media_type.clone().into());
        descriptor.insert("digest".into(), self.stored.digest.clone().into());
        descriptor.insert("size".into(), self.stored.bytes.len().into());
        if let Some(artifact_type) = self.artifact_type() {
            descriptor.insert("artifactType".into(), artifact_type.into());
        }
        if let Some(annotations) = self.json.get("annotations") {
            descriptor.insert("annotations".into(), annotations.clone());
        }
        Value::Object(descriptor)
    }
}

/// One repository.
#[derive(Debug)]
pub(crate) struct Repository {
    pub(crate) manifests: BTreeMap<String, Manifest>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) blobs: BTreeMap<String, Blob>,
    pub(crate) immutable: bool,
    pub(crate) created: SystemTime,
    /// The members of the `CreateRepository` call that made it, and what was put on it later.
    pub(crate) settings: Value,
}

impl Default for Repository {
    fn default() -> Self {
        Self {
            manifests: BTreeMap::new(),
            tags: BTreeMap::new(),
            blobs: BTreeMap::new(),
            immutable: false,
            created: SystemTime::now(),
            settings: Value::Object(Map::new()),
        }
    }
}

impl Repository {
    /// Holds a manifest; one that is there already keeps its place in the order.
    pub(crate) fn put(&mut self, mut manifest: Manifest) {
        if let Some(there) = self.manifests.get(&manifest.stored.digest) {
            manifest.order = there.order;
        }
        // A push restores what was archived, and all that it names.
        for digest in manifest.blobs().filter_map(|blob| blob.get("digest")?.as_str()) {
            if let Some(blob) = self.blobs.get_mut(digest) {
                blob.archived = false;
            }
        }
        self.manifests.insert(manifest.stored.digest.clone(), manifest);
    }

    /// What a pull gets: an archived image is not there for it.
    pub(crate) fn find(&self, reference: &str) -> Option<&Manifest> {
        let digest = self.tags.get(reference).map_or(reference, String::as_str);
        self.manifests.get(digest).filter(|manifest| manifest.is_active())
    }

    /// Archives an image, or brings it back; its blobs follow unless an active image names them.
    pub(crate) fn set_status(&mut self, digest: &str, status: ImageStatus) {
        if let Some(manifest) = self.manifests.get_mut(digest) {
            manifest.status = status;
        }
        let of = |manifest: &Manifest| -> Vec<String> {
            manifest.blobs().filter_map(|blob| Some(blob.get("digest")?.as_str()?.to_owned())).collect()
        };
        let named: Vec<String> = self.manifests.get(digest).map(of).unwrap_or_default();
        let active: Vec<String> =
            self.manifests.values().filter(|manifest| manifest.is_active()).flat_map(of).collect();
        for digest in named {
            if let Some(blob) = self.blobs.get_mut(&digest) {
                blob.archived = !active.contains(&digest);
            }
        }
    }

    pub(crate) fn referrers<'a>(&'a self, subject: &'a str) -> impl Iterator<Item = &'a Manifest> {
        self.manifests.values().filter(move |manifest| manifest.subject() == Some(subject))
    }

    /// Whether a manifest that is held refers to this blob.
    pub(crate) fn references(&self, digest: &str) -> bool {
        let names = |value: &Value| value.get("digest").and_then(Value::as_str) == Some(digest);
        self.manifests.values().any(|manifest| manifest.blobs().any(names))
    }

    /// Whether an index that is held lists this digest.
    pub(crate) fn is_listed(&self, digest: &str) -> bool {
        let names = |value: &Value| value.get("digest").and_then(Value::as_str) == Some(digest);
        self.manifests.values().any(|manifest| manifest.children().any(names))
    }

    /// How the repository is encrypted; none given is ECR's own key.
    pub(crate) fn encryption(&self) -> Value {
        let given = self.settings.get("encryptionConfiguration").cloned();
        given.unwrap_or_else(|| serde_json::json!({"encryptionType": "AES256"}))
    }

    pub(crate) fn mutability(&self) -> &str {
        let given = self.settings.get("imageTagMutability").and_then(Value::as_str);
        if self.immutable { "IMMUTABLE" } else { given.unwrap_or("MUTABLE") }
    }

    /// Whether this tag, once there, stays as it is.
    pub(crate) fn holds_tag(&self, tag: &str) -> bool {
        let filters = self.settings.get("imageTagMutabilityExclusionFilters").and_then(Value::as_array);
        let excluded = filters
            .into_iter()
            .flatten()
            .any(|filter| filter.get("filter").and_then(Value::as_str).is_some_and(|pattern| wildcard(pattern, tag)));
        match self.mutability() {
            "IMMUTABLE" => true,
            "IMMUTABLE_WITH_EXCLUSION" => !excluded,
            "MUTABLE_WITH_EXCLUSION" => excluded,
            _ => false,
        }
    }

    pub(crate) fn tags_of(&self, digest: &str) -> Vec<String> {
        self.tags.iter().filter(|(_, to)| *to == digest).map(|(tag, _)| tag.clone()).collect()
    }
}

/// Whether a text fits a pattern in which `*` stands for anything.
fn wildcard(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => {
            let Some(rest) = text.strip_prefix(head) else { return false };
            (0..=rest.len()).any(|at| rest.get(at..).is_some_and(|rest| wildcard(tail, rest)))
        }
    }
}
