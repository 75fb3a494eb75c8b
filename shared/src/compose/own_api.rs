//! A registry of AWS, as the ports of a sync want it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::future::BoxFuture;

use crate::{
    ecr::{EcrArchive, EcrListing, EcrScans},
    error::Error,
    oci::Digest,
    request::{Scan, Severity},
    sync::{ManifestPresence, ScanFindings, SourceDiagnosis, Withheld},
    transport::Meter,
};

/// What ECR's API tells of the images of one repository: which are archived, and what scans of them found.
pub(super) struct OwnApi {
    pub(super) archive: EcrArchive,
    pub(super) scans: EcrScans,
    pub(super) name: String,
    pub(super) meter: Arc<Meter>,
}

impl ScanFindings for OwnApi {
    fn scan<'a>(&'a self, digest: &'a Digest, refused: Severity) -> BoxFuture<'a, Result<Scan, Error>> {
        Box::pin(self.scans.of(&self.name, digest, refused, &self.meter))
    }

    fn age<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        Box::pin(self.scans.age(&self.name, digest, &self.meter))
    }
}

impl SourceDiagnosis for OwnApi {
    fn withheld<'a>(&'a self, target: &'a str) -> BoxFuture<'a, Result<Option<Withheld>, Error>> {
        Box::pin(async move {
            let archived = self.archive.holds(&self.name, target, &self.meter).await?;
            Ok(archived.map(|archived| Withheld { reason: archived.text, passing: archived.restoring }))
        })
    }
}

/// What ECR's API tells of the manifests of one repository.
pub(super) struct OwnManifests {
    pub(super) listing: EcrListing,
    pub(super) name: String,
}

impl ManifestPresence for OwnManifests {
    fn held<'a>(&'a self, targets: &'a [String]) -> BoxFuture<'a, Result<HashMap<String, Option<Digest>>, Error>> {
        Box::pin(self.listing.held(&self.name, targets))
    }
}
