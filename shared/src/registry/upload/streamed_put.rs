//! One `PUT` that carries the whole blob.

use http::{Method, StatusCode};
use url::Url;

use super::{
    super::{Repository, request::Operation},
    Session,
    session::{answer_patience, carrying, closing, empty},
};
use crate::{
    error::{Error, ErrorType},
    oci::{Blob, ErrorEnvelope},
    provider::Action,
    transport::{RequestBody, StreamBody},
};

/// What closes a session: 201 by the specification, others by registries; regclient takes these, too. Whether the blob is
/// there after a 202 shows when the manifest is put.
pub(super) const CLOSED: [StatusCode; 4] =
    [StatusCode::CREATED, StatusCode::NO_CONTENT, StatusCode::OK, StatusCode::ACCEPTED];

pub(super) async fn send(
    repository: &Repository,
    session: &Session,
    blob: &Blob,
    body: StreamBody,
) -> Result<(), Error> {
    let operation = Operation::new(Action::Upload, &blob.digest);
    let mut request = carrying(Method::PUT, closing(&session.location, &blob.digest), blob.size);
    request.body = RequestBody::Stream(body);
    request.patience = Some(answer_patience(repository, blob.size));
    repository.send(&operation, request, &CLOSED).await.map(drop)
}

/// Closes a session for a blob without bytes.
///
/// ECR takes none: 400 `BLOB_UPLOAD_INVALID`, "it does not have any parts" (radius-project/radius, issue 7855). No other
/// try mends that, whatever such an answer means of other uploads.
pub(super) async fn close_empty(repository: &Repository, location: &Url, blob: &Blob) -> Result<(), Error> {
    let operation = Operation::new(Action::Upload, &blob.digest);
    let request = empty(Method::PUT, closing(location, &blob.digest));
    let mut answers = CLOSED.to_vec();
    answers.push(StatusCode::BAD_REQUEST);
    let response = repository.send(&operation, request, &answers).await?;
    if response.status != StatusCode::BAD_REQUEST {
        return Ok(());
    }
    let said = ErrorEnvelope::parse(&response.excerpt().await);
    let text = format!(
        "{}: 400 {} \"{}\"; the registry takes no blob of 0 bytes, and this image has one: build it without that empty \
         layer, or send it to another registry",
        repository.doing(&operation),
        said.code,
        said.message
    );
    Err(Error::new(ErrorType::ManifestInvalid, text))
}

/// Closes a session whose bytes are all there.
pub(super) async fn close(repository: &Repository, location: &Url, blob: &Blob) -> Result<(), Error> {
    let operation = Operation::new(Action::Upload, &blob.digest);
    let mut request = empty(Method::PUT, closing(location, &blob.digest));
    request.patience = Some(answer_patience(repository, blob.size));
    repository.send(&operation, request, &CLOSED).await.map(drop)
}
