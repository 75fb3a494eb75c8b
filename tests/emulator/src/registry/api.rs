//! One request to the registry: the gates in front, then the resource.

use http::Method;

use crate::journal::Kind;
use crate::registry::{
    Shared, auth, blobs,
    body::Upstream,
    manifests, parents, referrers,
    reply::{Answer, Halt, Reply, refuse},
    route::{Target, is_name},
    server::Head,
    tags, uploads,
};

pub(super) async fn serve(shared: &Shared, head: &Head, body: &mut Upstream) -> Answer {
    let outcome = gated(shared, head, body).await;
    let dress = |reply: Reply| reply.header("docker-distribution-api-version", "registry/2.0");
    match outcome {
        Ok(reply) => Ok(dress(reply)),
        Err(Halt::Refuse(reply)) => Err(dress(*reply).into()),
        Err(Halt::Abort) => Err(Halt::Abort),
    }
}

async fn gated(shared: &Shared, head: &Head, body: &mut Upstream) -> Answer {
    if head.target == Target::Other {
        return Err(Reply::new(404).body("text/plain; charset=utf-8", "404 page not found\n").into());
    }
    let caller = auth::authorize(shared, head)?;
    if let Some(name) = head.target.repository()
        && !is_name(name)
    {
        return Err(refuse(400, "NAME_INVALID", "the repository name is invalid"));
    }
    if let Some(operation) = auth::operation(head.kind)
        && !shared.buckets.take(operation)
    {
        return Err(refuse(429, "TOOMANYREQUESTS", "Rate exceeded"));
    }
    parents::check(shared, head)?;
    missing_repository(shared, head)?;
    body_limit(shared, head)?;
    match (&head.target, &head.method) {
        (Target::Base, _) => Ok(Reply::new(200).body("application/json", "{}")),
        (Target::Catalog, &Method::GET) => tags::catalog(shared, head),
        (Target::Tags { name }, &Method::GET) => tags::list(shared, head, name),
        (Target::Referrers { name, digest }, &Method::GET) => referrers::list(shared, head, name, digest),
        (Target::Manifest { name, reference }, &Method::GET | &Method::HEAD) => {
            manifests::get(shared, head, name, reference)
        }
        (Target::Manifest { name, reference }, &Method::PUT) => {
            manifests::put(shared, head, name, reference, body).await
        }
        (Target::Manifest { name, reference }, &Method::DELETE) => manifests::delete(shared, name, reference),
        (Target::Blob { name, digest }, &Method::GET | &Method::HEAD) => blobs::get(shared, head, name, digest),
        (Target::Blob { name, digest }, &Method::DELETE) => blobs::delete(shared, name, digest),
        (Target::Uploads { name }, &Method::POST) => uploads::start(shared, head, name, &caller, body).await,
        (Target::Upload { name, id }, &Method::PATCH) => uploads::patch(shared, head, name, id, body).await,
        (Target::Upload { name, id }, &Method::PUT) => uploads::complete(shared, head, name, id, body).await,
        (Target::Upload { name, id }, &Method::GET) => uploads::status(shared, head, name, id).await,
        (Target::Upload { name, id }, &Method::DELETE) => uploads::cancel(shared, head, name, id).await,
        _ => Err(refuse(405, "UNSUPPORTED", "the operation is unsupported")),
    }
}

/// Where a push does not make repositories, every request to a missing one fails in the same way.
fn missing_repository(shared: &Shared, head: &Head) -> Result<(), Halt> {
    let Some(name) = head.target.repository() else { return Ok(()) };
    if shared.traits.creates_repositories || shared.store.exists(name) {
        return Ok(());
    }
    if shared.missing_repository_eof && head.method == Method::POST {
        return Err(Halt::Abort);
    }
    let text = if shared.traits.ecr {
        shared.missing_repository(name)
    } else {
        "repository name not known to registry".to_owned()
    };
    Err(refuse(404, "NAME_UNKNOWN", &text))
}

/// ACR's front refuses large bodies with a page of its own, Docker Hub a large PUT with a bare 400.
fn body_limit(shared: &Shared, head: &Head) -> Result<(), Halt> {
    let length = head.text("content-length").and_then(|length| length.parse::<u64>().ok());
    let blob_put = head.kind == Kind::UploadPut;
    if shared.traits.put_limit.is_some_and(|limit| blob_put && length.is_some_and(|length| length > limit)) {
        return Err(Reply::new(400).body("text/plain", "400 Bad Request\n").into());
    }
    let (Some(limit), Some(length)) = (shared.traits.body_limit, length) else { return Ok(()) };
    // One that breaks off has read as much as it takes by then.
    if length > limit && !shared.traits.breaks_off_large_bodies { Err(too_large(shared)) } else { Ok(()) }
}

/// What becomes of a body that is larger than the registry takes.
pub(super) fn too_large(shared: &Shared) -> Halt {
    if shared.traits.breaks_off_large_bodies {
        return Halt::Abort;
    }
    let page = "<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n<body>\r\n\
                    <center><h1>413 Request Entity Too Large</h1></center>\r\n<hr><center>nginx</center>\r\n\
                    </body>\r\n</html>\r\n";
    Reply::new(413).body("text/html", page).into()
}
