//! ECR's control API over the emulated registries, so that both sides of it tell one story.

pub(super) mod images;
pub(super) mod layers;
pub(super) mod repositories;
mod scans;

use std::{
    future::Future,
    pin::Pin,
    sync::Mutex,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
pub use scans::ScanFindings;
use serde_json::{Value, json};

use super::{Api, ApiError, Call, account_of};
use crate::{
    lock,
    registry::Registry,
    store::{Access, epoch},
    token,
};

/// How long a token holds (documented).
const LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// `AmazonEC2ContainerRegistry_V20150921`, over registries with the personality [`Ecr`].
///
/// A call goes to the registry of its `registryId`, or of its caller's account, in the region it is signed for.
///
/// [`Ecr`]: crate::Personality::Ecr
pub struct EcrApi {
    registries: Vec<Registry>,
    switches: Mutex<Switches>,
    scans: scans::Scans,
}

#[derive(Debug, Clone)]
struct Switches {
    denied: Vec<String>,
    token_lifetime: Duration,
    missing_as_failure: bool,
}

impl EcrApi {
    /// The API of these registries.
    #[must_use]
    pub fn new(registries: Vec<Registry>) -> Self {
        let switches = Switches { denied: Vec::new(), token_lifetime: LIFETIME, missing_as_failure: false };
        Self { registries, switches: Mutex::new(switches), scans: scans::Scans::default() }
    }

    /// Denies an operation to everybody from now on. A repository is denied through its registry's
    /// [`Store::deny`](crate::Store::deny).
    pub fn deny(&self, operation: &str) {
        lock(&self.switches).denied.push(operation.to_owned());
    }

    /// Allows an operation again.
    pub fn allow(&self, operation: &str) {
        lock(&self.switches).denied.retain(|denied| denied != operation);
    }

    /// How long tokens hold that are issued from now on.
    pub fn set_token_lifetime(&self, lifetime: Duration) {
        lock(&self.switches).token_lifetime = lifetime;
    }

    /// Reports a missing layer as a failure `MissingLayerDigest` instead of `UNAVAILABLE`: the API allows both.
    pub fn report_missing_layers_as_failures(&self, on: bool) {
        lock(&self.switches).missing_as_failure = on;
    }

    /// Sets how far the scan of an image is, and what it found; without counts there are no findings to be had yet. An image
    /// of which nothing was set has no scan.
    pub fn set_scan(&self, repository: &str, digest: &str, status: &str, counts: Option<&[(&str, u64)]>) {
        self.scans.set(repository, digest, status, counts.map(ScanFindings::counted));
    }

    /// The same, with an answer that tells of the findings as they are given.
    pub fn set_findings(&self, repository: &str, digest: &str, status: &str, findings: ScanFindings) {
        self.scans.set(repository, digest, status, Some(findings));
    }

    /// Puts a policy on a repository, as its owner would: `lifecyclePolicyText` or `policyText`.
    pub fn put_policy(&self, account: &str, region: &str, repository: &str, key: &str, policy: &Value) {
        let found = self.registries.iter().find(|found| found.account() == account && found.region() == region);
        let body = json!({"repositoryName": repository, key: policy.to_string()});
        let put = found.map(|registry| repositories::put(registry, &body, key));
        assert!(put.is_some_and(|put| put.is_ok()), "{repository} has no place for the policy");
    }

    fn answer(&self, call: &Call) -> Result<Value, ApiError> {
        let switches = lock(&self.switches).clone();
        if switches.denied.contains(&call.operation) {
            return Err(denied(call, &format!("arn:aws:ecr:{}:{}:*", call.region, account_of(&call.access_key))));
        }
        let registry = self.registry(call);
        if let Some(registry) = registry
            && !registry.shared().buckets.take(&call.operation)
        {
            return Err(throttled());
        }
        if call.operation == "GetAuthorizationToken" {
            return authorization(call, switches.token_lifetime);
        }
        let name = text(&call.body, "repositoryName").unwrap_or_default();
        let Some(registry) = registry else { return Err(missing(name, &registry_id(call))) };
        if let Some(access) = needed(&call.operation).filter(|_| !name.is_empty())
            && registry.store().is_denied(name, access)
        {
            return Err(denied(call, &repositories::arn(registry, name)));
        }
        match call.operation.as_str() {
            "BatchCheckLayerAvailability" => layers::check(registry, &call.body, switches.missing_as_failure),
            "GetDownloadUrlForLayer" => layers::download_url(registry, &call.body),
            "CreateRepository" => repositories::create(registry, &call.body),
            "DescribeRepositories" => repositories::describe(registry, &call.body),
            "DeleteRepository" => repositories::delete(registry, &call.body),
            "PutLifecyclePolicy" => repositories::put(registry, &call.body, "lifecyclePolicyText"),
            "GetLifecyclePolicy" => {
                repositories::get(registry, &call.body, "lifecyclePolicyText", "LifecyclePolicyNotFoundException")
            }
            "SetRepositoryPolicy" => repositories::put(registry, &call.body, "policyText"),
            "GetRepositoryPolicy" => {
                repositories::get(registry, &call.body, "policyText", "RepositoryPolicyNotFoundException")
            }
            "PutImageTagMutability" => repositories::put_mutability(registry, &call.body),
            "TagResource" => repositories::tag(registry, &call.body),
            "ListTagsForResource" => repositories::list_tags(registry, &call.body),
            "PutAccountSetting" => repositories::put_setting(registry, &call.body),
            "GetAccountSetting" => repositories::get_setting(registry, &call.body),
            "DescribeImages" => images::describe(registry, &call.body),
            "ListImages" => images::list(registry, &call.body),
            "BatchGetImage" => images::batch_get(registry, &call.body),
            "BatchDeleteImage" => images::batch_delete(registry, &call.body),
            "DescribeImageScanFindings" => self.scans.describe(registry, &call.body),
            "ListImageReferrers" => images::referrers(registry, &call.body),
            other => Err(ApiError::client("UnknownOperationException", format!("{other} is not emulated"))),
        }
    }

    fn registry(&self, call: &Call) -> Option<&Registry> {
        let account = registry_id(call);
        self.registries.iter().find(|registry| registry.account() == account && registry.region() == call.region)
    }
}

impl Api for EcrApi {
    fn target(&self) -> &'static str {
        "AmazonEC2ContainerRegistry_V20150921"
    }

    fn call(&self, call: Call) -> Pin<Box<dyn Future<Output = Result<Value, ApiError>> + Send + '_>> {
        Box::pin(async move { self.answer(&call) })
    }
}

