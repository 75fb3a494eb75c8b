//! Manifests: kept verbatim, checked before they are kept.

use bytes::Bytes;

use crate::{
    digest::{self, Algorithm, algorithm},
    registry::{
        Personality, Shared, audit,
        body::Upstream,
        convert,
        personality::TagDeletion,
        reply::{Answer, Halt, Payload, Reply, refuse},
        route::is_tag,
        server::Head,
        validate,
    },
    store::{Manifest, StoredManifest},
};

/// The largest manifest (ECR's PutImage; the specification asks for at least this).
const LARGEST: usize = 4 * 1024 * 1024;

pub(super) fn get(shared: &Shared, head: &Head, name: &str, reference: &str) -> Answer {
    let by_digest = algorithm(reference).is_some();
    if by_digest {
        validate::digest(shared, reference)?;
    }
    if !by_digest && !is_tag(reference) {
        // ECR answers 400 here; others look for it and find nothing.
        let status = if shared.traits.ecr { 400 } else { 404 };
        return Err(refuse(status, "MANIFEST_INVALID", "the reference is no tag and no digest"));
    }
    let Some(stored) = shared.store.manifest(name, reference) else { return Err(missing(shared, name)) };
    let limits = hub_limits(shared, head)?;
    let accepts: Vec<&str> = head.headers.get_all("accept").iter().filter_map(|line| line.to_str().ok()).collect();
    let mut stored = stored;
    if !accepted(&accepts.join(","), &stored.media_type) {
        let wanted = |media_type: &str| accepted(&accepts.join(","), media_type);
        let converted = if shared.traits.ecr && !by_digest { convert::convert(&stored, wanted) } else { None };
        stored = converted.ok_or_else(|| {
            refuse(404, "MANIFEST_UNKNOWN", "the manifest is of a type that the client does not accept")
        })?;
    }
    let mut reply = Reply::new(200)
        .header("content-type", &stored.media_type)
        .header("docker-content-digest", &stored.digest)
        .header("etag", format!("\"{}\"", stored.digest));
    for (name, value) in limits {
        reply = reply.header(name, value);
    }
    reply.payload = Payload::Bytes(stored.bytes);
    Ok(reply)
}

pub(super) async fn put(shared: &Shared, head: &Head, name: &str, reference: &str, body: &mut Upstream) -> Answer {
    let wanted = algorithm(reference);
    if wanted.is_some() {
        validate::digest(shared, reference)?;
    }
    if wanted.is_none() && !is_tag(reference) {
        let code = if reference.contains(':') { "DIGEST_INVALID" } else { "MANIFEST_INVALID" };
        return Err(refuse(400, code, "the reference is no tag and no digest"));
    }
    let content_type = head.text("content-type").unwrap_or_default().to_owned();
    let bytes = body.collect(LARGEST).await?;
    let tags: Vec<String> = head.query.all("tag").filter(|_| shared.traits.tag_param).map(str::to_owned).collect();
    if tags.iter().any(|tag| !is_tag(tag)) {
        return Err(refuse(400, "MANIFEST_INVALID", "a tag is malformed"));
    }
    let facts = validate::validate(shared, &content_type, &bytes)?;
    let digest = match wanted {
        Some(Algorithm::Sha512) => digest::sha512(&bytes),
        _ => digest::sha256(&bytes),
    };
    if wanted.is_some() && digest != reference {
        return Err(refuse(400, "DIGEST_INVALID", "provided digest did not match uploaded content"));
    }
    if shared.traits.checks_references {
        validate::references(shared, name, &facts)
            .inspect_err(|_| audit::manifest_too_early(shared, name, reference))?;
    }
    let mut tags = tags;
    if wanted.is_none() {
        tags.push(reference.to_owned());
    }
    keep(shared, name, &digest, &facts.media_type, bytes, &tags)?;
    audit::manifest_taken(shared, name, reference);

    let mut reply = Reply::new(201).header("docker-content-digest", &digest);
    if !shared.traits.ecr {
        reply = reply.header("location", format!("/v2/{name}/manifests/{digest}"));
    }
    if shared.traits.referrers
        && shared.traits.names_subjects
        && let Some(subject) = &facts.subject
    {
        reply = reply.header("oci-subject", subject);
    }
    for tag in head.query.all("tag").filter(|_| shared.traits.tag_param) {
        if let Ok(tag) = tag.parse() {
            reply.headers.append("oci-tag", tag);
        }
    }
    Ok(reply)
}

