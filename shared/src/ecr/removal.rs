//! Tags of ECR and of ECR Public, removed through their APIs: `BatchDeleteImage` by the tag alone, since by the digest it
//! takes the image with all its tags. An image goes with its last tag.
//!
//! Source: ECR API and ECR Public API, `BatchDeleteImage`, `DescribeImages`.

use std::sync::Arc;

use aws_sdk_ecr::{
    error::ProvideErrorMetadata,
    types::{DescribeImagesFilter, ImageIdentifier, ImageStatusFilter},
};
use aws_sdk_ecrpublic::types::ImageIdentifier as PublicIdentifier;
use futures::future::BoxFuture;

use super::{EcrApi, EcrPublicApi, public::without_alias};
use crate::{
    aws::{CountCalls, failure},
    error::{Error, ErrorType},
    oci::Digest,
    registry::Untagging,
    transport::Meter,
};

/// The tags of one repository of ECR, for the time of one run.
#[derive(Debug)]
pub struct EcrTags {
    api: Arc<EcrApi>,
    repository: String,
    meter: Arc<Meter>,
}

impl EcrTags {
    /// The tags of `repository`.
    #[must_use]
    pub fn new(api: Arc<EcrApi>, repository: &str, meter: Arc<Meter>) -> Self {
        Self { api, repository: repository.to_owned(), meter }
    }

    fn doing(&self, tag: &str, right: &str) -> String {
        format!("removing tag {tag} of ECR repository {} (ecr:{right}, {})", self.repository, self.api.place())
    }
}

impl Untagging for EcrTags {
    fn another<'a>(&'a self, tag: &'a str, digest: &'a Digest) -> BoxFuture<'a, Result<Option<String>, Error>> {
        Box::pin(async move {
            let call = self.api.client().await.describe_images().registry_id(self.api.account());
            let call = call
                .repository_name(&self.repository)
                .image_ids(ImageIdentifier::builder().image_digest(digest.as_str()).build())
                .filter(DescribeImagesFilter::builder().image_status(ImageStatusFilter::Any).build());
            match call.customize().interceptor(CountCalls::on(&self.meter)).send().await {
                Ok(answer) => {
                    let tags = answer.image_details().iter().flat_map(|image| image.image_tags());
                    Ok(tags.into_iter().find(|other| *other != tag).cloned())
                }
                Err(error) if is_missing(error.code()) => Ok(None),
                Err(error) => Err(failure(&self.doing(tag, "DescribeImages"), &error)),
            }
        })
    }

    fn remove<'a>(&'a self, tag: &'a str) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let call = self.api.client().await.batch_delete_image().registry_id(self.api.account());
            let call =
                call.repository_name(&self.repository).image_ids(ImageIdentifier::builder().image_tag(tag).build());
            let doing = || self.doing(tag, "BatchDeleteImage");
            match call.customize().interceptor(CountCalls::on(&self.meter)).send().await {
                Ok(answer) => {
                    let failed = answer.failures().first();
                    removed(failed.map(|failed| failed.failure_code().map_or("", |code| code.as_str())), doing)
                }
                Err(error) if is_missing(error.code()) => Ok(false),
                Err(error) => Err(failure(&doing(), &error)),
            }
        })
    }

    fn takes_image_with_last_tag(&self) -> bool {
        true
    }
}

/// The tags of one repository of ECR Public, for the time of one run.
#[derive(Debug)]
pub struct EcrPublicTags {
    api: Arc<EcrPublicApi>,
    repository: String,
    meter: Arc<Meter>,
}

impl EcrPublicTags {
    /// The tags of `repository`, which begins with its registry's alias.
    #[must_use]
    pub fn new(api: Arc<EcrPublicApi>, repository: &str, meter: Arc<Meter>) -> Self {
        Self { api, repository: without_alias(repository).to_owned(), meter }
    }

    fn doing(&self, tag: &str, right: &str) -> String {
        let place = self.api.place();
        format!("removing tag {tag} of ECR Public repository {} (ecr-public:{right}, {place})", self.repository)
    }
}

impl Untagging for EcrPublicTags {
    fn another<'a>(&'a self, tag: &'a str, digest: &'a Digest) -> BoxFuture<'a, Result<Option<String>, Error>> {
        Box::pin(async move {
            let call = self.api.client().await.describe_images().repository_name(&self.repository);
            let call = call.image_ids(PublicIdentifier::builder().image_digest(digest.as_str()).build());
            match call.customize().interceptor(CountCalls::on(&self.meter)).send().await {
                Ok(answer) => {
                    let tags = answer.image_details().iter().flat_map(|image| image.image_tags());
                    Ok(tags.into_iter().find(|other| *other != tag).cloned())
                }
                Err(error) if is_missing(error.code()) => Ok(None),
                Err(error) => Err(failure(&self.doing(tag, "DescribeImages"), &error)),
            }
        })
    }

    fn remove<'a>(&'a self, tag: &'a str) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let call = self.api.client().await.batch_delete_image().repository_name(&self.repository);
            let call = call.image_ids(PublicIdentifier::builder().image_tag(tag).build());
            let doing = || self.doing(tag, "BatchDeleteImage");
            match call.customize().interceptor(CountCalls::on(&self.meter)).send().await {
                Ok(answer) => {
                    let failed = answer.failures().first();
                    removed(failed.map(|failed| failed.failure_code().map_or("", |code| code.as_str())), doing)
                }
                Err(error) if is_missing(error.code()) => Ok(false),
                Err(error) => Err(failure(&doing(), &error)),
            }
        })
    }

    fn takes_image_with_last_tag(&self) -> bool {
        true
    }
}

/// Whether an error says that there is nothing to remove.
fn is_missing(code: Option<&str>) -> bool {
    matches!(code, Some("ImageNotFoundException" | "RepositoryNotFoundException"))
}

/// What a failure among the answers of `BatchDeleteImage` means, which is a 200 all the same.
fn removed(failed: Option<&str>, doing: impl Fn() -> String) -> Result<bool, Error> {
    let (error_type, advice) = match failed {
        None => return Ok(true),
        Some("ImageNotFound") => return Ok(false),
        Some("ImageReferencedByManifestList") => {
            (ErrorType::Denied, "; an index lists the image, which goes with its last tag: remove that index first")
        }
        Some("KmsError") => (ErrorType::Denied, "; allow the role to use the key"),
        Some(_) => (ErrorType::Unavailable, ""),
    };
    Err(Error::new(error_type, format!("{}: {}{advice}", doing(), failed.unwrap_or_default())))
}
