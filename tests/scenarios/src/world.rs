//! Two emulated registries, the AWS APIs, and a configuration that joins them: the ground of most scenarios.

use std::sync::Arc;

use emulator::{
    Authority, Builder, Personality, Registry,
    aws::{Api, Aws, EcrApi, EcrPublicApi},
};
use serde_json::{Map, Value, json};

use crate::function::{Function, Settings};

/// The host of the source ECR registry: that of the events in `events/`.
pub const SOURCE: &str = "111122223333.dkr.ecr.us-east-1.amazonaws.com";

/// The host of the destination ECR registry: another account, another region.
pub const DESTINATION: &str = "222233334444.dkr.ecr.eu-west-1.amazonaws.com";

/// Registries, AWS, and how they are configured.
pub struct World {
    /// Who signs the registries' certificates.
    pub authority: Authority,
    /// Where images are pushed to: an ECR registry known as [`SOURCE`], unless another one was given.
    pub source: Registry,
    /// Where they go.
    pub destination: Registry,
    /// ECR's API of both, SQS, Secrets Manager, SSM, STS.
    pub aws: Aws,
    /// ECR's API alone.
    pub ecr: Arc<EcrApi>,
    /// The source's host as references name it.
    pub source_host: String,
    /// The destination's host as references name it.
    pub destination_host: String,
    /// The configuration that the functions get; change it before starting one.
    pub config: Value,
}

impl World {
    /// From ECR in one account and region to ECR in another, both over TLS; `change` may make the destination odd.
    pub async fn ecr(change: impl FnOnce(Builder) -> Builder) -> Self {
        let destination = Registry::builder(Personality::Ecr).account("222233334444").region("eu-west-1");
        Self::build(|source| source, change(destination), Some(DESTINATION)).await
    }

    /// From ECR to a registry of another kind, known by its address.
    pub async fn to(personality: Personality, change: impl FnOnce(Builder) -> Builder) -> Self {
        Self::build(|source| source, change(Registry::builder(personality)), None).await
    }

    /// From an ECR registry that `change` may make odd, to `destination`, known as `host` or by its address.
    pub async fn build(change: impl FnOnce(Builder) -> Builder, destination: Builder, host: Option<&str>) -> Self {
        let source = Registry::builder(Personality::Ecr).account("111122223333").region("us-east-1");
        Self::join(change(source), Some(SOURCE), destination, host).await
    }

    /// Between two registries of any kind: for messages that name both ends. ECR's are known by their own hosts, so that two
    /// of them need an account or a region each; the others by their addresses.
    pub async fn between(source: Builder, destination: Builder) -> Self {
        Self::join(source, None, destination, None).await
    }

    async fn join(source: Builder, source_host: Option<&str>, destination: Builder, host: Option<&str>) -> Self {
        let authority = Authority::new();
        let (source_known, known) = (source.ecr_host(), destination.ecr_host());
        let source = source.tls(&authority).start().await;
        let destination = destination.tls(&authority).start().await;
        let of = |personality: Personality| -> Vec<Registry> {
            let both = [&source, &destination].into_iter();
            both.filter(|registry| registry.personality() == personality).cloned().collect()
        };
        let ecr = Arc::new(EcrApi::new(of(Personality::Ecr)));
        let public: Arc<dyn Api> = Arc::new(EcrPublicApi::new(of(Personality::EcrPublic)));
        let aws = Aws::start(vec![ecr.clone(), public]).await;
        let source_host = source_host.map(str::to_owned).or(source_known).unwrap_or_else(|| source.host());
        let destination_host = host.map(str::to_owned).or(known).unwrap_or_else(|| destination.host());
        let mut registries = Map::new();
        registries.insert(source_host.clone(), entry(&source, &authority));
        registries.insert(destination_host.clone(), entry(&destination, &authority));
        let config = json!({
            "rules": [{ "destinations": [format!("{destination_host}/mirror/{{repository}}")] }],
            "registries": registries,
        });
        Self { authority, source, destination, aws, ecr, source_host, destination_host, config }
    }

