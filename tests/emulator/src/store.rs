//! What a registry holds: repositories with manifests, tags and blobs; for seeding and for looking inside.

mod content;
mod repository;
mod whole;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use serde_json::Value;

pub(crate) use content::{Collector, Content};
pub use repository::ImageStatus;
pub(crate) use repository::{Blob, Manifest, Repository};

use crate::{
    digest::{self, Algorithm},
    lock,
};

/// A manifest as it is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredManifest {
    /// The digest it is held under.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// Its bytes, verbatim.
    pub bytes: Bytes,
}

/// What may be forbidden in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Pull,
    /// Writing.
    Push,
    /// Making the repository through the API (before it exists).
    Create,
}

/// The content of one registry. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Store(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
pub(crate) struct Inner {
    pub(crate) repositories: BTreeMap<String, Repository>,
    pub(crate) denied: Vec<(String, Access)>,
    clock: u64,
}

impl Inner {
    /// A number that grows with every manifest put: the order of pushes.
    pub(crate) fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

impl Store {
    /// Makes an empty repository, unless it is there already.
    pub fn create_repository(&self, name: &str) {
        self.with(|inner| {
            inner.repositories.entry(name.to_owned()).or_default();
        });
    }

    /// Removes a repository with all it holds.
    pub fn remove_repository(&self, name: &str) {
        self.with(|inner| inner.repositories.remove(name));
    }

    /// The repositories there are, in lexical order.
    #[must_use]
    pub fn repositories(&self) -> Vec<String> {
        self.with(|inner| inner.repositories.keys().cloned().collect())
    }

    /// What the repository was created with through the API, as JSON members of `CreateRepository`.
    #[must_use]
    pub fn settings(&self, name: &str) -> Option<Value> {
        self.with(|inner| inner.repositories.get(name).map(|repository| repository.settings.clone()))
    }

    /// Makes the repository's tags immutable or mutable; makes the repository if need be.
    pub fn set_immutable(&self, name: &str, immutable: bool) {
        self.with(|inner| inner.repositories.entry(name.to_owned()).or_default().immutable = immutable);
    }

    /// Changes when a manifest is said to have been pushed.
    pub fn set_pushed(&self, repository: &str, digest: &str, at: SystemTime) {
        self.with(|inner| {
            let found = inner.repositories.get_mut(repository).and_then(|found| found.manifests.get_mut(digest));
            found.expect("the manifest is there").pushed = at;
        });
    }

    /// Forbids something in a repository.
    pub fn deny(&self, name: &str, access: Access) {
        self.with(|inner| inner.denied.push((name.to_owned(), access)));
    }

    /// Allows everything in a repository again.
    pub fn allow(&self, name: &str) {
        self.with(|inner| inner.denied.retain(|(denied, _)| denied != name));
    }

    /// Holds a blob; returns its digest.
    pub fn put_blob(&self, repository: &str, bytes: impl Into<Bytes>) -> String {
        let bytes = bytes.into();
        let digest = digest::sha256(&bytes);
        self.insert(repository, &digest, Content::of(bytes));
        digest
    }

    /// Holds a blob that is made when it is read and takes no memory; returns its digest.
    pub fn put_generated_blob(&self, repository: &str, seed: u64, size: u64) -> String {
        let digest = generated_digest(seed, size);
        self.insert(repository, &digest, Content::Generated { seed, size });
        digest
    }

    /// Likewise under a digest that is not that of its bytes.
    pub fn put_unhashed_blob(&self, repository: &str, digest: &str, seed: u64, size: u64) {
        self.insert(repository, digest, Content::Generated { seed, size });
    }

    /// Holds bytes under a digest that need not be theirs.
    pub fn put_raw_blob(&self, repository: &str, digest: &str, bytes: impl Into<Bytes>) {
        self.insert(repository, digest, Content::of(bytes.into()));
    }

    /// Removes a blob.
    pub fn remove_blob(&self, repository: &str, digest: &str) {
        self.with(|inner| inner.repositories.get_mut(repository).and_then(|found| found.blobs.remove(digest)));
    }

