//! The referrers API: what is attached to a manifest.

use serde_json::{Value, json};

use crate::registry::{
    Shared,
    reply::{Answer, Reply},
    route::encode,
    server::Head,
    validate,
};

pub(super) fn list(shared: &Shared, head: &Head, name: &str, digest: &str) -> Answer {
    if !shared.traits.referrers {
        return Err(Reply::new(404).body("text/plain; charset=utf-8", "404 page not found\n").into());
    }
    validate::digest(shared, digest)?;
    let wanted = head.query.get("artifactType").filter(|wanted| !wanted.is_empty());
    let mut found: Vec<(String, Value)> = shared.store.with(|inner| {
        let Some(repository) = inner.repositories.get(name) else { return Vec::new() };
        repository
            .referrers(digest)
            .filter(|_| !shared.traits.lists_nothing)
            .filter(|manifest| wanted.is_none_or(|wanted| manifest.artifact_type() == Some(wanted)))
            .map(|manifest| (manifest.stored.digest.clone(), manifest.as_referrer()))
            .collect()
    });
    if let Some(last) = head.query.get("last") {
        found.retain(|(digest, _)| digest.as_str() > last);
    }
    let mut next = None;
    if let Some(count) = shared.referrers_page.filter(|count| *count < found.len()) {
        found.truncate(count);
        next = found.last().map(|(digest, _)| digest.clone());
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": found.into_iter().map(|(_, descriptor)| descriptor).collect::<Vec<_>>(),
    });
    let mut reply = Reply::new(200).body(shared.traits.referrers_type, index.to_string());
    if wanted.is_some() {
        reply = reply.header("oci-filters-applied", "artifactType");
    }
    if let Some(last) = next {
        let filter = wanted.map(|wanted| format!("&artifactType={}", encode(wanted))).unwrap_or_default();
        let last = encode(&last);
        reply = reply.header("link", format!("</v2/{name}/referrers/{digest}?last={last}{filter}>; rel=\"next\""));
    }
    Ok(reply)
}