    /// The configuration of one registry, by its host, to be changed before a function starts.
    pub fn registry_config(&mut self, host: &str) -> &mut Map<String, Value> {
        self.config["registries"][host].as_object_mut().expect("the host is configured")
    }

    /// The first (and mostly only) rule, to be changed before a function starts.
    pub fn rule(&mut self) -> &mut Map<String, Value> {
        self.config["rules"][0].as_object_mut().expect("there is a rule")
    }

    /// Starts a function with the configuration as it is now, and `env` beside it.
    pub async fn function(&self, binary: &str, env: &[(&str, &str)]) -> Function {
        self.function_with(binary, Settings::default(), env).await
    }

    /// Starts a function with other settings.
    pub async fn function_with(&self, binary: &str, settings: Settings, env: &[(&str, &str)]) -> Function {
        let (config, url) = (self.config.to_string(), self.aws.url());
        let mut all = vec![("TRANSSHIP_CONFIG", config.as_str()), ("AWS_ENDPOINT_URL", url.as_str())];
        all.extend_from_slice(env);
        Function::start_with(binary, settings, &all).await
    }

    /// Empties every journal, so that only what follows is counted.
    pub fn forget(&self) {
        self.source.journal().clear();
        self.destination.journal().clear();
        self.aws.clear_calls();
    }
}

/// What has to be configured for a registry that answers on this machine.
pub fn entry(registry: &Registry, authority: &Authority) -> Value {
    let mut entry = json!({ "endpoint": registry.url(), "ca_certificate": authority.pem() });
    if let Some(origin) = registry.blob_origin() {
        entry["redirects"] = json!([origin]);
    }
    let provider = match registry.personality() {
        Personality::Ecr => None,
        Personality::EcrPublic => Some("ecr-public"),
        Personality::Ghcr => Some("ghcr"),
        Personality::Gar => Some("gar"),
        Personality::Acr => Some("acr"),
        Personality::DockerHub => Some("docker-hub"),
        Personality::Quay => Some("quay"),
        Personality::Plain | Personality::Harbor => Some("generic"),
    };
    if let Some(provider) = provider {
        entry["provider"] = json!(provider);
    }
    entry
}

/// The event of a tag's deletion at the source, as ECR sends it: AWS's sample has no media types.
pub fn delete_event(repository: &str, tag: &str, digest: &str) -> Value {
    let mut event = push_event(repository, tag, digest);
    let detail = event["detail"].as_object_mut().expect("it is one");
    detail.insert("action-type".into(), "DELETE".into());
    detail.retain(|key, _| !key.ends_with("-media-type"));
    event
}

/// The event of a finished scan at the source, as ECR sends it.
pub fn scan_event(repository: &str, tags: &[&str], digest: &str) -> Value {
    let mut event = push_event(repository, "", digest);
    event["detail-type"] = "ECR Image Scan".into();
    event["resources"] = json!([format!("arn:aws:ecr:us-east-1:111122223333:repository/{repository}")]);
    event["detail"] = json!({
        "scan-status": "COMPLETE",
        "repository-name": repository,
        "finding-severity-counts": {},
        "image-digest": digest,
        "image-tags": tags,
    });
    event
}

/// The event of a push to the source, as ECR sends it.
pub fn push_event(repository: &str, tag: &str, digest: &str) -> Value {
    json!({
        "version": "0",
        "id": "13cde686-328b-6117-af20-0e5566167482",
        "detail-type": "ECR Image Action",
        "source": "aws.ecr",
        "account": "111122223333",
        "time": "2026-11-22T09:30:15Z",
        "region": "us-east-1",
        "resources": [],
        "detail": {
            "result": "SUCCESS",
            "repository-name": repository,
            "image-digest": digest,
            "action-type": "PUSH",
            "image-tag": tag,
            "manifest-media-type": "application/vnd.oci.image.manifest.v1+json",
            "artifact-media-type": "application/vnd.oci.image.config.v1+json",
        },
    })
}
