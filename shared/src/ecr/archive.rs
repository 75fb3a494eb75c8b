//! Archived images: ECR lists them, and answers a pull with the same 404 as for an image that is not there.
//!
//! Source: ECR user guide, "Archiving images"; ECR API, `DescribeImages` (only active images without a filter).

use std::sync::Arc;

use aws_sdk_ecr::{
    error::ProvideErrorMetadata,
    primitives::DateTimeFormat,
    types::{DescribeImagesFilter, ImageDetail, ImageIdentifier, ImageStatus, ImageStatusFilter},
};

use super::EcrApi;
use crate::{
    aws::{CountCalls, failure},
    error::Error,
    oci::Digest,
    transport::Meter,
};

/// The images of one registry, as far as they may be archived.
#[derive(Debug)]
pub struct EcrArchive {
    api: Arc<EcrApi>,
}

/// An image that can't be pulled for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    /// Since when, and what to do.
    pub text: String,
    /// Whether it is being restored already.
    pub restoring: bool,
}

impl EcrArchive {
    /// The archive of the registry of `api`.
    #[must_use]
    pub fn new(api: Arc<EcrApi>) -> Self {
        Self { api }
    }

    /// Whether the image under `target` (a tag or a digest) in `repository` is archived, or on its way back.
    ///
    /// # Errors
    /// What the API says; that there is no such image or repository is none.
    pub async fn holds(&self, repository: &str, target: &str, meter: &Meter) -> Result<Option<Archived>, Error> {
        let id = match target.parse::<Digest>() {
            Ok(digest) => ImageIdentifier::builder().image_digest(digest.as_str()),
            Err(_) => ImageIdentifier::builder().image_tag(target),
        };
        let request = self.api.client().await.describe_images();
        let request = request.registry_id(self.api.account()).repository_name(repository).image_ids(id.build());
        let request = request.filter(DescribeImagesFilter::builder().image_status(ImageStatusFilter::Any).build());
        match request.customize().interceptor(CountCalls::on(meter)).send().await {
            Ok(answer) => Ok(answer.image_details().iter().find_map(|image| self.archived(repository, image))),
            Err(error) if matches!(error.code(), Some("ImageNotFoundException" | "RepositoryNotFoundException")) => {
                Ok(None)
            }
            Err(error) => {
                let doing = format!("describing image {target} of ECR repository {repository} ({})", self.api.place());
                Err(failure(&doing, &error))
            }
        }
    }

    fn archived(&self, repository: &str, image: &ImageDetail) -> Option<Archived> {
        let digest = image.image_digest().unwrap_or_default();
        match image.image_status()? {
            ImageStatus::Archived => {
                let since = image.last_archived_at().and_then(|at| at.fmt(DateTimeFormat::DateTime).ok());
                let since = since.map(|at| format!(" since {at}")).unwrap_or_default();
                let text = format!(
                    "it is archived{since}: ECR lists it and gives it out to nobody; restore it (aws ecr \
                     update-image-storage-class --region {} --repository-name {repository} --image-id \
                     imageDigest={digest} --target-storage-class STANDARD) and replicate it again",
                    self.api.region()
                );
                Some(Archived { text, restoring: false })
            }
            ImageStatus::Activating => {
                let text = format!("{digest} was archived and is being restored; it can be pulled when it is active");
                Some(Archived { text, restoring: true })
            }
            _ => None,
        }
    }
}
