//! The configuration as it is used: checked whole, every default filled in.
//!
//! Parsing finds one mistake, as JSON parsers do; what parses is then checked whole, and all mistakes are said at
//! once, each with its JSON path.

mod federation;
mod validate;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub use federation::{EntraAuthority, WorkloadIdentity};
use url::Url;

use crate::{
    error::{Error, ErrorType},
    oci::normalize_host,
    provider::{EcrHost, Provider},
    rules::Rules,
    settings::{CreateRepository, Document, Environment},
};

/// The configuration, checked, with every default filled in.
#[derive(Debug)]
pub struct Config {
    /// What is replicated where.
    pub rules: Rules,
    /// Bounds.
    pub limits: Limits,
    registries: BTreeMap<String, RegistryConfig>,
}

/// What is configured of one registry, or follows from its host.
#[derive(Debug, Clone)]
pub struct RegistryConfig {
    /// The host, as it stands in references.
    pub host: String,
    /// What kind of registry it is.
    pub provider: Provider,
    /// Where it answers.
    pub endpoint: Url,
    /// Extra trust, PEM.
    pub ca_certificate: Option<Arc<str>>,
    /// Where its credentials come from.
    pub credentials: Option<CredentialSource>,
    /// Artifact Registry: who the function is there, where it has no credentials.
    pub workload_identity: Option<WorkloadIdentity>,
    /// ACR: where an application that is its credentials signs in.
    pub authority: Option<EntraAuthority>,
    /// ECR: the account that owns the registry, and its region.
    pub ecr: Option<EcrHost>,
    /// ECR: the role to assume for its API.
    pub role: Option<Role>,
    /// ECR: how to create a repository that is missing; `None`: don't.
    pub create_repository: Option<CreateRepository>,
    /// `HOST:PORT`s that a blob read may be redirected to although they are not public.
    pub redirects: Vec<String>,
    /// Body-carrying streams at once.
    pub streams: u32,
}

/// Where a registry's credentials come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CredentialSource {
    /// A secret in AWS Secrets Manager, by ARN or name.
    SecretsManager(String),
    /// An environment variable, for local runs.
    Environment(String),
}

/// A role to assume.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// The external ID that its trust policy asks for.
    pub external_id: Option<String>,
}

/// Bounds, with defaults filled in (`docs/limits.md` gives the reasons).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Blobs in transfer at once.
    pub blob_concurrency: u32,
    /// Bytes that all transfers together may hold.
    pub buffer_bytes: u64,
    /// How long the commit gate waits for blobs to be good for a manifest.
    pub manifest_commit_wait: Duration,
    /// Kept of the invocation's time, to report.
    pub deadline_margin: Duration,
    /// How long nothing may move before an exchange is given up.
    pub request_timeout: Duration,
    /// Tries of one request, the first included.
    pub max_attempts: u32,
}

impl Config {
    /// Parses and checks a configuration document.
    ///
    /// # Errors
    /// `InvalidConfig`, with every mistake and its JSON path.
    pub fn parse(text: &str, environment: &Environment) -> Result<Self, Error> {
        validate::document(Self::document(text)?, environment).map_err(|mistakes| invalid(&mistakes))
    }

    /// Parses and checks a document for its rules, away from where it is used: certificates that it names by file need not
    /// be here.
    ///
    /// # Errors
    /// `InvalidConfig`, with every other mistake and its JSON path.
    pub fn parse_elsewhere(text: &str, environment: &Environment) -> Result<Self, Error> {
        let mut document = Self::document(text)?;
        for registry in document.registries.values_mut() {
            registry.ca_certificate = registry.ca_certificate.take().filter(|text| !text.starts_with("file:"));
        }
        validate::document(document, environment).map_err(|mistakes| invalid(&mistakes))
    }

    fn document(text: &str) -> Result<Document, Error> {
        let mut json = serde_json::Deserializer::from_str(text);
        let document: Document = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let path = error.path().to_string();
            invalid(&[format!("{path}: {}", error.into_inner())])
        })?;
        json.end().map_err(|error| invalid(&[format!(".: {error}")]))?;
        Ok(document)
    }

    /// What is configured of the registry with this host, or follows from the host alone.
    #[must_use]
    pub fn registry(&self, host: &str) -> RegistryConfig {
        let host = normalize_host(host).unwrap_or_else(|| host.to_owned());
        match self.registries.get(&host) {
            Some(registry) => registry.clone(),
            None => RegistryConfig::from_host(&host),
        }
    }

    /// Every endpoint that was configured, whatever registry it serves.
    pub fn endpoints(&self) -> impl Iterator<Item = &Url> {
        self.registries.values().map(|registry| &registry.endpoint)
    }

    pub(crate) fn assembled(rules: Rules, limits: Limits, registries: BTreeMap<String, RegistryConfig>) -> Self {
        Self { rules, limits, registries }
    }
}

/// Towards one registry, well under the 100 to 128 concurrent streams that large registries advertise.
const DEFAULT_STREAMS: u32 = 64;

impl RegistryConfig {
    /// What follows from a host of which nothing is configured.
    fn from_host(host: &str) -> Self {
        let provider = Provider::of_host(host);
        let endpoint = provider.default_endpoint(host);
        Self {
            host: host.to_owned(),
            provider,
            // Hosts come normalized, so this parses; `.invalid` never resolves (RFC 2606).
            endpoint: Url::parse(&endpoint).unwrap_or_else(|_| nowhere()),
            ca_certificate: None,
            credentials: None,
            workload_identity: None,
            authority: None,
            ecr: EcrHost::parse(host),
            role: None,
            create_repository: None,
            redirects: Vec::new(),
            streams: DEFAULT_STREAMS,
        }
    }

    /// Whether ECR's API is spoken with it.
    #[must_use]
    pub fn speaks_ecr(&self) -> bool {
        self.provider == Provider::Ecr
    }
}

#[expect(clippy::expect_used, reason = "the text is a URL, as a test shows")]
fn nowhere() -> Url {
    Url::parse("https://registry.invalid").expect("a constant URL")
}

fn invalid(mistakes: &[String]) -> Error {
    Error::new(ErrorType::InvalidConfig, format!("the configuration can't be used: {}", mistakes.join("; ")))
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
