//! Repositories: made, described, set up.

use serde_json::{Map, Value, json};

use super::{capped, host, invalid, listed, missing, page, text};
use crate::{
    aws::ApiError,
    registry::{Registry, is_name},
    store::{Repository, epoch},
};

const MUTABILITY: [&str; 4] = ["MUTABLE", "IMMUTABLE", "IMMUTABLE_WITH_EXCLUSION", "MUTABLE_WITH_EXCLUSION"];

pub(super) fn arn(registry: &Registry, name: &str) -> String {
    format!("arn:aws:ecr:{}:{}:repository/{name}", registry.region(), registry.account())
}

pub(crate) fn create(registry: &Registry, body: &Value) -> Result<Value, ApiError> {
    let name = text(body, "repositoryName").ok_or_else(|| invalid("repositoryName", "Member must not be null"))?;
    check(name, body)?;
    registry.store().with(|inner| {
        if inner.repositories.contains_key(name) {
            let text = format!(
                "The repository with name '{name}' already exists in the registry with id '{}'",
                registry.account()
            );
            return Err(ApiError::client("RepositoryAlreadyExistsException", text));
        }
        registry.shared().quotas.repository(inner.repositories.len(), registry.account())?;
        let repository = Repository { settings: body.clone(), ..Repository::default() };
        let answer = json!({"repository": described(registry, name, &repository)});
        inner.repositories.insert(name.to_owned(), repository);
        Ok(answer)
    })
}

fn check(name: &str, body: &Value) -> Result<(), ApiError> {
    if !(2..=256).contains(&name.len()) || !is_name(name) {
        let pattern =
            "Must satisfy regular expression '(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*'";
        return Err(invalid("repositoryName", pattern));
    }
    if let Some(mutability) = text(body, "imageTagMutability") {
        check_mutability(mutability, body)?;
    }
    let tags = body.get("tags").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if tags.len() > 50 {
        return Err(ApiError::client("TooManyTagsException", "The list of tags has more than 50 tags"));
    }
    let well_formed = |tag: &Value| text(tag, "Key").is_some_and(|key| (1..=128).contains(&key.len()));
    if !tags.iter().all(well_formed) {
        return Err(ApiError::client("InvalidTagParameterException", "A tag has no valid key"));
    }
    if let Some(encryption) = body.get("encryptionConfiguration") {
        let kind = text(encryption, "encryptionType").unwrap_or_default();
        if !["AES256", "KMS", "KMS_DSSE"].contains(&kind) {
            return Err(invalid("encryptionConfiguration.encryptionType", "Must be one of AES256, KMS, KMS_DSSE"));
        }
        if kind == "AES256" && encryption.get("kmsKey").is_some() {
            return Err(invalid("encryptionConfiguration.kmsKey", "Must not be given with AES256"));
        }
    }
    Ok(())
}

fn check_mutability(mutability: &str, body: &Value) -> Result<(), ApiError> {
    if !MUTABILITY.contains(&mutability) {
        return Err(invalid("imageTagMutability", &format!("Must be one of {}", MUTABILITY.join(", "))));
    }
    let filters = body.get("imageTagMutabilityExclusionFilters").and_then(Value::as_array);
    let filters = filters.map_or(&[][..], Vec::as_slice);
    if mutability.ends_with("_WITH_EXCLUSION") != (1..=5).contains(&filters.len()) {
        return Err(invalid("imageTagMutabilityExclusionFilters", "Must be given with an exclusion, 1 to 5"));
    }
    if filters.iter().any(|filter| text(filter, "filterType") != Some("WILDCARD")) {
        return Err(invalid("imageTagMutabilityExclusionFilters.filterType", "Must be one of WILDCARD"));
    }
    if !filters.iter().all(|filter| text(filter, "filter").is_some_and(is_wildcard)) {
        let constraint = "Must satisfy regular expression '^[0-9a-zA-Z._*-]{1,128}$', with 2 wildcards at most";
        return Err(invalid("imageTagMutabilityExclusionFilters.filter", constraint));
    }
    Ok(())
}

