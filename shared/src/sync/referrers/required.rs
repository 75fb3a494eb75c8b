//! What must be attached to an image: looked for where not all of that is copied, so that what is left out counts as well.

use super::{find::MAX_MANIFESTS, look::types_of};
use crate::{
    error::{Error, ErrorType},
    oci::{Digest, Manifest, Referrer, cosign_tags, referrers_tag},
    registry::AttachedTags,
    request::{SyncRequest, is_of},
    sync::Task,
};

/// Looks whether something of each of these types is attached to `subject`, the image as it was pushed.
///
/// # Errors
/// `ReferrerNotFound`: not of each. `ManifestInvalid`: more is attached than is looked at. What asking the source meets.
pub(super) async fn check(task: &Task<'_>, subject: &Digest, mut missing: Vec<&String>) -> Result<(), Error> {
    if missing.is_empty() {
        return Ok(());
    }
    let tags = task.source.repository.attached_tags(None).await?;
    let listed = listed(task, subject, &tags, &missing).await?;
    let mut seen = |manifest: &Manifest| {
        let types = types_of(manifest);
        missing.retain(|wanted| !types.iter().any(|of| is_of(wanted, of)));
        missing.is_empty()
    };
    for referrer in listed {
        let read = read(task, referrer.digest.as_str(), Some(&referrer.digest)).await?;
        // A list's word is not taken for what its entries refer to, nor for what they are.
        if let Some(manifest) = read.filter(|manifest| manifest.subject.as_ref() == Some(subject))
            && seen(&manifest)
        {
            return Ok(());
        }
    }
    for tag in cosign_tags(subject).into_iter().filter(|tag| tags.may_have(tag)) {
        if let Some(manifest) = read(task, &tag, None).await?
            && seen(&manifest)
        {
            return Ok(());
        }
    }
    Err(lacks(task.request, subject, &missing))
}

/// What the source's list names as attached to `subject`, what is said to be of a required type first.
async fn listed(
    task: &Task<'_>,
    subject: &Digest,
    tags: &AttachedTags,
    wanted: &[&String],
) -> Result<Vec<Referrer>, Error> {
    let tag = referrers_tag(subject);
    let source = &task.source.repository;
    let mut listed = match source.referrers(subject, MAX_MANIFESTS).await? {
        // An empty list may be the answer to anything. A tag that is known to be there tells.
        Some(listed) if !listed.is_empty() || source.keeps_lists() || !tags.has(&tag) => listed,
        _ if !tags.may_have(&tag) => Vec::new(),
        _ => {
            let list = source.fallback_list(subject, &task.room).await?;
            list.map(|list| list.listed).unwrap_or_default()
        }
    };
    if listed.len() > MAX_MANIFESTS {
        let text = format!(
            "{} is not copied: over {MAX_MANIFESTS} manifests refer to {subject}, too many to look for what \
             require_referrers names",
            task.request.source
        );
        return Err(Error::new(ErrorType::ManifestInvalid, text));
    }
    listed.sort_by_key(|referrer| {
        let of = referrer.artifact_type.as_deref();
        !of.is_some_and(|of| wanted.iter().any(|wanted| is_of(wanted, of)))
    });
    Ok(listed)
}

/// A manifest of the source; `None`: it has none, as nobody mends its lists when an artifact is deleted.
async fn read(task: &Task<'_>, target: &str, digest: Option<&Digest>) -> Result<Option<Manifest>, Error> {
    match task.source.repository.manifest(target, digest, &task.room).await {
        Ok(manifest) => Ok(Some(manifest)),
        Err(error) if error.error_type == ErrorType::SourceNotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The refusal of an image that lacks what is required: all that is missing is named.
pub(super) fn lacks(request: &SyncRequest, root: &Digest, missing: &[&String]) -> Error {
    let named: Vec<String> = missing.iter().map(|of| format!("`{of}`")).collect();
    Error::new(
        ErrorType::ReferrerNotFound,
        format!(
            "{} ({root}) is not replicated: no referrer of type {} is attached to it, and require_referrers names what is \
             missing; attach it, then push or send the image again",
            request.source,
            named.join(", nor of ")
        ),
    )
}
