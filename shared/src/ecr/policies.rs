//! The policies of a repository that was created here.
//!
//! A repository is created in one call, and each of its policies is set in another. A run that dies in between leaves a
//! repository that the next one finds there, and so would never set them. So the policies are set on a repository that is
//! empty and has none, too: one that was half made, or one that they can't harm. A policy that somebody has set is never
//! touched, nor a repository that has images: a lifecycle policy deletes them.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use aws_sdk_ecr::{
    error::ProvideErrorMetadata,
    types::{DescribeImagesFilter, ImageStatusFilter},
};

use super::EcrApi;
use crate::{
    aws::{CountCalls, failure},
    error::Error,
    settings::CreateRepository,
    transport::Meter,
};

/// The kinds of policies that a repository may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Lifecycle,
    Repository,
}

/// The policies that repositories get.
#[derive(Debug)]
pub(super) struct Policies {
    wanted: Vec<(Kind, String)>,
    /// The repositories that this process has seen to.
    done: Mutex<HashSet<String>>,
}

impl Policies {
    /// Those of `settings`.
    pub(super) fn of(settings: &CreateRepository) -> Self {
        let lifecycle = settings.lifecycle_policy.as_ref().map(|policy| (Kind::Lifecycle, policy.text()));
        let repository = settings.repository_policy.as_ref().map(|policy| (Kind::Repository, policy.text()));
        Self { wanted: lifecycle.into_iter().chain(repository).collect(), done: Mutex::default() }
    }

    /// Sets them on a repository that was created just now.
    pub(super) async fn set(&self, api: &EcrApi, repository: &str, meter: &Meter) -> Result<(), Error> {
        for (kind, text) in &self.wanted {
            kind.put(api, repository, text, meter).await?;
        }
        self.note(repository);
        Ok(())
    }

    /// Sets those that are missing on a repository that somebody created, as long as it is empty.
    pub(super) async fn complete(&self, api: &Arc<EcrApi>, repository: &str, meter: &Meter) -> Result<(), Error> {
        if self.wanted.is_empty() || self.knows(repository) {
            return Ok(());
        }
        let mut missing = Vec::new();
        for (kind, text) in &self.wanted {
            if !kind.is_set(api, repository, meter).await? {
                missing.push((kind, text));
            }
        }
        if !missing.is_empty() && is_empty(api, repository, meter).await? {
            for (kind, text) in missing {
                kind.put(api, repository, text, meter).await?;
            }
        }
        self.note(repository);
        Ok(())
    }

    fn knows(&self, repository: &str) -> bool {
        // Held to look or to insert, which leaves a whole set behind.
        self.done.lock().unwrap_or_else(PoisonError::into_inner).contains(repository)
    }

    fn note(&self, repository: &str) {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).insert(repository.to_owned());
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Lifecycle => "lifecycle policy",
            Self::Repository => "repository policy",
        }
    }

    async fn put(self, api: &EcrApi, repository: &str, text: &str, meter: &Meter) -> Result<(), Error> {
        let doing = format!("setting the {} of ECR repository {repository} ({})", self.name(), api.place());
        let client = api.client().await;
        match self {
            Self::Lifecycle => {
                let call = client.put_lifecycle_policy().registry_id(api.account()).repository_name(repository);
                let call = call.lifecycle_policy_text(text).customize().interceptor(CountCalls::on(meter));
                call.send().await.map(drop).map_err(|error| failure(&doing, &error))?;
            }
            Self::Repository => {
                let call = client.set_repository_policy().registry_id(api.account()).repository_name(repository);
                let call = call.policy_text(text).customize().interceptor(CountCalls::on(meter));
                call.send().await.map(drop).map_err(|error| failure(&doing, &error))?;
            }
        }
        tracing::info!(ecr.repository = repository, policy = self.name(), "policy set");
        Ok(())
    }

    async fn is_set(self, api: &EcrApi, repository: &str, meter: &Meter) -> Result<bool, Error> {
        let doing = format!("reading the {} of ECR repository {repository} ({})", self.name(), api.place());
        let client = api.client().await;
        match self {
            Self::Lifecycle => {
                let call = client.get_lifecycle_policy().registry_id(api.account()).repository_name(repository);
                match call.customize().interceptor(CountCalls::on(meter)).send().await {
                    Ok(_) => Ok(true),
                    Err(error) if error.code() == Some("LifecyclePolicyNotFoundException") => Ok(false),
                    Err(error) => Err(failure(&doing, &error)),
                }
            }
            Self::Repository => {
                let call = client.get_repository_policy().registry_id(api.account()).repository_name(repository);
                match call.customize().interceptor(CountCalls::on(meter)).send().await {
                    Ok(_) => Ok(true),
                    Err(error) if error.code() == Some("RepositoryPolicyNotFoundException") => Ok(false),
                    Err(error) => Err(failure(&doing, &error)),
                }
            }
        }
    }
}

/// Whether there is no image at all in it, archived ones included.
async fn is_empty(api: &EcrApi, repository: &str, meter: &Meter) -> Result<bool, Error> {
    let doing = format!("looking for images in ECR repository {repository} ({})", api.place());
    let any = DescribeImagesFilter::builder().image_status(ImageStatusFilter::Any).build();
    let call = api.client().await.describe_images().registry_id(api.account()).repository_name(repository);
    let call = call.filter(any).max_results(1).customize().interceptor(CountCalls::on(meter));
    let answer = call.send().await.map_err(|error| failure(&doing, &error))?;
    Ok(answer.image_details().is_empty() && answer.next_token().is_none())
}
