//! One `PATCH` without `Content-Range` that carries the whole blob, and an empty `PUT`: what Docker's client does.

use http::{Method, StatusCode};

use super::{
    super::{Repository, request::Operation},
    Session,
    session::{answer_patience, carrying},
    streamed_put::close,
};
use crate::{
    error::Error,
    oci::Blob,
    provider::Action,
    transport::{RequestBody, StreamBody},
};

/// 202 by the specification; ECR answers 201, others 204 or 200.
pub(super) const TAKEN: [StatusCode; 4] =
    [StatusCode::ACCEPTED, StatusCode::CREATED, StatusCode::NO_CONTENT, StatusCode::OK];

pub(super) async fn send(
    repository: &Repository,
    session: &mut Session,
    blob: &Blob,
    body: StreamBody,
) -> Result<(), Error> {
    let operation = Operation::new(Action::Upload, &blob.digest);
    let mut request = carrying(Method::PATCH, session.location.clone(), blob.size);
    request.body = RequestBody::Stream(body);
    request.patience = Some(answer_patience(repository, blob.size));
    let response = repository.send(&operation, request, &TAKEN).await?;
    session.location = repository.location(&operation, &session.location, &response)?;
    close(repository, &session.location, blob).await
}
