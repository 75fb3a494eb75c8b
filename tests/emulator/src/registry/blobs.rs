//! Blobs: reading, redirects, deleting.

use std::sync::atomic::Ordering;

use crate::{
    registry::{
        Shared, objects,
        reply::{Answer, Halt, Payload, Reply, refuse},
        server::Head,
        validate,
    },
    store::{Blob, Content},
};

pub(super) fn get(shared: &Shared, head: &Head, name: &str, digest: &str) -> Answer {
    validate::digest(shared, digest)?;
    let head_only = head.method == http::Method::HEAD;
    if head_only && shared.traits.refuses_blob_head {
        return Err(Reply::new(401).into());
    }
    let Some(blob) = shared.store.blob(name, digest) else { return Err(missing(shared, name)) };
    if shared.blob_address.is_some() && shared.redirecting.load(Ordering::SeqCst) && !head_only {
        let location = objects::presign(shared, name, digest);
        return Ok(Reply::new(307).header("location", location).body("text/html; charset=utf-8", ""));
    }
    if !head_only && matches!(blob.content, Content::Discarded { .. }) {
        return Err(refuse(500, "UNKNOWN", "the emulator was told to discard the bytes of blobs"));
    }
    Ok(content(&blob, digest, head.text("range").filter(|_| !head_only)))
}

pub(super) fn delete(shared: &Shared, name: &str, digest: &str) -> Answer {
    validate::digest(shared, digest)?;
    let gone = shared.store.with(|inner| inner.repositories.get_mut(name)?.blobs.remove(digest));
    gone.map(|_| Reply::new(202)).ok_or_else(|| missing(shared, name))
}

/// The content of a blob, or the part of it that was asked for.
pub(super) fn content(blob: &Blob, digest: &str, range: Option<&str>) -> Reply {
    let size = blob.content.size();
    let whole = Reply::new(200)
        .header("accept-ranges", "bytes")
        .header("content-type", "application/octet-stream")
        .header("docker-content-digest", digest)
        .header("etag", format!("\"{digest}\""));
    match range.map(|range| parse_range(range, size)) {
        None | Some(Wanted::Whole) => Reply { payload: Payload::Content(blob.content.clone(), 0, size), ..whole },
        Some(Wanted::Part(from, to)) => {
            let part = whole.header("content-range", format!("bytes {from}-{}/{size}", to - 1));
            let payload = Payload::Content(blob.content.clone(), from, to);
            Reply { status: http::StatusCode::PARTIAL_CONTENT, payload, ..part }
        }
        Some(Wanted::Nothing) => {
            Reply::error(416, "RANGE_INVALID", "invalid range").header("content-range", format!("bytes */{size}"))
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Whole,
    Part(u64, u64),
    Nothing,
}

/// One range, as HTTP writes them; several, or what cannot be read, means the whole.
fn parse_range(text: &str, size: u64) -> Wanted {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Wanted::Whole;
    };
    let (first, last) = (first.trim(), last.trim());
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), _) if first >= size => Wanted::Nothing,
        (Ok(first), Ok(last)) if last >= first => Wanted::Part(first, size.min(last.saturating_add(1))),
        (Ok(first), Err(_)) if last.is_empty() => Wanted::Part(first, size),
        (Err(_), Ok(0)) if first.is_empty() => Wanted::Nothing,
        (Err(_), Ok(tail)) if first.is_empty() && size > 0 => Wanted::Part(size.saturating_sub(tail), size),
        _ => Wanted::Whole,
    }
}

fn missing(shared: &Shared, name: &str) -> Halt {
    if !shared.store.exists(name) {
        return refuse(404, "NAME_UNKNOWN", "repository name not known to registry");
    }
    refuse(404, "BLOB_UNKNOWN", "blob unknown to registry")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_http_defines_them() {
        assert_eq!(parse_range("bytes=0-0", 10), Wanted::Part(0, 1));
        assert_eq!(parse_range("bytes=5-", 10), Wanted::Part(5, 10));
        assert_eq!(parse_range("bytes=-3", 10), Wanted::Part(7, 10));
        assert_eq!(parse_range("bytes=2-99", 10), Wanted::Part(2, 10));
        assert_eq!(parse_range("bytes=10-", 10), Wanted::Nothing);
        assert_eq!(parse_range("bytes=4-2", 10), Wanted::Whole);
        assert_eq!(parse_range("lines=1-2", 10), Wanted::Whole);
    }
}
