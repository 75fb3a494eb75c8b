//! The texts of secrets, one for each place, whatever registries share it.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
};

use tokio::sync::Mutex;

use crate::{
    aws::{Aws, CountCalls, failure},
    config::CredentialSource,
    error::{Error, ErrorType},
    registry::Secret,
    settings::variable,
    transport::Meter,
};

/// The secrets of a process.
#[derive(Debug)]
pub struct SecretStore {
    aws: Arc<Aws>,
    /// Held for a look-up; a poisoned map still holds whole entries.
    kept: std::sync::Mutex<HashMap<CredentialSource, Arc<Slot>>>,
}

/// The lock is held while the secret is fetched, so that there is one fetch in flight.
type Slot = Mutex<Option<Secret>>;

/// A secret's text.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) text: Secret,
    /// Whether it was fetched just now.
    pub(super) fresh: bool,
}

impl SecretStore {
    /// Holds nothing yet.
    #[must_use]
    pub fn new(aws: Arc<Aws>) -> Self {
        Self { aws, kept: std::sync::Mutex::default() }
    }

    /// The text at `source`, and not `refused`: of many who were refused at once, one fetches.
    pub(super) async fn text(
        &self,
        source: &CredentialSource,
        refused: Option<&Secret>,
        doing: &str,
        meter: &Meter,
    ) -> Result<Fetched, Error> {
        let slot = self.slot(source);
        let mut kept = slot.lock().await;
        if let Some(text) = kept.as_ref().filter(|text| refused != Some(text)) {
            return Ok(Fetched { text: text.clone(), fresh: false });
        }
        let text = self.fetch(source, doing, meter).await?;
        *kept = Some(text.clone());
        Ok(Fetched { text, fresh: true })
    }

    fn slot(&self, source: &CredentialSource) -> Arc<Slot> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(kept.entry(source.clone()).or_default())
    }

    async fn fetch(&self, source: &CredentialSource, doing: &str, meter: &Meter) -> Result<Secret, Error> {
        let missing = |what: &str| Error::new(ErrorType::Unauthorized, format!("{doing}: {what}"));
        let text = match source {
            CredentialSource::Environment(name) => variable(name).ok_or_else(|| missing("the variable is not set"))?,
            CredentialSource::SecretsManager(id) => {
                let client = aws_sdk_secretsmanager::Client::new(&self.aws.config_in(arn_region(id)).await);
                let answer = client.get_secret_value().secret_id(id);
                let answer = answer.customize().interceptor(CountCalls::on(meter)).send().await;
                let answer = answer.map_err(|error| failure(doing, &error))?;
                answer.secret_string().map(str::to_owned).ok_or_else(|| missing("the secret holds no text"))?
            }
        };
        Ok(Secret::new(text))
    }
}

/// Where a secret is, for errors.
pub(super) fn place(source: &CredentialSource) -> String {
    match source {
        CredentialSource::Environment(name) => format!("the environment variable {name}"),
        CredentialSource::SecretsManager(id) => format!("the secret {id}"),
    }
}

/// The region in an ARN: a secret is found in its own region alone.
fn arn_region(id: &str) -> Option<&str> {
    id.starts_with("arn:").then(|| id.split(':').nth(3)).flatten().filter(|region| !region.is_empty())
}
