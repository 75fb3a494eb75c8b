//! The SDK client of one ECR registry, made when it is first needed.

use std::sync::Arc;

use aws_config::SdkConfig;
use aws_sdk_ecr::{Client, config::Builder};
use tokio::sync::OnceCell;

use crate::{
    aws::{Aws, IdentitySource, QuotaIsFinal},
    config::Role,
    provider::EcrHost,
    settings::variable,
};

/// ECR's API for one registry: its account, its region, and the role that speaks.
#[derive(Debug)]
pub struct EcrApi {
    aws: Arc<Aws>,
    home: EcrHost,
    role: Option<Role>,
    identity: Option<Arc<dyn IdentitySource>>,
    client: OnceCell<Client>,
}

impl EcrApi {
    /// The API of the registry at `home`, asked as `identity` or as the function, and as `role` if that is to be assumed;
    /// nothing is made yet.
    #[must_use]
    pub fn new(aws: Arc<Aws>, home: EcrHost, role: Option<Role>, identity: Option<Arc<dyn IdentitySource>>) -> Self {
        Self { aws, home, role, identity, client: OnceCell::new() }
    }

    pub(super) async fn client(&self) -> &Client {
        self.client
            .get_or_init(async || {
                let config = self.aws.config_for(&self.home.region, self.role.as_ref(), self.identity.clone()).await;
                let configured = config.endpoint_url().is_some() || variable("AWS_ENDPOINT_URL_ECR").is_some();
                let config = like_its_host(&config, &self.home, configured).retry_classifier(QuotaIsFinal);
                Client::from_conf(config.build())
            })
            .await
    }

    pub(super) fn account(&self) -> &str {
        &self.home.account
    }

    pub(super) fn region(&self) -> &str {
        &self.home.region
    }

    /// Where and as whom, for errors.
    pub(super) fn place(&self) -> String {
        let who = match &self.role {
            Some(role) => format!(" as {}", role.arn),
            None if self.identity.is_some() => " as its configured credentials, or the function's role".to_owned(),
            None => " as the function's role".to_owned(),
        };
        format!("account {}, {}{who}", self.home.account, self.home.region)
    }
}

/// Who names a registry by its FIPS or its IPv6 host means its API, too. An endpoint that is `configured` is taken as it
/// is: the SDK refuses to mix the two.
fn like_its_host(config: &SdkConfig, home: &EcrHost, configured: bool) -> Builder {
    let builder = Builder::from(config);
    match configured {
        true => builder,
        false => builder
            .use_fips(home.fips || config.use_fips().unwrap_or_default())
            .use_dual_stack(home.dual_stack || config.use_dual_stack().unwrap_or_default()),
    }
}

#[cfg(test)]
#[path = "api_tests.rs"]
mod tests;
