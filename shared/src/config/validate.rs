//! From the document as written to the configuration as used; every mistake is collected with its JSON path.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use url::Url;

use super::{Config, CredentialSource, Limits, RegistryConfig, Role, federation};
use crate::{
    oci::normalize_host,
    provider::{EcrHost, Provider},
    rules::Rules,
    settings::{
        CreateRepository, Document, EncryptionType, Environment, LimitSettings, Policy, RegistrySettings, TagMutability,
    },
    transport::check_pem,
};

/// Fills in and checks all of a document.
pub(super) fn document(document: Document, environment: &Environment) -> Result<Config, Vec<String>> {
    let mut mistakes = Vec::new();
    let limits = limits(&document.limits, environment.memory_mib, &mut mistakes);
    let mut registries = BTreeMap::new();
    for (name, settings) in document.registries {
        let path = format!("registries.{name}");
        let Some(host) = normalize_host(&name) else {
            mistakes.push(format!("{path}: is no registry host; expected a name such as ghcr.io or 127.0.0.1:5000"));
            continue;
        };
        let registry = registry(&host, &name, settings, environment, &path, &mut mistakes);
        if registries.insert(host, registry).is_some() {
            mistakes.push(format!("{path}: names a registry that another key names too"));
        }
    }
    let rules = Rules::compile(document.rules, &mut mistakes);
    let provider = |host: &str| registries.get(host).map_or_else(|| Provider::of_host(host), |known| known.provider);
    rules.deletion_mistakes(provider, &mut mistakes);
    rules.scan_mistakes(provider, &mut mistakes);
    if mistakes.is_empty() { Ok(Config::assembled(rules, limits, registries)) } else { Err(mistakes) }
}

fn registry(
    host: &str,
    name: &str,
    settings: RegistrySettings,
    environment: &Environment,
    path: &str,
    mistakes: &mut Vec<String>,
) -> RegistryConfig {
    let mut known = RegistryConfig::from_host(host);
    known.provider = settings.provider.unwrap_or(known.provider);
    let endpoint = settings.endpoint.unwrap_or_else(|| match (settings.plain_http, known.provider) {
        // Of http it is no port that goes without saying.
        (true, _) if name.ends_with(":443") && !host.ends_with(":443") => format!("http://{host}:443"),
        (true, _) => format!("http://{host}"),
        (false, provider) => provider.default_endpoint(host),
    });
    match checked_endpoint(&endpoint, settings.plain_http) {
        Ok(url) => known.endpoint = url,
        Err(reason) => mistakes.push(format!("{path}.endpoint: {reason}")),
    }
    if let Some(text) = settings.ca_certificate {
        match certificate(&text, environment) {
            Ok(pem) => known.ca_certificate = Some(pem.into()),
            Err(reason) => mistakes.push(format!("{path}.ca_certificate: {reason}")),
        }
    }
    known.credentials = settings.credentials.and_then(|text| {
        credential_source(&text).inspect_err(|reason| mistakes.push(format!("{path}.credentials: {reason}"))).ok()
    });
    let (identity, authority) = (settings.workload_identity, settings.authority);
    federation::fill_in(&mut known, identity, authority, settings.plain_http, path, mistakes);
    let told_home = settings.account.is_some() || settings.region.is_some();
    known.ecr = ecr_home(known.provider, known.ecr, settings.account, settings.region)
        .inspect_err(|reason| mistakes.push(format!("{path}: {reason}")))
        .unwrap_or_default();
    if known.provider != Provider::Ecr && told_home {
        mistakes.push(format!("{path}: account and region go with the provider `ecr`"));
    }
    if settings.role_arn.is_none() && settings.external_id.is_some() {
        mistakes.push(format!("{path}.external_id: goes with role_arn, which is missing"));
    }
    if let Some(arn) = settings.role_arn {
        if !arn.starts_with("arn:") || !arn.contains(":role/") {
            mistakes.push(format!("{path}.role_arn: expected arn:PARTITION:iam::ACCOUNT:role/NAME"));
        }
        let partition = known.ecr.as_ref().map(EcrHost::partition);
        if partition.is_some_and(|partition| !arn.starts_with(&format!("arn:{partition}:")) && arn.starts_with("arn:"))
        {
            let partition = partition.unwrap_or_default();
            mistakes.push(format!("{path}.role_arn: the registry is in the partition {partition}, the role is not"));
        }
        known.role = Some(Role { arn, external_id: settings.external_id });
    }
    if known.role.is_some() && !matches!(known.provider, Provider::Ecr | Provider::EcrPublic) {
        mistakes.push(format!("{path}.role_arn: only ECR registries have it; set `provider` if this is one"));
    }
    if let Some(create) = &settings.create_repository {
        match known.provider {
            Provider::Ecr => {}
            Provider::EcrPublic
                if *create == (CreateRepository { tags: create.tags.clone(), ..Default::default() }) => {}
            Provider::EcrPublic => {
                mistakes.push(format!("{path}.create_repository: ECR Public knows nothing but `tags` of it"));
            }
            _ => mistakes.push(format!("{path}.create_repository: only ECR registries have it")),
        }
        create_repository(create, &format!("{path}.create_repository"), mistakes);
    }
    known.create_repository = settings.create_repository;
    for (position, redirect) in settings.redirects.iter().enumerate() {
        let has_port = redirect.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        if !has_port || normalize_host(redirect).is_none() {
            mistakes.push(format!("{path}.redirects[{position}]: expected HOST:PORT"));
        }
    }
    known.redirects = settings.redirects;
    known.streams = within(settings.streams, known.streams, 1..=256, &format!("{path}.streams"), mistakes);
    known
}

