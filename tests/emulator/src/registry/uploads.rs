//! Upload sessions: what may follow what, and what becomes a blob.

mod session;

use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    digest::{Algorithm, algorithm},
    registry::{
        Personality, Shared,
        api::too_large,
        audit,
        auth::Caller,
        body::Upstream,
        parents,
        personality::{Locations, Mounting, Parents},
        reply::{Answer, Halt, Reply, refuse},
        server::Head,
        validate,
    },
    store::Access,
};

pub(crate) use session::Uploads;
use session::{Claim, Upload};

/// `POST /v2/<name>/blobs/uploads/`: a mount, a whole blob, or a new session.
pub(super) async fn start(shared: &Shared, head: &Head, name: &str, caller: &Caller, body: &mut Upstream) -> Answer {
    if let Some(digest) = head.query.get("mount")
        && let Some(reply) = mount(shared, head, name, digest, caller)?
    {
        return Ok(reply);
    }
    if let Some(name) = head.query.get("digest-algorithm")
        && Algorithm::named(name).is_none()
    {
        return Err(refuse(400, "DIGEST_INVALID", "the digest algorithm is not supported"));
    }
    // A template for creation on push works with the first call of the push, which is this one.
    if shared.traits.ecr && shared.traits.creates_repositories {
        shared.store.create_repository(name);
    }
    let (id, session) = shared.uploads.begin(name, shared.keep_blobs, shared.traits.least_chunk);
    if shared.traits.single_post
        && let Some(digest) = head.query.get("digest")
    {
        validate::digest(shared, digest)?;
        if !body.is_empty() || digest == EMPTY {
            let outcome = single(shared, head, name, digest, &session, body).await;
            shared.uploads.end(&id);
            return outcome;
        }
    }
    let state = session.lock().await.state.clone();
    let reply = Reply::new(202)
        .header("location", location(shared, head, name, &id, &state))
        .header("range", "0-0")
        .header("docker-upload-uuid", &id);
    Ok(match shared.traits.least_chunk {
        Some(least) => reply.header("oci-chunk-min-length", least.to_string()),
        None => reply,
    })
}

/// The digest of no bytes.
const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

async fn single(
    shared: &Shared,
    head: &Head,
    name: &str,
    digest: &str,
    session: &tokio::sync::Mutex<Upload>,
    body: &mut Upstream,
) -> Answer {
    let mut upload = session.lock().await;
    receive(shared, head, &mut upload, body).await?;
    commit(shared, name, digest, &mut upload)
}

/// `PATCH <location>`: more bytes.
pub(super) async fn patch(shared: &Shared, head: &Head, name: &str, id: &str, body: &mut Upstream) -> Answer {
    if shared.traits.refuses_patch {
        return Err(refuse(405, "UNSUPPORTED", "chunked uploads are not supported"));
    }
    if head.text("content-type").is_some_and(|value| value != "application/octet-stream") {
        return Err(refuse(400, "BLOB_UPLOAD_INVALID", "the content type must be application/octet-stream"));
    }
    let length = head.text("content-length").and_then(|value| value.parse::<u64>().ok());
    if shared.traits.largest_part.is_some_and(|largest| length.is_some_and(|length| length > largest)) {
        return Err(refuse(400, "BLOB_UPLOAD_INVALID", "the layer part is larger than the registry takes"));
    }
    let mut upload = claim(shared, head, name, id)?;
    receive(shared, head, &mut upload, body).await?;
    upload.renew();
    let status = if shared.traits.ecr { 201 } else { 202 };
    Ok(progress(shared, head, name, id, &upload, status))
}

