//! Creating a repository that is missing at an ECR destination.

use std::sync::Arc;

use aws_sdk_ecr::{
    error::ProvideErrorMetadata,
    types::{
        EncryptionConfiguration, EncryptionType as SdkEncryption, ImageScanningConfiguration, ImageTagMutability,
        ImageTagMutabilityExclusionFilter, ImageTagMutabilityExclusionFilterType, Tag,
    },
};

use super::{EcrApi, policies::Policies};
use crate::{
    aws::{CountCalls, failure},
    error::{Error, ErrorType},
    settings::{CreateRepository, EncryptionType, TagMutability},
    transport::Meter,
};

/// The repositories of one registry, as far as they may be created.
#[derive(Debug)]
pub struct EcrRepositories {
    api: Arc<EcrApi>,
    policies: Policies,
    settings: CreateRepository,
}

impl EcrRepositories {
    /// Creates with these settings.
    #[must_use]
    pub fn new(api: Arc<EcrApi>, settings: CreateRepository) -> Self {
        Self { api, policies: Policies::of(&settings), settings }
    }

    /// Creates `repository` and sets its policies. That somebody else was first is no error.
    ///
    /// # Errors
    /// What the API says, and `InvalidConfig` for settings that it can't take.
    pub async fn create(&self, repository: &str, meter: &Meter) -> Result<(), Error> {
        let doing = format!("creating ECR repository {repository} ({})", self.api.place());
        let wrong = |error: &dyn std::fmt::Display| Error::new(ErrorType::InvalidConfig, format!("{doing}: {error}"));
        let settings = &self.settings;
        let mut request = self
            .api
            .client()
            .await
            .create_repository()
            .registry_id(self.api.account())
            .repository_name(repository)
            .set_image_tag_mutability(settings.tag_mutability.map(mutability));
        for filter in &settings.tag_mutability_exclusions {
            let filter = ImageTagMutabilityExclusionFilter::builder()
                .filter_type(ImageTagMutabilityExclusionFilterType::Wildcard)
                .filter(filter)
                .build()
                .map_err(|error| wrong(&error))?;
            request = request.image_tag_mutability_exclusion_filters(filter);
        }
        if let Some(scan) = settings.scan_on_push {
            request =
                request.image_scanning_configuration(ImageScanningConfiguration::builder().scan_on_push(scan).build());
        }
        if let Some(encryption) = &settings.encryption {
            let encryption = EncryptionConfiguration::builder()
                .encryption_type(match encryption.kind {
                    EncryptionType::Aes256 => SdkEncryption::Aes256,
                    EncryptionType::Kms => SdkEncryption::Kms,
                    EncryptionType::KmsDsse => SdkEncryption::KmsDsse,
                })
                .set_kms_key(encryption.kms_key.clone())
                .build()
                .map_err(|error| wrong(&error))?;
            request = request.encryption_configuration(encryption);
        }
        for (key, value) in &settings.tags {
            request = request.tags(Tag::builder().key(key).value(value).build().map_err(|error| wrong(&error))?);
        }
        match request.customize().interceptor(CountCalls::on(meter)).send().await {
            Ok(_) => {
                tracing::info!(ecr.repository = repository, "repository created");
                self.policies.set(&self.api, repository, meter).await
            }
            Err(error) if error.code() == Some("RepositoryAlreadyExistsException") => {
                self.complete(repository, meter).await
            }
            Err(error) => Err(failure(&doing, &error)),
        }
    }

    /// Sets the policies that a creation which was broken off left out: those that are missing on a repository that is
    /// empty.
    ///
    /// # Errors
    /// What the API says.
    pub async fn complete(&self, repository: &str, meter: &Meter) -> Result<(), Error> {
        self.policies.complete(&self.api, repository, meter).await
    }
}

fn mutability(setting: TagMutability) -> ImageTagMutability {
    match setting {
        TagMutability::Mutable => ImageTagMutability::Mutable,
        TagMutability::Immutable => ImageTagMutability::Immutable,
        TagMutability::MutableWithExclusion => ImageTagMutability::MutableWithExclusion,
        TagMutability::ImmutableWithExclusion => ImageTagMutability::ImmutableWithExclusion,
    }
}