fn authorization(call: &Call, lifetime: Duration) -> Result<Value, ApiError> {
    let caller = account_of(&call.access_key);
    let ids: Vec<&str> = match call.body.get("registryIds").and_then(Value::as_array) {
        None => vec![caller],
        Some(ids) if ids.is_empty() || ids.len() > 10 => {
            return Err(invalid("registryIds", "Member must have length between 1 and 10"));
        }
        Some(ids) => ids.iter().filter_map(Value::as_str).collect(),
    };
    // One token for whatever the principal may do, whichever registries were named.
    let password = token::ecr_password("ecr", caller, &call.region, &principal(&call.access_key), lifetime);
    let data: Vec<Value> = ids
        .into_iter()
        .map(|id| {
            json!({
                "authorizationToken": token::ecr_token(&password),
                "expiresAt": expires_at(lifetime),
                "proxyEndpoint": format!("https://{}", host(id, &call.region)),
            })
        })
        .collect();
    Ok(json!({"authorizationData": data}))
}

/// What a policy must allow for an operation on a repository.
fn needed(operation: &str) -> Option<Access> {
    match operation {
        "CreateRepository" => Some(Access::Create),
        "BatchCheckLayerAvailability"
        | "GetDownloadUrlForLayer"
        | "DescribeImages"
        | "ListImages"
        | "BatchGetImage"
        | "DescribeImageScanFindings"
        | "ListImageReferrers" => Some(Access::Pull),
        "PutLifecyclePolicy"
        | "SetRepositoryPolicy"
        | "PutImageTagMutability"
        | "BatchDeleteImage"
        | "DeleteRepository" => Some(Access::Push),
        _ => None,
    }
}

