//! The object store behind a registry: reads by signed URL only, in the manner of S3.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::{
    random,
    registry::{Shared, blobs, reply::Reply, route, server::Head},
    store::Content,
};

/// How long a signed URL holds: chosen, no data on ECR's.
const LIFETIME: u64 = 3600;

/// A URL that reads one blob for a while.
pub(super) fn presign(shared: &Shared, name: &str, digest: &str) -> String {
    let address = shared.blob_address.unwrap_or(shared.address);
    let path = format!("/{name}/{}", digest.replace(':', "/"));
    let expires = now() + LIFETIME;
    let signature = random::sign(&format!("GET {path} {expires}"));
    let credential = route::encode(&format!("ASIAEMULATOR/{}/s3/aws4_request", shared.region));
    format!(
        "{}{path}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Expires={LIFETIME}\
         &X-Amz-SignedHeaders=host&x-emulator-until={expires}&X-Amz-Signature={signature}",
        shared.url(address)
    )
}

pub(super) fn serve(shared: &Shared, head: &Head) -> Reply {
    if head.headers.contains_key("authorization") {
        let text = "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query \
                    string parameter or the Authorization header should be specified";
        return error(400, "InvalidArgument", text);
    }
    let (Some(signature), Some(until)) = (head.query.get("X-Amz-Signature"), head.query.get("x-emulator-until")) else {
        return error(403, "AccessDenied", "Access Denied");
    };
    // The signature is for GET: a HEAD with it fails, as at S3.
    if random::sign(&format!("{} {} {until}", head.method, head.path)) != signature {
        let text = "The request signature we calculated does not match the signature you provided.";
        return error(403, "SignatureDoesNotMatch", text);
    }
    if until.parse::<u64>().is_ok_and(|until| until < now()) {
        return error(403, "AccessDenied", "Request has expired");
    }
    let found = parse(&head.path).and_then(|(name, digest)| Some((shared.store.blob(&name, &digest)?, digest)));
    match found {
        Some((blob, _)) if matches!(blob.content, Content::Discarded { .. }) => {
            error(500, "InternalError", "the emulator was told to discard the bytes of blobs")
        }
        Some((blob, digest)) => {
            let mut reply = blobs::content(&blob, &digest, head.text("range"));
            reply.headers.remove("docker-content-digest");
            reply
        }
        None => error(404, "NoSuchKey", "The specified key does not exist."),
    }
}

/// Repository and digest of an object's path.
pub(super) fn parse(path: &str) -> Option<(String, String)> {
    let (rest, hex) = path.strip_prefix('/')?.rsplit_once('/')?;
    let (name, algorithm) = rest.rsplit_once('/')?;
    Some((name.to_owned(), format!("{algorithm}:{hex}")))
}

fn error(status: u16, code: &str, message: &str) -> Reply {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    Reply::new(status).body("application/xml", body)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|time| time.as_secs()).unwrap_or(0)
}
