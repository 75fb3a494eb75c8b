//! Images: described, listed, read, deleted.

use serde_json::{Map, Value, json};

use super::{capped, invalid, listed, missing, page, text};
use crate::{
    aws::ApiError,
    digest::algorithm,
    registry::Registry,
    store::{Manifest, Repository, epoch},
};

/// Works on the repository that a call names.
fn on<T>(
    registry: &Registry,
    body: &Value,
    work: impl FnOnce(&str, &mut Repository) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    let name = text(body, "repositoryName").ok_or_else(|| invalid("repositoryName", "Member must not be null"))?;
    registry.store().with(|inner| {
        let found = inner.repositories.get_mut(name).ok_or_else(|| missing(name, registry.account()))?;
        work(name, found)
    })
}

fn ids(body: &Value) -> Result<Option<&Vec<Value>>, ApiError> {
    match body.get("imageIds").and_then(Value::as_array) {
        Some(ids) if ids.is_empty() || ids.len() > 100 => {
            Err(invalid("imageIds", "Member must have length between 1 and 100"))
        }
        ids => Ok(ids),
    }
}

fn find<'a>(repository: &'a Repository, id: &Value) -> Option<&'a Manifest> {
    match (text(id, "imageDigest"), text(id, "imageTag")) {
        (Some(digest), Some(tag)) => {
            repository.manifests.get(repository.tags.get(tag)?).filter(|found| found.stored.digest == digest)
        }
        (Some(digest), None) => repository.manifests.get(digest),
        (None, Some(tag)) => repository.manifests.get(repository.tags.get(tag)?),
        (None, None) => None,
    }
}

/// The digest of the image that a call names, which must be there.
pub(super) fn digest_of(registry: &Registry, body: &Value, id: &Value) -> Result<String, ApiError> {
    on(registry, body, |name, repository| {
        let found = find(repository, id).ok_or_else(|| not_found(registry, name, id))?;
        Ok(found.stored.digest.clone())
    })
}

/// Whether the filter of a call takes an image of this status: active ones alone where there is none.
fn takes_status(body: &Value, manifest: &Manifest) -> bool {
    match body.get("filter").and_then(|filter| text(filter, "imageStatus")) {
        Some("ANY") => true,
        wanted => wanted.unwrap_or("ACTIVE") == manifest.status.name(),
    }
}

/// Whether the filter of a call takes an image with or without tags.
fn takes(body: &Value, tagged: bool) -> bool {
    match body.get("filter").and_then(|filter| text(filter, "tagStatus")) {
        Some("TAGGED") => tagged,
        Some("UNTAGGED") => !tagged,
        _ => true,
    }
}

pub(in crate::aws) fn describe(registry: &Registry, body: &Value) -> Result<Value, ApiError> {
    let wanted = ids(body)?;
    on(registry, body, |name, repository| {
        if let Some(ids) = wanted {
            let part: Result<Vec<Value>, ApiError> = ids
                .iter()
                .map(|id| {
                    let found = find(repository, id).filter(|found| takes_status(body, found));
                    let found = found.ok_or_else(|| not_found(registry, name, id))?;
                    Ok(detail(registry, name, repository, found))
                })
                .collect();
            return Ok(listed("imageDetails", part?, None));
        }
        let all = repository
            .manifests
            .values()
            .filter(|manifest| takes_status(body, manifest))
            .filter(|manifest| takes(body, !repository.tags_of(&manifest.stored.digest).is_empty()));
        let all = all.map(|found| (found.stored.digest.clone(), detail(registry, name, repository, found)));
        let (part, next) = page(&capped(registry, body), all.collect(), 100, 1000)?;
        Ok(listed("imageDetails", part, next))
    })
}

fn detail(registry: &Registry, name: &str, repository: &Repository, manifest: &Manifest) -> Value {
    let stored = &manifest.stored;
    let mut detail = Map::new();
    detail.insert("registryId".into(), registry.account().into());
    detail.insert("repositoryName".into(), name.into());
    detail.insert("imageDigest".into(), stored.digest.clone().into());
    detail.insert("imageManifestMediaType".into(), stored.media_type.clone().into());
    detail.insert("imagePushedAt".into(), json!(epoch(manifest.pushed)));
    detail.insert("imageSizeInBytes".into(), size(repository, manifest).into());
    detail.insert("imageStatus".into(), manifest.status.name().into());
    let tags = repository.tags_of(&stored.digest);
    if !tags.is_empty() {
        detail.insert("imageTags".into(), tags.into());
    }
    if let Some(artifact_type) = manifest.artifact_type() {
        detail.insert("artifactMediaType".into(), artifact_type.into());
    }
    if let Some(subject) = manifest.subject() {
        detail.insert("subjectManifestDigest".into(), subject.into());
    }
    Value::Object(detail)
}

/// Layers together; of an index the largest child.
fn size(repository: &Repository, manifest: &Manifest) -> u64 {
    let of = |value: &Value| value.get("size").and_then(Value::as_u64).unwrap_or(0);
    let own: u64 = manifest.blobs().map(of).sum();
    let children = manifest.children().filter_map(|child| repository.manifests.get(text(child, "digest")?));
    children.map(|child| child.blobs().map(of).sum()).max().unwrap_or(0).max(own)
}