/// `PUT <location>?digest=`: the last bytes, if any, and the end.
pub(super) async fn complete(shared: &Shared, head: &Head, name: &str, id: &str, body: &mut Upstream) -> Answer {
    let Some(digest) = head.query.get("digest") else {
        return Err(refuse(400, "DIGEST_INVALID", "the digest is missing"));
    };
    validate::digest(shared, digest)?;
    audit::blob_arrives(shared, name, digest);
    let mut upload = claim(shared, head, name, id)?;
    if !body.is_empty() || head.text("content-range").is_some() {
        receive(shared, head, &mut upload, body).await?;
    } else {
        upload.expect_offset()?;
    }
    if shared.traits.ecr {
        ecr_parts(id, &upload)?;
    } else if shared.traits.least_chunk.is_some() && upload.has_short_part() {
        return Err(refuse(400, "SIZE_INVALID", "a chunk is smaller than OCI-Chunk-Min-Length"));
    }
    quota(shared, upload.size())?;
    // Whatever comes of it: a session ends with its PUT.
    shared.uploads.end(id);
    commit(shared, name, digest, &mut upload)
}

/// `GET <location>`: how far it has come.
pub(super) async fn status(shared: &Shared, head: &Head, name: &str, id: &str) -> Answer {
    if !shared.traits.upload_status {
        return Err(refuse(405, "UNSUPPORTED", "the operation is unsupported"));
    }
    let session = shared.uploads.find(name, id).ok_or_else(unknown)?;
    let mut upload = session.lock().await;
    upload.settle(shared.traits.ecr);
    upload.renew();
    Ok(progress(shared, head, name, id, &upload, 204))
}

/// `DELETE <location>`: no more of it.
pub(super) async fn cancel(shared: &Shared, head: &Head, name: &str, id: &str) -> Answer {
    let session = shared.uploads.find(name, id).ok_or_else(unknown)?;
    // A request that was given up lets go of it in a moment.
    its_location(shared, head, &*session.lock().await)?;
    shared.uploads.end(id);
    Ok(Reply::new(204))
}

/// The session of a location, if its turn is the client's.
fn claim(shared: &Shared, head: &Head, name: &str, id: &str) -> Result<Claim, Halt> {
    let session = shared.uploads.find(name, id).ok_or_else(unknown)?;
    let Ok(mut upload) = session.try_lock_owned() else {
        return Err(refuse(416, "BLOB_UPLOAD_INVALID", "another request is writing to this upload"));
    };
    if upload.ends(shared.traits.upload_limit).is_some_and(|end| Instant::now() >= end) {
        shared.uploads.end(id);
        return Err(unknown());
    }
    upload.settle(shared.traits.ecr);
    its_location(shared, head, &upload)?;
    Ok(upload)
}

/// Checks that the location is the one that was given out last.
fn its_location(shared: &Shared, head: &Head, upload: &Upload) -> Result<(), Halt> {
    if shared.traits.locations == Locations::Stateless {
        return Ok(());
    }
    match head.query.get("_state") {
        None => Err(refuse(404, "BLOB_UPLOAD_UNKNOWN", "the location's query was not preserved")),
        Some(state) if state != upload.state => {
            Err(refuse(416, "BLOB_UPLOAD_INVALID", "this location was for an earlier request"))
        }
        Some(_) => Ok(()),
    }
}

/// Harbor counts what a project holds.
fn quota(shared: &Shared, more: u64) -> Result<(), Halt> {
    let Some(quota) = shared.quota else { return Ok(()) };
    let blobs = |inner: &mut crate::store::Inner| -> u64 {
        inner.repositories.values().flat_map(|found| found.blobs.values()).map(|blob| blob.content.size()).sum()
    };
    if shared.store.with(blobs) + more <= quota {
        return Ok(());
    }
    let text = format!("adding {more} B of storage resource will exceed the configured upper limit of {quota} B");
    let code = if shared.quota_status == 412 { "PRECONDITION" } else { "UNKNOWN" };
    Err(refuse(shared.quota_status, code, &text))
}

