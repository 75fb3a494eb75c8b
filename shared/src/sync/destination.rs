//! The end that is written to, and where both ends come from.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::Source;
use crate::{
    error::Error,
    limits::LayerAvailability,
    oci::Reference,
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
    /// ECR: what it has, and what is good for a manifest.
    pub availability: Option<Arc<dyn LayerAvailability>>,
    /// ECR: creates the repository if it is missing and that is allowed.
    pub creation: Option<Arc<dyn RepositoryCreation>>,
}

/// Creates the repository that an image goes to.
pub trait RepositoryCreation: Send + Sync {
    /// Creates it; that it exists by now is no error.
    fn create(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// Does what a creation that was broken off left undone; called where the repository is there and has nothing of the
    /// image.
    fn complete(&self) -> BoxFuture<'_, Result<(), Error>>;
}
