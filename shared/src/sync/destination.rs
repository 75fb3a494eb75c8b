//! The end that is written to, and where both ends come from.

use std::{collections::HashMap, sync::Arc};

use futures::future::BoxFuture;

use super::Source;
use crate::{
    error::Error,
    limits::LayerAvailability,
    oci::{Digest, Reference},
    registry::{Repository, Run},
};

/// Where the ends of a sync come from.
pub trait Ends: Send + Sync {
    /// The repository to read from.
    ///
    /// # Errors
    /// `InvalidConfig`: the registry can't be talked to as configured.
    fn source(&self, reference: &Reference, run: Run) -> Result<Source, Error>;

    /// The repository to write to; `source` tells whether blobs may be mounted.
    ///
    /// # Errors
    /// `InvalidConfig`: the registry can't be talked to as configured.
    fn destination(&self, reference: &Reference, source: &Reference, run: Run) -> Result<Destination, Error>;
}

/// A repository to write to, and what its registry offers besides the distribution specification.
pub struct Destination {
    /// The repository.
    pub repository: Repository,
    /// A repository of the same registry that blobs may be mounted from.
    pub mount_from: Option<String>,
    /// ECR: what it has of manifests, told of many at once.
    pub manifests: Option<Arc<dyn ManifestPresence>>,
    /// ECR: what it has of blobs, and what is good for a manifest.
    pub availability: Option<Arc<dyn LayerAvailability>>,
    /// ECR: creates the repository if it is missing and that is allowed.
    pub creation: Option<Arc<dyn RepositoryCreation>>,
}

/// Tells of many manifests at once what a repository has.
pub trait ManifestPresence: Send + Sync {
    /// The digests that it has under `targets`, tags or digests; `None`: nothing. What is missing in the answer is not known.
    fn held<'a>(&'a self, targets: &'a [String]) -> BoxFuture<'a, Result<HashMap<String, Option<Digest>>, Error>>;
}

/// Creates the repository that an image goes to.
pub trait RepositoryCreation: Send + Sync {
    /// Creates it; that it exists by now is no error.
    fn create(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// Does what a creation that was broken off left undone; called where the repository is there and has nothing of the
    /// image.
    fn complete(&self) -> BoxFuture<'_, Result<(), Error>>;
}
