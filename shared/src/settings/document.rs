//! The configuration document as it is written: its shape, its names, its defaults. The JSON Schema
//! `docs/config.schema.json` is generated from these types.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    provider::Provider,
    request::{Delete, ExistingTag, Referrers, ScanGate},
};

/// The configuration of both functions.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Transship configuration")]
pub struct Document {
    /// What is replicated where. Every rule that matches applies.
    #[serde(default)]
    pub rules: Vec<RuleSettings>,
    /// Registries that need more than their host tells, by host (and port) as it stands in references.
    #[serde(default)]
    pub registries: BTreeMap<String, RegistrySettings>,
    /// Bounds; all optional.
    #[serde(default)]
    pub limits: LimitSettings,
}

/// One rule: which pushed images it takes, and where they go.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleSettings {
    /// For people: logs and errors name the rule by it.
    #[serde(default)]
    pub name: Option<String>,
    /// Which repositories.
    #[serde(default)]
    pub source: SourceSettings,
    /// Which tags.
    #[serde(default)]
    pub tags: TagSettings,
    /// Where to: references with `{registry}`, `{repository}`, `{name}`, `{tag}` and `{digest}` filled in. No tag
    /// part means `:{tag}`.
    pub destinations: Vec<String>,
    /// Copy only these platforms, `OS/ARCHITECTURE[/VARIANT]`, such as `linux/arm64` or `windows(10.0.17763)/amd64`: of an
    /// index a new one, with a digest of its own. Left out: the whole index, byte for byte.
    #[serde(default)]
    pub platforms: Option<Vec<String>>,
    /// Copy what is attached to the image (signatures, SBOMs, attestations): `true` (the default), `false`, or lists of
    /// artifact types to include or exclude.
    #[serde(default)]
    pub referrers: Referrers,
    /// Artifact types that must be attached to an image, or it is not replicated; `*` in one stands for anything.
    #[serde(default)]
    pub require_referrers: Vec<String>,
    /// What to do with a push without a tag.
    #[serde(default)]
    pub untagged: Untagged,
    /// What to do with a tag that the destination has, at another digest.
    #[serde(default)]
    pub existing_tag: ExistingTag,
    /// Follow the deletion of a tag; left out: nothing is ever removed. Doesn't go with `platforms`.
    #[serde(default)]
    pub delete: Option<Delete>,
    /// Hold images until ECR has scanned them, and refuse those with findings; left out: no scan is asked for.
    #[serde(default)]
    pub scan_gate: Option<ScanGate>,
}

/// Which repositories a rule takes.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceSettings {
    /// The registry's host; left out: any.
    #[serde(default)]
    pub registry: Option<String>,
    /// A glob: `*` stays within a path component, `**` crosses them, `{a,b}` chooses; left out: any.
    #[serde(default)]
    pub repository: Option<String>,
    /// Globs of repositories that are left out.
    #[serde(default)]
    pub exclude: Vec<String>,
}

/// Which tags a rule takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TagSettings {
    /// Globs, one of which must match; none: all tags.
    #[serde(default)]
    pub include: Vec<String>,
    /// Globs, none of which may match.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// A range that the tag, read as a version (a leading `v` allowed), must be inside, such as `>=1.2, <3`.
    #[serde(default)]
    pub semver: Option<String>,
}

/// What to do with a push without a tag.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Untagged {
    /// Leave it: the pieces of a multi-platform push arrive as untagged events of their own.
    #[default]
    Skip,
    /// Replicate it under its digest.
    ByDigest,
}

/// One registry.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegistrySettings {
    /// What kind it is; left out: told from the host.
    #[serde(default)]
    pub provider: Option<Provider>,
    /// The URL to talk to instead of `https://HOST`. The host of the reference stays the identity.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Speak HTTP. Without it HTTP is refused.
    #[serde(default)]
    pub plain_http: bool,
    /// Extra trust: `file:PATH` or PEM text.
    #[serde(default)]
    pub ca_certificate: Option<String>,
    /// `secretsmanager:ARN-OR-NAME` or `env:NAME`; the text behind it is `USER:PASSWORD`, JSON
    /// `{"username":…,"password":…}`, or a docker `config.json`. Artifact Registry: also a service account's key file.
    /// ACR: also `{"tenant":…,"client_id":…,"client_secret":…}`, an application of Microsoft Entra ID. Private ECR: also
    /// the AWS identity to ask its API as, `{"access_key_id":…,"secret_access_key":…,"session_token":…}`, for a registry
    /// in another partition.
    #[serde(default)]
    pub credentials: Option<String>,
    /// Artifact Registry: log in as the function's AWS role, without a secret. Goes without `credentials`.
    #[serde(default)]
    pub workload_identity: Option<WorkloadIdentitySettings>,
    /// ACR: the URL where an application of Microsoft Entra ID signs in; left out: that of the registry's cloud, such as
    /// `https://login.microsoftonline.com`.
    #[serde(default)]
    pub authority: Option<String>,
    /// ECR: the role to assume for this registry's API calls.
    #[serde(default)]
    pub role_arn: Option<String>,
    /// ECR: the external ID that the role's trust policy asks for.
    #[serde(default)]
    pub external_id: Option<String>,
    /// ECR on a host that doesn't tell: its region.
    #[serde(default)]
    pub region: Option<String>,
    /// ECR on a host that doesn't tell: its account.
    #[serde(default)]
    pub account: Option<String>,
    /// ECR destinations: create a missing repository with these settings.
    #[serde(default)]
    pub create_repository: Option<CreateRepository>,
    /// `HOST:PORT`s that a blob read of this registry may be redirected to although they are not public.
    #[serde(default)]
    pub redirects: Vec<String>,
    /// Requests at once towards this registry, bodies included (h2 streams), 1 to 256; default 64.
    #[serde(default)]
    pub streams: Option<u32>,
}