/// Keeps the manifest and moves the tags, in one step.
fn keep(
    shared: &Shared,
    name: &str,
    digest: &str,
    media_type: &str,
    bytes: Bytes,
    tags: &[String],
) -> Result<(), Halt> {
    let stored = StoredManifest { digest: digest.to_owned(), media_type: media_type.to_owned(), bytes };
    shared.store.with(|inner| {
        let order = inner.tick();
        let found = inner.repositories.entry(name.to_owned()).or_default();
        // ECR refuses even the same digest.
        if let Some(tag) = tags.iter().find(|tag| found.holds_tag(tag) && found.tags.contains_key(*tag)) {
            let text = format!(
                "The image tag '{tag}' already exists in the '{name}' repository and cannot be overwritten \
                 because the tag is immutable."
            );
            let status = if shared.personality == Personality::Harbor { 412 } else { 400 };
            let code = if status == 412 { "PRECONDITION" } else { "TAG_INVALID" };
            return Err(refuse(status, code, &text));
        }
        shared.quotas.image(found, (&shared.account, name), digest, tags)?;
        found.put(Manifest::new(stored, order));
        for tag in tags {
            found.tags.insert(tag.clone(), digest.to_owned());
        }
        Ok(())
    })
}

pub(super) fn delete(shared: &Shared, name: &str, reference: &str) -> Answer {
    let by_digest = algorithm(reference).is_some();
    if !by_digest && !is_tag(reference) {
        return Err(refuse(400, "MANIFEST_INVALID", "the reference is no tag and no digest"));
    }
    match shared.traits.tag_deletion {
        TagDeletion::Never => return Err(refuse(405, "UNSUPPORTED", "The operation is unsupported.")),
        TagDeletion::DigestsOnly if !by_digest => {
            return Err(refuse(405, "UNSUPPORTED", &format!("unsupported digest {reference}")));
        }
        TagDeletion::Untags | TagDeletion::WholeImage | TagDeletion::DigestsOnly => {}
    }
    let gone = shared.store.with(|inner| {
        let found = inner.repositories.get_mut(name)?;
        let resolved = found.tags.get(reference).filter(|_| shared.traits.tag_deletion == TagDeletion::WholeImage);
        let (reference, by_digest) = match resolved.cloned() {
            Some(digest) => (&digest.clone(), true),
            None => (&reference.to_owned(), by_digest),
        };
        if by_digest && shared.traits.ecr && found.is_listed(reference) {
            return Some(false);
        }
        if by_digest {
            found.manifests.remove(reference)?;
            found.tags.retain(|_, digest| digest != reference);
            Some(true)
        } else {
            found.tags.remove(reference).map(|_| true)
        }
    });
    match gone {
        Some(true) => Ok(Reply::new(202)),
        // The status is not documented.
        Some(false) => Err(refuse(400, "DENIED", "Requested image referenced by manifest list")),
        None => Err(missing(shared, name)),
    }
}

/// Whether an `Accept` header takes a media type. None at all takes any.
fn accepted(accept: &str, media_type: &str) -> bool {
    let mut ranges = accept.split(',').map(|range| range.split(';').next().unwrap_or_default().trim());
    accept.trim().is_empty() || ranges.any(|range| matches!(range, "*/*" | "application/*") || range == media_type)
}

/// Docker Hub counts reads of manifests, not HEADs, and says so in headers.
fn hub_limits(shared: &Shared, head: &Head) -> Result<Vec<(&'static str, String)>, Halt> {
    use std::sync::atomic::Ordering;
    let Some(limit) = shared.pull_limit.filter(|_| shared.traits.hub_limits) else { return Ok(Vec::new()) };
    let counts = head.method == http::Method::GET;
    let used =
        if counts { shared.pulls.fetch_add(1, Ordering::SeqCst) + 1 } else { shared.pulls.load(Ordering::SeqCst) };
    let headers = vec![
        ("ratelimit-limit", format!("{limit};w=21600")),
        ("ratelimit-remaining", format!("{};w=21600", limit.saturating_sub(used))),
        ("docker-ratelimit-source", "127.0.0.1".to_owned()),
    ];
    if counts && used > limit {
        let text = "You have reached your pull rate limit. You may increase the limit by authenticating and \
                    upgrading: https://www.docker.com/increase-rate-limit";
        let mut reply = Reply::error(429, "TOOMANYREQUESTS", text);
        for (name, value) in headers {
            reply = reply.header(name, value);
        }
        return Err(reply.into());
    }
    Ok(headers)
}

fn missing(shared: &Shared, name: &str) -> Halt {
    if !shared.store.exists(name) {
        return refuse(404, "NAME_UNKNOWN", "repository name not known to registry");
    }
    let text = if shared.traits.ecr { "Requested image not found" } else { "manifest unknown" };
    refuse(404, "MANIFEST_UNKNOWN", text)
}
