//! The SDK client of one ECR registry, made when it is first needed.

use std::sync::Arc;

use aws_sdk_ecr::Client;
use tokio::sync::OnceCell;

use crate::{aws::Aws, config::Role, provider::EcrHost};

/// ECR's API for one registry: its account, its region, and the role that speaks.
#[derive(Debug)]
pub struct EcrApi {
    aws: Arc<Aws>,
    home: EcrHost,
    role: Option<Role>,
    client: OnceCell<Client>,
}

impl EcrApi {
    /// The API of the registry at `home`; nothing is made yet.
    #[must_use]
    pub fn new(aws: Arc<Aws>, home: EcrHost, role: Option<Role>) -> Self {
        Self { aws, home, role, client: OnceCell::new() }
    }

    pub(super) async fn client(&self) -> &Client {
        self.client
            .get_or_init(async || Client::new(&self.aws.config_for(&self.home.region, self.role.as_ref()).await))
            .await
    }

    pub(super) fn account(&self) -> &str {
        &self.home.account
    }

    /// Where and as whom, for errors.
    pub(super) fn place(&self) -> String {
        let who = match &self.role {
            Some(role) => format!(" as {}", role.arn),
            None => " as the function's role".to_owned(),
        };
        format!("account {}, {}{who}", self.home.account, self.home.region)
    }
}