/// Takes the bytes of one request. A part that fails its checks leaves no trace.
async fn receive(shared: &Shared, head: &Head, upload: &mut Upload, body: &mut Upstream) -> Result<(), Halt> {
    let length = head.text("content-length").and_then(|value| value.parse::<u64>().ok());
    if shared.traits.needs_length && length.is_none() && !body.is_empty() {
        return Err(refuse(411, "SIZE_INVALID", "Content-Length is required"));
    }
    let range = head.text("content-range").map(|text| content_range(shared, text)).transpose()?;
    if range.is_none() && shared.traits.needs_range && upload.size() > 0 && !body.is_empty() {
        return Err(refuse(400, "BLOB_UPLOAD_INVALID", "Content-Range is required"));
    }
    if let (Some(limit), Some(_), Some(length)) = (shared.traits.ranged_patch_limit, range, length)
        && length > limit
    {
        let text = "the upload exceeds the maximum permissible limit of 4.00MiB";
        return Err(refuse(416, "REQUESTED_RANGE_NOT_SATISFIABLE", text));
    }
    if shared.traits.patch_overwrites && head.method == http::Method::PATCH {
        upload.restart();
    } else if let Some((first, last)) = range {
        if first != upload.size() {
            let text = format!("First byte of the layer part is {first} instead of {}", upload.size());
            return Err(refuse(416, "BLOB_UPLOAD_INVALID", &text));
        }
        if length.is_some_and(|length| length != last - first + 1) {
            return Err(refuse(400, "SIZE_INVALID", "Content-Length and Content-Range do not agree"));
        }
    } else {
        upload.expect_offset()?;
    }
    let start = upload.begin_part();
    let limit = shared.traits.body_limit;
    while let Some(bytes) = in_time(shared, upload, body).await? {
        upload.push(&bytes);
        if limit.is_some_and(|limit| upload.size() - start > limit) {
            upload.roll_back();
            return Err(too_large(shared));
        }
    }
    if range.is_some_and(|(first, last)| upload.size() - start != last - first + 1) {
        upload.roll_back();
        return Err(refuse(400, "SIZE_INVALID", "the body and Content-Range do not agree"));
    }
    upload.end_part();
    Ok(())
}

/// The next bytes, while the registry has the patience. No source says how it ends an upload; this one breaks off, and
/// has no such session any more when it is asked.
async fn in_time(shared: &Shared, upload: &Upload, body: &mut Upstream) -> Result<Option<Bytes>, Halt> {
    match upload.ends(shared.traits.upload_limit) {
        Some(end) => tokio::time::timeout_at(end, body.chunk()).await.unwrap_or(Err(Halt::Abort)),
        None => body.chunk().await,
    }
}

/// `<first>-<last>`, not the `bytes …/…` of HTTP.
fn content_range(shared: &Shared, text: &str) -> Result<(u64, u64), Halt> {
    let digits = |part: &str| -> Option<u64> {
        (!part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())).then(|| part.parse().ok())?
    };
    let parsed = text.split_once('-').and_then(|(first, last)| digits(first).zip(digits(last)));
    parsed.filter(|(first, last)| first <= last).ok_or_else(|| {
        if shared.personality == Personality::Acr {
            let text = r#"{"Reason":"the Content-Range header format is invalid"}"#;
            return Reply::new(400).body("application/json", text).into();
        }
        refuse(416, "BLOB_UPLOAD_INVALID", "the Content-Range header is malformed")
    })
}

/// Checks the digest and makes the blob.
fn commit(shared: &Shared, name: &str, digest: &str, upload: &mut Upload) -> Answer {
    let (found, content) = upload.take();
    let found = match algorithm(digest) {
        Some(Algorithm::Sha512) => content.digest(Algorithm::Sha512).unwrap_or_default(),
        _ => found,
    };
    if found != digest {
        return Err(refuse(400, "DIGEST_INVALID", "provided digest did not match uploaded content"));
    }
    shared.store.commit(name, digest, content);
    Ok(created(name, digest))
}

fn ecr_parts(id: &str, upload: &Upload) -> Result<(), Halt> {
    if upload.size() == 0 {
        let text = format!("The upload with id '{id}' cannot be completed because it does not have any parts.");
        return Err(refuse(400, "BLOB_UPLOAD_INVALID", &text));
    }
    if upload.has_short_part() {
        let text = "All layer parts except the last part should be at least 5MB";
        return Err(refuse(400, "BLOB_UPLOAD_INVALID", text));
    }
    Ok(())
}

