//! Whether an image is all there.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    digest::{self, algorithm},
    store::{Content, Store},
};

pub(super) fn check(store: &Store, repository: &str, reference: &str) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    walk(store, repository, reference, None, &mut seen)
}

fn walk(
    store: &Store,
    repository: &str,
    reference: &str,
    size: Option<u64>,
    seen: &mut BTreeSet<String>,
) -> Result<(), String> {
    let held = store.with(|inner| inner.repositories.get(repository)?.find(reference).cloned());
    let manifest = held.ok_or_else(|| format!("{repository}: no manifest {reference}"))?;
    let stored = &manifest.stored;
    if !seen.insert(stored.digest.clone()) {
        return Ok(());
    }
    if !digest::matches(&stored.digest, &stored.bytes) {
        return Err(format!("{repository}: the bytes of manifest {} have another digest", stored.digest));
    }
    if size.is_some_and(|size| size != stored.bytes.len() as u64) {
        return Err(format!("{repository}: manifest {} has another size than its descriptor says", stored.digest));
    }
    for child in manifest.children() {
        let (digest, size) = descriptor(child)?;
        // The caches that BuildKit writes are indexes of blobs.
        if store.manifest(repository, digest).is_none() && store.has_blob(repository, digest) {
            check_blob(store, repository, child)?;
            continue;
        }
        walk(store, repository, digest, Some(size), seen)?;
    }
    for blob in manifest.blobs() {
        if blob.get("urls").and_then(Value::as_array).is_none_or(Vec::is_empty) {
            check_blob(store, repository, blob)?;
        }
    }
    Ok(())
}

fn check_blob(store: &Store, repository: &str, blob: &Value) -> Result<(), String> {
    let (digest, size) = descriptor(blob)?;
    let held = store.blob(repository, digest).ok_or_else(|| format!("{repository}: no blob {digest}"))?;
    if held.content.size() != size {
        return Err(format!("{repository}: blob {digest} has {} bytes, not {size}", held.content.size()));
    }
    // Generated and discarded content had its digest taken when it came.
    if let Content::Held(..) = held.content {
        let known = algorithm(digest).ok_or_else(|| format!("{repository}: {digest} is no digest"))?;
        if held.content.digest(known).as_deref() != Some(digest) {
            return Err(format!("{repository}: the bytes of blob {digest} have another digest"));
        }
    }
    Ok(())
}

fn descriptor(value: &Value) -> Result<(&str, u64), String> {
    let digest = value.get("digest").and_then(Value::as_str);
    let size = value.get("size").and_then(Value::as_u64);
    digest.zip(size).ok_or_else(|| format!("not a descriptor: {value}"))
}