    /// Holds a manifest without checking it; a reference that is no digest is a tag. Returns its digest.
    pub fn put_manifest(&self, repository: &str, reference: &str, media_type: &str, bytes: impl Into<Bytes>) -> String {
        let bytes = bytes.into();
        let digest = match digest::algorithm(reference) {
            Some(Algorithm::Sha512) => digest::sha512(&bytes),
            _ => digest::sha256(&bytes),
        };
        self.put_raw_manifest(repository, reference, &digest, media_type, bytes);
        digest
    }

    /// Holds a manifest under a digest that need not be its own.
    pub fn put_raw_manifest(
        &self,
        repository: &str,
        reference: &str,
        digest: &str,
        media_type: &str,
        bytes: impl Into<Bytes>,
    ) {
        let stored =
            StoredManifest { digest: digest.to_owned(), media_type: media_type.to_owned(), bytes: bytes.into() };
        self.with(|inner| {
            let order = inner.tick();
            let found = inner.repositories.entry(repository.to_owned()).or_default();
            found.put(Manifest::new(stored, order));
            if digest::algorithm(reference).is_none() {
                found.tags.insert(reference.to_owned(), digest.to_owned());
            }
        });
    }

    /// Points a tag at a digest, which need not be there.
    pub fn set_tag(&self, repository: &str, tag: &str, digest: &str) {
        self.with(|inner| {
            let found = inner.repositories.entry(repository.to_owned()).or_default();
            found.tags.insert(tag.to_owned(), digest.to_owned());
        });
    }

    /// Removes a tag.
    pub fn remove_tag(&self, repository: &str, tag: &str) {
        self.with(|inner| inner.repositories.get_mut(repository).and_then(|found| found.tags.remove(tag)));
    }

    /// ECR: archives an image, by digest. It stays listed, and a pull finds nothing.
    pub fn archive(&self, repository: &str, digest: &str) {
        self.set_status(repository, digest, ImageStatus::Archived);
    }

    /// ECR: moves an image between the storage classes.
    pub fn set_status(&self, repository: &str, digest: &str, status: ImageStatus) {
        self.with(|inner| {
            if let Some(found) = inner.repositories.get_mut(repository) {
                found.set_status(digest, status);
            }
        });
    }

    /// The manifest of a tag or digest.
    #[must_use]
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<StoredManifest> {
        self.with(|inner| inner.repositories.get(repository)?.find(reference).map(|found| found.stored.clone()))
    }

    /// The digest a tag points to.
    #[must_use]
    pub fn tag(&self, repository: &str, tag: &str) -> Option<String> {
        self.with(|inner| inner.repositories.get(repository)?.tags.get(tag).cloned())
    }

    /// The tags of a repository, in lexical order.
    #[must_use]
    pub fn tags(&self, repository: &str) -> Vec<String> {
        self.with(|inner| {
            inner.repositories.get(repository).map(|found| found.tags.keys().cloned().collect()).unwrap_or_default()
        })
    }

    /// Whether the repository holds a blob.
    #[must_use]
    pub fn has_blob(&self, repository: &str, digest: &str) -> bool {
        self.blob(repository, digest).is_some()
    }

    /// The size of a blob.
    #[must_use]
    pub fn blob_size(&self, repository: &str, digest: &str) -> Option<u64> {
        self.blob(repository, digest).map(|blob| blob.content.size())
    }

    /// The bytes of a blob, unless they were discarded.
    #[must_use]
    pub fn blob_bytes(&self, repository: &str, digest: &str) -> Option<Bytes> {
        self.blob(repository, digest)?.content.whole()
    }

    /// The digests of a repository's blobs.
    #[must_use]
    pub fn blobs(&self, repository: &str) -> Vec<String> {
        self.with(|inner| {
            inner.repositories.get(repository).map(|found| found.blobs.keys().cloned().collect()).unwrap_or_default()
        })
    }