fn mount(shared: &Shared, head: &Head, name: &str, digest: &str, caller: &Caller) -> Result<Option<Reply>, Halt> {
    validate::digest(shared, digest)?;
    let from = head.query.get("from");
    let granted = match (shared.traits.mounting, from) {
        (_, Some(from)) if shared.traits.parents == Parents::Project && !parents::exists(shared, from, 1) => {
            let text = format!("unauthorized to access repository: {from}, action: pull");
            return Err(refuse(401, "UNAUTHORIZED", &text));
        }
        (Mounting::RefusesWithoutFrom, None) => {
            return Err(refuse(400, "UNSUPPORTED", "mounting needs the repository to mount from"));
        }
        (Mounting::Never, _) | (Mounting::NeedsFrom | Mounting::EcrRules, None) => None,
        (Mounting::Anonymous, None) => shared
            .store
            .repositories()
            .into_iter()
            .find(|found| caller.may_pull(found) && shared.store.has_blob(found, digest)),
        (Mounting::EcrRules, Some(from)) => ecr_mountable(shared, from, name, digest).then(|| from.to_owned()),
        (Mounting::SameOwner, None) => None,
        (Mounting::SameOwner, Some(from)) if from.split('/').next() != name.split('/').next() => None,
        (_, Some(from)) => Some(from.to_owned()),
    };
    let Some(from) = granted.filter(|_| shared.mounting_on()) else { return Ok(None) };
    if !caller.may_pull(&from) || shared.store.is_denied(&from, Access::Pull) {
        return Ok(None);
    }
    let done = shared.store.with(|inner| {
        let mut blob = inner.repositories.get(&from)?.blobs.get(digest).filter(|blob| !blob.archived)?.clone();
        blob.committed = None;
        let target = inner.repositories.entry(name.to_owned()).or_default();
        target.blobs.entry(digest.to_owned()).or_insert(blob);
        Some(())
    });
    Ok(done.map(|()| created(name, digest)))
}

/// A manifest in the source must refer to the blob, and both sides must be encrypted alike.
fn ecr_mountable(shared: &Shared, from: &str, to: &str, digest: &str) -> bool {
    shared.store.with(|inner| {
        let Some(source) = inner.repositories.get(from) else { return false };
        let target = inner.repositories.get(to).map(|found| found.encryption());
        source.references(digest) && target.is_none_or(|target| target == source.encryption())
    })
}

fn created(name: &str, digest: &str) -> Reply {
    Reply::new(201).header("location", format!("/v2/{name}/blobs/{digest}")).header("docker-content-digest", digest)
}

fn progress(shared: &Shared, head: &Head, name: &str, id: &str, upload: &Upload, status: u16) -> Reply {
    let end = if shared.traits.ecr { upload.first_part_end() } else { upload.size() };
    Reply::new(status)
        .header("location", location(shared, head, name, id, &upload.state))
        .header("range", format!("0-{}", end.saturating_sub(1)))
        .header("docker-upload-uuid", id)
}

fn location(shared: &Shared, head: &Head, name: &str, id: &str, state: &str) -> String {
    let path = format!("/v2/{name}/blobs/uploads/{id}");
    match shared.traits.locations {
        Locations::Relative => format!("{path}?_state={state}"),
        Locations::Absolute => format!("{}{path}?_state={state}", shared.url_of(&head.authority)),
        Locations::Stateless => format!("{}{path}", shared.url_of(&head.authority)),
        Locations::Artifacts => format!("/artifacts-uploads/namespaces/{name}/uploads/{id}?_state={state}"),
        Locations::NoUploadCache => format!("{path}?_nouploadcache=false&_state={state}"),
    }
}

fn unknown() -> Halt {
    refuse(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
}