/// Source: ECR API, `CreateRepository`, `ImageTagMutabilityExclusionFilter`, `EncryptionConfiguration`.
fn create_repository(settings: &CreateRepository, path: &str, mistakes: &mut Vec<String>) {
    let with_exclusion = matches!(
        settings.tag_mutability,
        Some(TagMutability::MutableWithExclusion | TagMutability::ImmutableWithExclusion)
    );
    match settings.tag_mutability_exclusions.as_slice() {
        [] if with_exclusion => mistakes.push(format!("{path}.tag_mutability: …_WITH_EXCLUSION needs exclusions")),
        [] => {}
        many if many.iter().any(|filter| !exclusion(filter)) => mistakes.push(format!(
            "{path}.tag_mutability_exclusions: expected 1 to 128 of letters, digits and . _ - with 2 * at most, in each"
        )),
        _ if !with_exclusion => mistakes.push(format!(
            "{path}.tag_mutability_exclusions: they go with MUTABLE_WITH_EXCLUSION or IMMUTABLE_WITH_EXCLUSION"
        )),
        many if many.len() > 5 => mistakes.push(format!("{path}.tag_mutability_exclusions: expected 5 at most")),
        _ => {}
    }
    if let Some(encryption) = &settings.encryption
        && encryption.kind == EncryptionType::Aes256
        && encryption.kms_key.is_some()
    {
        mistakes.push(format!("{path}.encryption.kms_key: AES256 has no key; expected the type KMS or KMS_DSSE"));
    }
    for (key, policy, most) in [
        ("lifecycle_policy", &settings.lifecycle_policy, 30_720),
        ("repository_policy", &settings.repository_policy, 10_240),
    ] {
        let Some(text) = policy.as_ref().map(Policy::text) else { continue };
        match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text) {
            Err(error) => mistakes.push(format!("{path}.{key}: expected a JSON object ({error})")),
            Ok(_) if text.chars().count() > most => {
                mistakes
                    .push(format!("{path}.{key}: has {} characters; expected {most} at most", text.chars().count()));
            }
            Ok(_) => {}
        }
    }
    if settings.tags.len() > 50 {
        mistakes.push(format!("{path}.tags: expected 50 at most"));
    }
}

/// Whether ECR takes this as an exclusion filter: `[0-9a-zA-Z._*-]{1,128}`, two wildcards at most.
fn exclusion(filter: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'*' | b'-');
    (1..=128).contains(&filter.len()) && filter.bytes().all(known) && filter.matches('*').count() <= 2
}

