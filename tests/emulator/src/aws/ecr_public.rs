//! ECR Public's control API, over registries with its personality.

use std::{future::Future, pin::Pin, sync::Mutex, time::Duration};

use serde_json::{Value, json};

use super::{
    Api, ApiError, Call, account_of,
    ecr::{denied, expires_at, images, layers, principal, repositories, throttled},
};
use crate::{lock, registry::Registry, token};

/// `SpencerFrontendService`. The API is served in `us-east-1` and `us-west-2` only.
pub struct EcrPublicApi {
    registries: Vec<Registry>,
    denied: Mutex<Vec<String>>,
}

impl EcrPublicApi {
    /// The API of these registries.
    #[must_use]
    pub fn new(registries: Vec<Registry>) -> Self {
        Self { registries, denied: Mutex::default() }
    }

    /// Denies an operation to everybody from now on.
    pub fn deny(&self, operation: &str) {
        lock(&self.denied).push(operation.to_owned());
    }

    fn answer(&self, call: &Call) -> Result<Value, ApiError> {
        if !["us-east-1", "us-west-2"].contains(&call.region.as_str()) {
            return Err(ApiError::client("UnrecognizedClientException", "ECR Public has no endpoint in this region"));
        }
        if lock(&self.denied).contains(&call.operation) {
            return Err(denied(call, "*"));
        }
        let account = account_of(&call.access_key);
        let registry = self.registries.iter().find(|registry| registry.account() == account);
        if let Some(registry) = registry
            && !registry.shared().buckets.take(&call.operation)
        {
            return Err(throttled());
        }
        if call.operation == "GetAuthorizationToken" {
            let lifetime = Duration::from_secs(12 * 3600);
            let principal = principal(&call.access_key);
            let password = token::ecr_password("ecr-public", account, &call.region, &principal, lifetime);
            return Ok(json!({"authorizationData": {
                "authorizationToken": token::ecr_token(&password),
                "expiresAt": expires_at(lifetime),
            }}));
        }
        if call.operation == "DescribeRegistries" {
            let found = registry.map(describe).into_iter().collect::<Vec<_>>();
            return Ok(json!({ "registries": found }));
        }
        let text = format!("The registry with id '{account}' does not exist");
        let registry = registry.ok_or_else(|| ApiError::client("RegistryNotFoundException", text))?;
        // The API knows repositories without the alias that their paths begin with.
        let mut body = call.body.clone();
        if let Some(name) = body.get("repositoryName").and_then(Value::as_str) {
            body["repositoryName"] = format!("{}/{name}", registry.alias()).into();
        }
        match call.operation.as_str() {
            "BatchCheckLayerAvailability" => layers::check(registry, &body, false),
            "CreateRepository" => {
                let known = ["repositoryName", "catalogData", "tags"];
                let strange = body.as_object().into_iter().flatten().find(|(key, _)| !known.contains(&key.as_str()));
                match strange {
                    Some((key, _)) => Err(ApiError::client("SerializationException", format!("{key} is unknown"))),
                    None => repositories::create(registry, &body),
                }
            }
            "DescribeRepositories" => repositories::describe(registry, &call.body),
            "DescribeImages" => images::describe(registry, &body),
            "BatchDeleteImage" => images::batch_delete(registry, &body),
            other => Err(ApiError::client("UnknownOperationException", format!("{other} is not emulated"))),
        }
    }
}

/// A registry as `DescribeRegistries` tells of it. The alias that repositories are known by is the one that AWS gave; one
/// that was asked for and granted is the primary one.
fn describe(registry: &Registry) -> Value {
    let (account, given) = (registry.account(), registry.alias());
    let further = &registry.shared().further_aliases;
    let primary = further.iter().find(|(_, status)| *status == "ACTIVE").map_or(given, |(name, _)| name);
    let all = std::iter::once((given, registry.alias_status()))
        .chain(further.iter().map(|(name, status)| (name.as_str(), *status)));
    let aliases = all.map(|(name, status)| {
        json!({
            "name": name,
            "status": status,
            "primaryRegistryAlias": name == primary,
            "defaultRegistryAlias": name == given,
        })
    });
    json!({
        "registryId": account,
        "registryArn": format!("arn:aws:ecr-public::{account}:registry/{account}"),
        "registryUri": format!("public.ecr.aws/{primary}"),
        "verified": false,
        "aliases": aliases.collect::<Vec<_>>(),
    })
}

impl Api for EcrPublicApi {
    fn target(&self) -> &'static str {
        "SpencerFrontendService"
    }

    fn call(&self, call: Call) -> Pin<Box<dyn Future<Output = Result<Value, ApiError>> + Send + '_>> {
        Box::pin(async move { self.answer(&call) })
    }
}