pub(super) fn expires_at(lifetime: Duration) -> f64 {
    epoch(SystemTime::now() + lifetime)
}

/// Who an access key belongs to. Keys of sessions begin with `ASIA`.
pub(super) fn principal(access_key: &str) -> String {
    let account = account_of(access_key);
    if access_key.starts_with("ASIA") {
        return format!("arn:aws:sts::{account}:assumed-role/transship/{access_key}");
    }
    format!("arn:aws:iam::{account}:user/transship")
}

fn registry_id(call: &Call) -> String {
    text(&call.body, "registryId").unwrap_or_else(|| account_of(&call.access_key)).to_owned()
}

fn host(account: &str, region: &str) -> String {
    let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("{account}.dkr.ecr.{region}.amazonaws.com{suffix}")
}

pub(super) fn text<'a>(body: &'a Value, key: &str) -> Option<&'a str> {
    body.get(key).and_then(Value::as_str)
}

pub(super) fn missing(name: &str, account: &str) -> ApiError {
    let text = format!("The repository with name '{name}' does not exist in the registry with id '{account}'");
    ApiError::client("RepositoryNotFoundException", text)
}

pub(super) fn invalid(parameter: &str, constraint: &str) -> ApiError {
    let text = format!("Invalid parameter at '{parameter}' failed to satisfy constraint: '{constraint}'");
    ApiError::client("InvalidParameterException", text)
}

pub(super) fn throttled() -> ApiError {
    ApiError::client("ThrottlingException", "Rate exceeded")
}

pub(super) fn denied(call: &Call, resource: &str) -> ApiError {
    let (principal, operation) = (principal(&call.access_key), &call.operation);
    let text = format!(
        "User: {principal} is not authorized to perform: ecr:{operation} on resource: {resource} because no \
         identity-based policy allows the ecr:{operation} action"
    );
    ApiError::client("AccessDeniedException", text)
}

/// A call with the registry's own bound on pages, where it has one.
pub(super) fn capped(registry: &Registry, body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(most) = registry.shared().list_page.filter(|_| body.get("imageIds").is_none()) {
        let most = u64::try_from(most).unwrap_or(u64::MAX);
        body["maxResults"] =
            body.get("maxResults").and_then(Value::as_u64).map_or(most, |asked| asked.min(most)).into();
    }
    body
}

/// One page of a sorted list: its part, and the token of the next.
pub(super) fn page<T>(
    body: &Value,
    all: Vec<(String, T)>,
    default: usize,
    largest: u64,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    let count = match body.get("maxResults").and_then(Value::as_u64) {
        None => default,
        Some(count) if (1..=largest).contains(&count) => usize::try_from(count).unwrap_or(default),
        Some(_) => return Err(invalid("maxResults", &format!("Member must be between 1 and {largest}"))),
    };
    let after = match text(body, "nextToken") {
        None => None,
        Some(token) => {
            let key = STANDARD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            Some(key.ok_or_else(|| invalid("nextToken", "Invalid token"))?)
        }
    };
    let mut rest = all.into_iter().filter(|(key, _)| after.as_ref().is_none_or(|after| key > after)).peekable();
    let mut last = String::new();
    let mut part = Vec::new();
    while part.len() < count {
        let Some((key, value)) = rest.next() else { break };
        last = key;
        part.push(value);
    }
    let next = rest.peek().is_some().then(|| STANDARD.encode(last));
    Ok((part, next))
}

/// An answer with a list, and the token of the next page where there is one.
pub(super) fn listed(key: &str, part: Vec<Value>, next: Option<String>) -> Value {
    let mut answer = json!({key: part});
    if let Some(next) = next {
        answer["nextToken"] = next.into();
    }
    answer
}