pub(super) fn checked_endpoint(text: &str, plain_http: bool) -> Result<Url, String> {
    let url =
        Url::parse(text).map_err(|error| format!("`{text}` is no URL ({error}); expected https://HOST[:PORT]"))?;
    match url.scheme() {
        "https" if plain_http => {
            return Err("is https, but plain_http is true; drop one of the two".to_owned());
        }
        "https" => {}
        "http" if plain_http => {}
        "http" => {
            return Err("plain HTTP is refused; use https, or set plain_http to true to send everything, credentials \
                 included, unencrypted"
                .to_owned());
        }
        scheme => return Err(format!("expected https://, not {scheme}://")),
    }
    let bare = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.path() == "/";
    if !bare || url.host().is_none() {
        return Err("expected scheme, host and port alone: credentials and paths have no place in it".to_owned());
    }
    Ok(url)
}

fn certificate(text: &str, environment: &Environment) -> Result<String, String> {
    let pem = match text.strip_prefix("file:") {
        Some(file) => {
            let path = environment.path(file);
            std::fs::read_to_string(&path).map_err(|error| format!("{} can't be read: {error}", path.display()))?
        }
        None => text.to_owned(),
    };
    check_pem(&pem)?;
    Ok(pem)
}

fn credential_source(text: &str) -> Result<CredentialSource, String> {
    match text.split_once(':') {
        Some(("secretsmanager", id)) if !id.is_empty() => Ok(CredentialSource::SecretsManager(id.to_owned())),
        Some(("env", name)) if !name.is_empty() => Ok(CredentialSource::Environment(name.to_owned())),
        // The text is not repeated: it may be a password that was put in the wrong place.
        _ => Err("expected secretsmanager:ARN-OR-NAME or env:NAME, never the secret itself".to_owned()),
    }
}

/// The account and region of an ECR registry: from its host, or configured where the host doesn't tell.
fn ecr_home(
    provider: Provider,
    told: Option<EcrHost>,
    account: Option<String>,
    region: Option<String>,
) -> Result<Option<EcrHost>, String> {
    if provider != Provider::Ecr {
        return Ok(None);
    }
    let (fips, dual_stack) = told.as_ref().map_or((false, false), |host| (host.fips, host.dual_stack));
    let (told_account, told_region) = told.map(|host| (host.account, host.region)).unzip();
    let account = account.or(told_account).ok_or("account: ECR on a host that doesn't tell it needs `account`")?;
    let region = region.or(told_region).ok_or("region: ECR on a host that doesn't tell it needs `region`")?;
    if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("account: expected 12 digits".to_owned());
    }
    Ok(Some(EcrHost { account, region, fips, dual_stack }))
}

fn limits(settings: &LimitSettings, memory_mib: u64, mistakes: &mut Vec<String>) -> Limits {
    let millis = Duration::from_millis;
    Limits {
        blob_concurrency: within(settings.blob_concurrency, 16, 1..=64, "limits.blob_concurrency", mistakes),
        buffer_bytes: within(
            settings.buffer_bytes,
            buffer_bytes(memory_mib),
            1 << 20..=8 << 30,
            "limits.buffer_bytes",
            mistakes,
        ),
        manifest_commit_wait: millis(within(
            settings.manifest_commit_wait_ms,
            30_000,
            0..=600_000,
            "limits.manifest_commit_wait_ms",
            mistakes,
        )),
        deadline_margin: millis(within(
            settings.deadline_margin_ms,
            5_000,
            0..=300_000,
            "limits.deadline_margin_ms",
            mistakes,
        )),
        request_timeout: millis(within(
            settings.request_timeout_ms,
            30_000,
            100..=900_000,
            "limits.request_timeout_ms",
            mistakes,
        )),
        max_attempts: within(settings.max_attempts, 8, 1..=20, "limits.max_attempts", mistakes),
    }
}

/// What copies may hold, in bytes: half of what is left when the runtime, the clients and the manifests have their
/// part (64 MiB, measured generously), and never under 16 MiB.
fn buffer_bytes(memory_mib: u64) -> u64 {
    (memory_mib.saturating_sub(64) / 2).clamp(16, 512) * 1024 * 1024
}

/// A value inside its range, or the default; absurd values are refused, never clamped.
fn within<T: PartialOrd + Copy + std::fmt::Display>(
    value: Option<T>,
    default: T,
    range: RangeInclusive<T>,
    path: &str,
    mistakes: &mut Vec<String>,
) -> T {
    match value {
        Some(value) if range.contains(&value) => value,
        Some(value) => {
            mistakes.push(format!("{path}: {value} is out of range; expected {} to {}", range.start(), range.end()));
            default
        }
        None => default,
    }
}
