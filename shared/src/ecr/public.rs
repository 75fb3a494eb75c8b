//! ECR Public: what a repository has, and creating one. Its API is served in one region for the whole world, and knows
//! repositories without the alias of their registry (`public.ecr.aws/ALIAS/REPOSITORY`): those of the caller's account.
//!
//! Source: ECR Public API, `BatchCheckLayerAvailability`, `CreateRepository`; ECR Public user guide, "Registries".

use std::{collections::HashSet, sync::Arc};

use aws_sdk_ecrpublic::{
    Client,
    config::Builder,
    error::ProvideErrorMetadata,
    types::{LayerAvailability as Availability, Tag},
};
use futures::future::BoxFuture;
use tokio::sync::OnceCell;

use super::{alias::OwnAliases, availability::in_calls};
use crate::{
    aws::{Aws, CountCalls, QuotaIsFinal, failure},
    config::Role,
    error::Error,
    limits::LayerAvailability,
    oci::Digest,
    settings::CreateRepository,
    transport::Meter,
};

/// The region that has ECR Public's API and is asked (ECR Public user guide, "Registry authentication").
const REGION: &str = "us-east-1";

/// ECR Public's API, and the role that speaks.
#[derive(Debug)]
pub struct EcrPublicApi {
    aws: Arc<Aws>,
    role: Option<Role>,
    client: OnceCell<Client>,
    aliases: OwnAliases,
}

impl EcrPublicApi {
    /// The API as the function's role, or as `role`; nothing is made yet.
    #[must_use]
    pub fn new(aws: Arc<Aws>, role: Option<Role>) -> Self {
        Self { aws, role, client: OnceCell::new(), aliases: OwnAliases::default() }
    }

    pub(super) async fn client(&self) -> &Client {
        self.client
            .get_or_init(async || {
                let config = self.aws.config_for(REGION, self.role.as_ref(), None).await;
                Client::from_conf(Builder::from(&config).retry_classifier(QuotaIsFinal).build())
            })
            .await
    }

    /// Checks that `repository`, which begins with its registry's alias, is in the registry that is asked.
    async fn owns(&self, repository: &str, meter: &Meter) -> Result<(), Error> {
        self.aliases.check(self, repository, meter).await
    }

    /// Where and as whom, for errors.
    pub(super) fn place(&self) -> String {
        match &self.role {
            Some(role) => format!("{REGION}, as {}", role.arn),
            None => format!("{REGION}, as the function's role"),
        }
    }
}

/// A repository as the API names it: what stands behind the alias.
pub(super) fn without_alias(repository: &str) -> &str {
    repository.split_once('/').map_or(repository, |(_, name)| name)
}

/// The layers of one repository, for the time of one run.
#[derive(Debug)]
pub struct EcrPublicAvailability {
    api: Arc<EcrPublicApi>,
    repository: String,
    meter: Arc<Meter>,
}

impl EcrPublicAvailability {
    /// The layers of `repository`, which begins with its registry's alias.
    #[must_use]
    pub fn new(api: Arc<EcrPublicApi>, repository: &str, meter: Arc<Meter>) -> Self {
        Self { api, repository: repository.to_owned(), meter }
    }

    /// One call. A digest that is missing from the answer counts as not available.
    async fn check(&self, digests: &[Digest]) -> Result<Vec<Digest>, Error> {
        let call = self.api.client().await.batch_check_layer_availability();
        let call = call.repository_name(without_alias(&self.repository));
        let call = call.set_layer_digests(Some(digests.iter().map(ToString::to_string).collect()));
        let answer = call.customize().interceptor(CountCalls::on(&self.meter)).send().await.map_err(|error| {
            let doing = format!("checking layers of ECR Public repository {} ({})", self.repository, self.api.place());
            failure(&doing, &error)
        })?;
        let available =
            answer.layers().iter().filter(|layer| layer.layer_availability() == Some(&Availability::Available));
        Ok(available.filter_map(|layer| layer.layer_digest()?.parse().ok()).collect())
    }
}

impl LayerAvailability for EcrPublicAvailability {
    fn available<'a>(&'a self, digests: &'a [Digest]) -> BoxFuture<'a, Result<HashSet<Digest>, Error>> {
        Box::pin(async move {
            self.api.owns(&self.repository, &self.meter).await?;
            in_calls(digests, |digests| self.check(digests)).await
        })
    }
}

/// The repositories of the caller's public registry, as far as they may be created.
#[derive(Debug)]
pub struct EcrPublicRepositories {
    api: Arc<EcrPublicApi>,
    settings: CreateRepository,
}

impl EcrPublicRepositories {
    /// Creates with these settings, of which ECR Public knows the tags alone.
    #[must_use]
    pub fn new(api: Arc<EcrPublicApi>, settings: CreateRepository) -> Self {
        Self { api, settings }
    }

    /// Creates `repository`, which begins with its registry's alias. That somebody else was first is no error.
    ///
    /// # Errors
    /// What the API says, and `InvalidConfig` where the registry is another account's.
    pub async fn create(&self, repository: &str, meter: &Meter) -> Result<(), Error> {
        let doing = format!("creating ECR Public repository {repository} ({})", self.api.place());
        self.api.owns(repository, meter).await?;
        let mut call = self.api.client().await.create_repository().repository_name(without_alias(repository));
        for (key, value) in &self.settings.tags {
            call = call.tags(Tag::builder().key(key).value(value).build());
        }
        match call.customize().interceptor(CountCalls::on(meter)).send().await {
            Ok(_) => {
                tracing::info!(ecr.repository = repository, "repository created");
                Ok(())
            }
            Err(error) if error.code() == Some("RepositoryAlreadyExistsException") => Ok(()),
            Err(error) => Err(failure(&doing, &error)),
        }
    }
}