fn is_wildcard(filter: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._*-".contains(&byte);
    (1..=128).contains(&filter.len()) && filter.bytes().all(known) && filter.bytes().filter(|b| *b == b'*').count() <= 2
}

pub(crate) fn describe(registry: &Registry, body: &Value) -> Result<Value, ApiError> {
    let wanted = body.get("repositoryNames").and_then(Value::as_array);
    let found: Vec<(String, Value)> = registry.store().with(|inner| match wanted {
        Some(names) if names.is_empty() || names.len() > 100 => {
            Err(invalid("repositoryNames", "Member must have length between 1 and 100"))
        }
        Some(names) => names
            .iter()
            .map(|name| {
                let name = name.as_str().unwrap_or_default();
                let repository = inner.repositories.get(name).ok_or_else(|| missing(name, registry.account()))?;
                Ok((name.to_owned(), described(registry, name, repository)))
            })
            .collect(),
        None => {
            let all = inner.repositories.iter();
            Ok(all.map(|(name, repository)| (name.clone(), described(registry, name, repository))).collect())
        }
    })?;
    if wanted.is_some() {
        let part = found.into_iter().map(|(_, value)| value).collect();
        return Ok(listed("repositories", part, None));
    }
    let (part, next) = page(&capped(registry, body), found, 100, 1000)?;
    Ok(listed("repositories", part, next))
}

fn described(registry: &Registry, name: &str, repository: &Repository) -> Value {
    let settings = &repository.settings;
    let scanning = settings.get("imageScanningConfiguration").cloned();
    let mut answer = json!({
        "repositoryArn": arn(registry, name),
        "registryId": registry.account(),
        "repositoryName": name,
        "repositoryUri": format!("{}/{name}", host(registry.account(), registry.region())),
        "createdAt": epoch(repository.created),
        "imageTagMutability": repository.mutability(),
        "imageScanningConfiguration": scanning.unwrap_or_else(|| json!({"scanOnPush": false})),
        "encryptionConfiguration": repository.encryption(),
    });
    if let Some(filters) = settings.get("imageTagMutabilityExclusionFilters") {
        answer["imageTagMutabilityExclusionFilters"] = filters.clone();
    }
    answer
}

pub(super) fn delete(registry: &Registry, body: &Value) -> Result<Value, ApiError> {
    let name = text(body, "repositoryName").unwrap_or_default();
    registry.store().with(|inner| {
        let found = inner.repositories.get(name).ok_or_else(|| missing(name, registry.account()))?;
        if !found.manifests.is_empty() && body.get("force") != Some(&Value::Bool(true)) {
            let text = format!(
                "The repository with name '{name}' in registry with id '{}' cannot be deleted because it still \
                 contains images",
                registry.account()
            );
            return Err(ApiError::client("RepositoryNotEmptyException", text));
        }
        let answer = json!({"repository": described(registry, name, found)});
        inner.repositories.remove(name);
        Ok(answer)
    })
}

/// Keeps a text of the repository's settings.
pub(super) fn put(registry: &Registry, body: &Value, key: &str) -> Result<Value, ApiError> {
    let value = text(body, key).ok_or_else(|| invalid(key, "Member must not be null"))?;
    if serde_json::from_str::<Map<String, Value>>(value).is_err() {
        return Err(invalid(key, "Invalid JSON syntax"));
    }
    let most = if key == "lifecyclePolicyText" { 30_720 } else { 10_240 };
    if value.chars().count() > most {
        return Err(invalid(key, &format!("Member must have length less than or equal to {most}")));
    }
    change(registry, body, |repository| repository.settings[key] = value.into())?;
    get(registry, body, key, "ServerException")
}