/// Who the function is at Google: workload identity federation with AWS.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkloadIdentitySettings {
    /// The pool's provider for AWS:
    /// `//iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER`.
    pub audience: String,
    /// The service account to become; left out: the pool's principal has rights at the registry itself.
    #[serde(default)]
    pub service_account: Option<String>,
    /// The URL to talk to instead of `https://sts.googleapis.com`.
    #[serde(default)]
    pub token_endpoint: Option<String>,
    /// The URL to talk to instead of `https://iamcredentials.googleapis.com`.
    #[serde(default)]
    pub iam_endpoint: Option<String>,
}

/// How a missing ECR repository is created.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateRepository {
    /// Whether tags can move.
    #[serde(default)]
    pub tag_mutability: Option<TagMutability>,
    /// Wildcards (with `*`) of tags that are excepted from `tag_mutability`, up to 5; only with the `…_WITH_EXCLUSION` values.
    #[serde(default)]
    pub tag_mutability_exclusions: Vec<String>,
    /// Scan images when they are pushed.
    #[serde(default)]
    pub scan_on_push: Option<bool>,
    /// How images are encrypted; can't be changed later.
    #[serde(default)]
    pub encryption: Option<Encryption>,
    /// Resource tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// The lifecycle policy that it gets, up to 30720 characters.
    #[serde(default)]
    pub lifecycle_policy: Option<Policy>,
    /// The repository policy that it gets (who else may do what in it), up to 10240 characters.
    #[serde(default)]
    pub repository_policy: Option<Policy>,
}

/// A policy: the JSON object itself, or a text that holds it.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a policy: a JSON object, or a text that holds one")]
pub enum Policy {
    /// The object.
    Document(serde_json::Map<String, serde_json::Value>),
    /// The text, sent as it is.
    Text(String),
}

impl Policy {
    /// The text that is sent.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Document(document) => serde_json::Value::from(document.clone()).to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

/// Whether tags can move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TagMutability {
    /// They can.
    Mutable,
    /// They can't.
    Immutable,
    /// They can, but for the exclusions.
    MutableWithExclusion,
    /// They can't, but for the exclusions.
    ImmutableWithExclusion,
}

/// How images are encrypted at rest.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Encryption {
    /// By whom.
    #[serde(rename = "type")]
    pub kind: EncryptionType,
    /// The key's ARN, ID or alias; left out: the AWS-managed key of ECR.
    #[serde(default)]
    pub kms_key: Option<String>,
}

/// Who encrypts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum EncryptionType {
    /// S3-managed keys.
    #[serde(rename = "AES256")]
    Aes256,
    /// A key in KMS.
    #[serde(rename = "KMS")]
    Kms,
    /// A key in KMS, two layers.
    #[serde(rename = "KMS_DSSE")]
    KmsDsse,
}

/// Bounds; all optional.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitSettings {
    /// Blobs in transfer at once, 1 to 64; default 16.
    #[serde(default)]
    pub blob_concurrency: Option<u32>,
    /// Bytes that may be held at once (of blobs, chunks, manifests, in receive windows), 1 MiB to 8 GiB; default: from the
    /// function's memory.
    #[serde(default)]
    pub buffer_bytes: Option<u64>,
    /// How long to wait for ECR to call the blobs available, in milliseconds, up to 600000; default 30000.
    #[serde(default)]
    pub manifest_commit_wait_ms: Option<u64>,
    /// Kept of the invocation's time, in milliseconds, up to 300000; default 5000.
    #[serde(default)]
    pub deadline_margin_ms: Option<u64>,
    /// How long nothing may move before an exchange is given up (a stall, not a whole transfer), in milliseconds,
    /// 100 to 900000; default 30000.
    #[serde(default)]
    pub request_timeout_ms: Option<u64>,
    /// Tries of one request, the first included, 1 to 20; default 8.
    #[serde(default)]
    pub max_attempts: Option<u32>,
}

impl Document {
    /// The JSON Schema of this document, as `docs/config.schema.json` holds it.
    ///
    /// # Errors
    /// None that can happen: the schema is made of texts and numbers.
    pub fn schema() -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(&schemars::schema_for!(Self))
    }
}