    /// The digests of a repository's manifests.
    #[must_use]
    pub fn manifests(&self, repository: &str) -> Vec<String> {
        self.with(|inner| {
            let found = inner.repositories.get(repository);
            found.map(|found| found.manifests.keys().cloned().collect()).unwrap_or_default()
        })
    }

    /// The digests of the manifests in the order they were put first.
    #[must_use]
    pub fn manifests_in_push_order(&self, repository: &str) -> Vec<String> {
        self.with(|inner| {
            let Some(found) = inner.repositories.get(repository) else { return Vec::new() };
            let mut all: Vec<_> = found.manifests.values().collect();
            all.sort_by_key(|manifest| manifest.order);
            all.into_iter().map(|manifest| manifest.stored.digest.clone()).collect()
        })
    }

    /// The digests of the manifests whose `subject` is this digest.
    #[must_use]
    pub fn referrers(&self, repository: &str, subject: &str) -> Vec<String> {
        self.with(|inner| {
            let Some(found) = inner.repositories.get(repository) else { return Vec::new() };
            found.referrers(subject).map(|manifest| manifest.stored.digest.clone()).collect()
        })
    }

    /// Walks from a tag or digest through indexes to blobs, and checks that all are there, of the right size
    /// and of the right digest. Layers with `urls` may be missing. Content that was discarded after its
    /// digest had been checked counts by its size.
    ///
    /// # Errors
    /// What is missing or wrong first.
    pub fn is_whole(&self, repository: &str, reference: &str) -> Result<(), String> {
        whole::check(self, repository, reference)
    }

    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut lock(&self.0))
    }

    pub(crate) fn exists(&self, repository: &str) -> bool {
        self.with(|inner| inner.repositories.contains_key(repository))
    }

    pub(crate) fn is_denied(&self, repository: &str, access: Access) -> bool {
        self.with(|inner| inner.denied.iter().any(|(name, denied)| name == repository && *denied == access))
    }

    pub(crate) fn blob(&self, repository: &str, digest: &str) -> Option<Blob> {
        self.with(|inner| inner.repositories.get(repository)?.blobs.get(digest).filter(|blob| !blob.archived).cloned())
    }

    pub(crate) fn is_archived(&self, repository: &str, digest: &str) -> bool {
        let archived = |inner: &mut Inner| Some(inner.repositories.get(repository)?.blobs.get(digest)?.archived);
        self.with(archived).unwrap_or_default()
    }

    /// A seeded blob has been there for long: no validation lags behind it.
    fn insert(&self, repository: &str, digest: &str, content: Content) {
        self.with(|inner| {
            let found = inner.repositories.entry(repository.to_owned()).or_default();
            found.blobs.insert(digest.to_owned(), Blob { content, committed: None, archived: false });
        });
    }

    /// Holds a blob that was uploaded just now.
    pub(crate) fn commit(&self, repository: &str, digest: &str, content: Content) {
        self.with(|inner| {
            let found = inner.repositories.entry(repository.to_owned()).or_default();
            let blob = Blob { content, committed: Some(Instant::now()), archived: false };
            // What is there stays as it is, and what is archived comes back.
            if found.blobs.get(digest).is_none_or(|there| there.archived) {
                found.blobs.insert(digest.to_owned(), blob);
            }
        });
    }
}

/// The digest of generated content; computed once in a process for each seed and size.
pub(crate) fn generated_digest(seed: u64, size: u64) -> String {
    static KNOWN: Mutex<BTreeMap<(u64, u64), String>> = Mutex::new(BTreeMap::new());
    if let Some(known) = lock(&KNOWN).get(&(seed, size)) {
        return known.clone();
    }
    let content = Content::Generated { seed, size };
    let digest = content.digest(Algorithm::Sha256).unwrap_or_default();
    lock(&KNOWN).insert((seed, size), digest.clone());
    digest
}

/// Seconds since 1970, as AWS's JSON protocols write times.
pub(crate) fn epoch(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}