pub(super) fn get(registry: &Registry, body: &Value, key: &str, absent: &str) -> Result<Value, ApiError> {
    let name = text(body, "repositoryName").unwrap_or_default();
    let settings = registry.store().settings(name).ok_or_else(|| missing(name, registry.account()))?;
    let value = text(&settings, key)
        .ok_or_else(|| ApiError::client(absent, format!("{key} does not exist for the repository '{name}'")))?;
    Ok(json!({"registryId": registry.account(), "repositoryName": name, key: value}))
}

pub(super) fn put_mutability(registry: &Registry, body: &Value) -> Result<Value, ApiError> {
    let mutability = text(body, "imageTagMutability").unwrap_or_default().to_owned();
    check_mutability(&mutability, body)?;
    let filters = body.get("imageTagMutabilityExclusionFilters").cloned();
    change(registry, body, |repository| {
        repository.immutable = false;
        repository.settings["imageTagMutability"] = mutability.clone().into();
        if let Some(filters) = filters {
            repository.settings["imageTagMutabilityExclusionFilters"] = filters;
        }
    })?;
    let name = text(body, "repositoryName").unwrap_or_default();
    Ok(json!({"registryId": registry.account(), "repositoryName": name, "imageTagMutability": mutability}))
}

fn change(registry: &Registry, body: &Value, work: impl FnOnce(&mut Repository)) -> Result<(), ApiError> {
    let name = text(body, "repositoryName").unwrap_or_default();
    registry.store().with(|inner| {
        let found = inner.repositories.get_mut(name).ok_or_else(|| missing(name, registry.account()))?;
        work(found);
        Ok(())
    })
}

/// Repository tags are found by ARN.
fn named(registry: &Registry, body: &Value) -> Result<String, ApiError> {
    let arn = text(body, "resourceArn").unwrap_or_default();
    let name = arn.split_once(":repository/").map(|(_, name)| name.to_owned());
    let name = name.ok_or_else(|| invalid("resourceArn", "Invalid ARN"))?;
    if registry.store().exists(&name) { Ok(name) } else { Err(missing(&name, registry.account())) }
}

pub(super) fn tag(registry: &Registry, body: &Value) -> Result<Value, ApiError> {
    let name = named(registry, body)?;
    let given = body.get("tags").and_then(Value::as_array).cloned().unwrap_or_default();
    registry.store().with(|inner| {
        let Some(found) = inner.repositories.get_mut(&name) else { return };
        let mut tags = found.settings.get("tags").and_then(Value::as_array).cloned().unwrap_or_default();
        tags.retain(|old| !given.iter().any(|new| text(new, "Key") == text(old, "Key")));
        tags.extend(given);
        found.settings["tags"] = tags.into();
    });
    Ok(json!({}))
}

pub(super) fn list_tags(registry: &Registry, body: &Value) -> Result<Value, ApiError> {
    let name = named(registry, body)?;
    let settings = registry.store().settings(&name).unwrap_or_default();
    Ok(json!({"tags": settings.get("tags").cloned().unwrap_or_else(|| json!([]))}))
}

pub(super) fn put_setting(registry: &Registry, body: &Value) -> Result<Value, ApiError> {
    match (text(body, "name"), text(body, "value")) {
        (Some("BLOB_MOUNTING"), Some(value @ ("ENABLED" | "DISABLED"))) => {
            registry.set_blob_mounting(value == "ENABLED");
            get_setting(registry, body)
        }
        _ => Err(invalid("name", "Only BLOB_MOUNTING is emulated")),
    }
}

pub(super) fn get_setting(registry: &Registry, body: &Value) -> Result<Value, ApiError> {
    if text(body, "name") != Some("BLOB_MOUNTING") {
        return Err(invalid("name", "Only BLOB_MOUNTING is emulated"));
    }
    let value = if registry.shared().mounting_on() { "ENABLED" } else { "DISABLED" };
    Ok(json!({"name": "BLOB_MOUNTING", "value": value}))
}
