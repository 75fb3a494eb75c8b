//! One `PUT` that carries the whole blob.

use http::{Method, StatusCode};
use url::Url;

use super::{
    super::{Repository, request::Operation},
    Session,
    session::{CLOSING_PATIENCE, carrying, closing, empty},
};
use crate::{
    error::Error,
    oci::{Blob, Digest},
    provider::Action,
    transport::{RequestBody, StreamBody},
};

/// What closes a session.
pub(super) const CLOSED: [StatusCode; 3] = [StatusCode::CREATED, StatusCode::NO_CONTENT, StatusCode::OK];

pub(super) async fn send(
    repository: &Repository,
    session: &Session,
    blob: &Blob,
    body: StreamBody,
) -> Result<(), Error> {
    let operation = Operation::new(Action::Upload, &blob.digest);
    let mut request = carrying(Method::PUT, closing(&session.location, &blob.digest), blob.size);
    request.body = RequestBody::Stream(body);
    request.patience = Some(CLOSING_PATIENCE);
    repository.send(&operation, request, &CLOSED).await.map(drop)
}

/// Closes a session whose bytes are all there.
pub(super) async fn close(repository: &Repository, location: &Url, digest: &Digest) -> Result<(), Error> {
    let operation = Operation::new(Action::Upload, digest);
    let mut request = empty(Method::PUT, closing(location, digest));
    request.patience = Some(CLOSING_PATIENCE);
    repository.send(&operation, request, &CLOSED).await.map(drop)
}