pub(super) fn list(registry: &Registry, body: &Value) -> Result<Value, ApiError> {
    on(registry, body, |_, repository| {
        let mut all = Vec::new();
        for digest in
            repository.manifests.iter().filter(|(_, manifest)| takes_status(body, manifest)).map(|(digest, _)| digest)
        {
            let tags = repository.tags_of(digest);
            if takes(body, !tags.is_empty()) && tags.is_empty() {
                all.push((digest.clone(), json!({"imageDigest": digest})));
            }
            for tag in tags.into_iter().filter(|_| takes(body, true)) {
                all.push((format!("{digest}:{tag}"), json!({"imageDigest": digest, "imageTag": tag})));
            }
        }
        let (part, next) = page(&capped(registry, body), all, 100, 1000)?;
        Ok(listed("imageIds", part, next))
    })
}

pub(super) fn batch_get(registry: &Registry, body: &Value) -> Result<Value, ApiError> {
    let ids = ids(body)?.ok_or_else(|| invalid("imageIds", "Member must not be null"))?;
    on(registry, body, |name, repository| {
        let (mut images, mut failures) = (Vec::new(), Vec::new());
        for id in ids {
            match find(repository, id).filter(|found| found.is_active()) {
                Some(found) => {
                    let mut id = id.clone();
                    id["imageDigest"] = found.stored.digest.clone().into();
                    images.push(json!({
                        "registryId": registry.account(),
                        "repositoryName": name,
                        "imageId": id,
                        "imageManifest": String::from_utf8_lossy(&found.stored.bytes),
                        "imageManifestMediaType": found.stored.media_type,
                    }));
                }
                None => failures.push(failure(id)),
            }
        }
        Ok(json!({"images": images, "failures": failures}))
    })
}

pub(in crate::aws) fn batch_delete(registry: &Registry, body: &Value) -> Result<Value, ApiError> {
    let ids = ids(body)?.ok_or_else(|| invalid("imageIds", "Member must not be null"))?;
    on(registry, body, |_, repository| {
        let (mut gone, mut failures) = (Vec::new(), Vec::new());
        for id in ids {
            let Some(digest) = find(repository, id).map(|found| found.stored.digest.clone()) else {
                failures.push(failure(id));
                continue;
            };
            let untags = text(id, "imageTag").is_some() && repository.tags_of(&digest).len() > 1;
            if !untags && repository.is_listed(&digest) {
                failures.push(json!({
                    "imageId": id,
                    "failureCode": "ImageReferencedByManifestList",
                    "failureReason": "Requested image referenced by manifest list",
                }));
                continue;
            }
            match text(id, "imageTag") {
                Some(tag) => drop(repository.tags.remove(tag)),
                None => repository.tags.retain(|_, to| *to != digest),
            }
            // An image goes with its last tag.
            if repository.tags_of(&digest).is_empty() {
                repository.manifests.remove(&digest);
            }
            gone.push(id.clone());
        }
        Ok(json!({"imageIds": gone, "failures": failures}))
    })
}

pub(super) fn referrers(registry: &Registry, body: &Value) -> Result<Value, ApiError> {
    let subject = body.get("subjectId").and_then(|id| text(id, "imageDigest"));
    let subject = subject.ok_or_else(|| invalid("subjectId", "Member must not be null"))?;
    let types = body.get("filter").and_then(|filter| filter.get("artifactTypes")).and_then(Value::as_array);
    on(registry, body, |_, repository| {
        let takes = |manifest: &&Manifest| {
            types.is_none_or(|types| types.iter().any(|kind| kind.as_str() == manifest.artifact_type()))
        };
        let all = repository.referrers(subject).filter(takes).map(|manifest| {
            let mut referrer = manifest.as_referrer();
            referrer["artifactStatus"] = manifest.status.name().into();
            (manifest.stored.digest.clone(), referrer)
        });
        let (part, next) = page(body, all.collect(), 20, 50)?;
        Ok(listed("referrers", part, next))
    })
}

fn failure(id: &Value) -> Value {
    let (code, reason) = match (text(id, "imageDigest"), text(id, "imageTag")) {
        (None, None) => ("MissingDigestAndTag", "Invalid request parameters: both tag and digest cannot be null"),
        (Some(digest), _) if algorithm(digest).is_none() => {
            ("InvalidImageDigest", "Invalid request parameters: image digest should satisfy the regex")
        }
        (Some(_), Some(_)) => ("ImageTagDoesNotMatchDigest", "Requested image tag does not match the digest"),
        _ => ("ImageNotFound", "Requested image not found"),
    };
    json!({"imageId": id, "failureCode": code, "failureReason": reason})
}

fn not_found(registry: &Registry, name: &str, id: &Value) -> ApiError {
    let part = |key| text(id, key).map_or("null".to_owned(), |value| format!("'{value}'"));
    let text = format!(
        "The image with imageId {{imageDigest:{}, imageTag:{}}} does not exist within the repository with name \
         '{name}' in the registry with id '{}'",
        part("imageDigest"),
        part("imageTag"),
        registry.account()
    );
    ApiError::client("ImageNotFoundException", text)
}
