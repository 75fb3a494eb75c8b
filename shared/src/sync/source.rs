//! The end that is read from, and what its registry can tell of an image that it doesn't give out.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;

use super::ScanFindings;
use crate::{
    error::{Error, ErrorType},
    limits::ManifestRoom,
    oci::{Digest, Manifest},
    registry::Repository,
};

/// How long is waited to be told why. Chosen: a few tries of one call; the 404 is known already and can be said.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tells why an image is not given out that the repository lists all the same.
pub trait SourceDiagnosis: Send + Sync {
    /// What is known of `target`, a tag or a digest; `None`: nothing that explains a 404.
    fn withheld<'a>(&'a self, target: &'a str) -> BoxFuture<'a, Result<Option<Withheld>, Error>>;
}

/// Why an image is not given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withheld {
    /// The reason, and what to do.
    pub reason: String,
    /// Whether it will be given out by itself in a while.
    pub passing: bool,
}

/// A repository to read from, and what its registry offers besides the distribution specification.
pub struct Source {
    /// The repository.
    pub repository: Repository,
    /// ECR: tells archived images from those that are not there.
    pub diagnosis: Option<Arc<dyn SourceDiagnosis>>,
    /// ECR: what scans of its images found.
    pub scans: Option<Arc<dyn ScanFindings>>,
}

impl Source {
    /// Reads a manifest, as [`Repository::manifest`] does; where there is none, the error says why as far as that can be
    /// known.
    pub(super) async fn manifest(
        &self,
        target: &str,
        expected: Option<&Digest>,
        room: &ManifestRoom,
    ) -> Result<Manifest, Error> {
        match self.repository.manifest(target, expected, room).await {
            Err(error) => Err(self.explained(error, target).await),
            read => read,
        }
    }

    /// Why the source doesn't give out `target` although it has it; `None`: nothing is known of it.
    pub(super) async fn withheld(&self, target: &str) -> Result<Option<Withheld>, Error> {
        match &self.diagnosis {
            Some(diagnosis) => diagnosis.withheld(target).await,
            None => Ok(None),
        }
    }

    /// The same error, with the reason why `target` is missing, where it is missing and the registry knows one. A
    /// question that fails hides nothing.
    pub(super) async fn explained(&self, error: Error, target: &str) -> Error {
        let Some(diagnosis) = self.diagnosis.as_ref().filter(|_| error.error_type == ErrorType::SourceNotFound) else {
            return error;
        };
        let asked = tokio::time::timeout(PATIENCE, diagnosis.withheld(target));
        match self.repository.run().deadline.bound(asked).await {
            Ok(Ok(Ok(Some(withheld)))) => {
                let error_type = if withheld.passing { ErrorType::Unavailable } else { ErrorType::SourceNotFound };
                Error { error_type, message: format!("{}; {}", error.message, withheld.reason), ..error }
            }
            Ok(Ok(Ok(None))) => error,
            Ok(Ok(Err(unknown))) => {
                tracing::debug!(target, reason = %unknown, "why the source has no such image could not be found out");
                error
            }
            Ok(Err(_)) | Err(_) => error,
        }
    }
}
