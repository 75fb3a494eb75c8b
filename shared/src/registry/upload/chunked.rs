//! `PATCH`es of a fixed size with `Content-Range`, and an empty `PUT`: for registries that limit a body's size.
//!
//! One chunk is held, so that a broken one can be sent again; the copy's byte lease covers it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, header::CONTENT_RANGE};
use http_body_util::BodyExt;

use super::{
    super::{
        Repository,
        request::{Operation, Verb},
    },
    Session,
    session::carrying,
    single_patch::TAKEN,
    streamed_put::close,
};
use crate::{
    error::{Error, ErrorType},
    oci::Blob,
    transport::{RequestBody, StreamBody},
};

pub(super) async fn send(
    repository: &Repository,
    session: &Session,
    blob: &Blob,
    mut body: StreamBody,
    chunk: u64,
) -> Result<(), Error> {
    let operation = Operation::new(Verb::Upload, &blob.digest);
    // A registry's wish is not trusted to allocate by: what the lease covers is the limit.
    if let Some(least) = session.least_chunk.filter(|least| *least > chunk) {
        let reason =
            format!("the registry wants chunks of {least} bytes at least, more than the {chunk} that are held");
        return Err(Error::new(ErrorType::InvalidConfig, format!("{}: {reason}", repository.doing(&operation))));
    }
    let chunk = usize::try_from(chunk).unwrap_or(usize::MAX);
    let mut location = session.location.clone();
    let most = usize::try_from(blob.size).unwrap_or(usize::MAX).min(chunk);
    // A frame may reach over the chunk's end; with room for it the buffer never grows.
    let mut buffer = BytesMut::with_capacity(most + FRAME_ROOM);
    // Our own count: some registries report a wrong `Range`, or none.
    let mut offset: u64 = 0;
    while offset < blob.size {
        let stall = repository.client.transport.stall();
        let filled = repository.run.deadline.bound(fill(&mut body, &mut buffer, chunk, stall)).await;
        let filled = filled.unwrap_or_else(|passed| Err((ErrorType::DeadlineExceeded, passed.to_string())));
        filled.map_err(|(error_type, reason)| {
            Error::new(error_type, format!("{}: {reason}", repository.doing(&operation)))
        })?;
        let piece: Bytes = buffer.split_to(buffer.len().min(chunk)).freeze();
        let last = offset + piece.len() as u64 - 1;
        let mut request = carrying(Method::PATCH, location.clone(), piece.len() as u64);
        // The specification's form, `start-end`; ACR refuses HTTP's `bytes start-end/*`.
        let range = HeaderValue::try_from(format!("{offset}-{last}"))
            .map_err(|error| Error::new(ErrorType::Unavailable, error.to_string()))?;
        request.headers.insert(CONTENT_RANGE, range);
        request.body = RequestBody::Bytes(piece);
        let response = repository.send(&operation, request, &TAKEN).await?;
        location = repository.location(&operation, &location, &response)?;
        offset = last + 1;
    }
    close(repository, &location, &blob.digest).await
}

/// More than any HTTP frame is here: 16 KiB in h2 and TLS, up to 512 KiB from an HTTP/1.1 read buffer.
const FRAME_ROOM: usize = 512 * 1024;

/// Reads until the buffer holds a chunk or the body ends. The body ends early only with an error.
async fn fill(
    body: &mut StreamBody,
    buffer: &mut BytesMut,
    chunk: usize,
    stall: Duration,
) -> Result<(), (ErrorType, String)> {
    while buffer.len() < chunk {
        let next = tokio::time::timeout(stall, body.body.frame()).await;
        match next.map_err(|_| (ErrorType::Timeout, format!("nothing came for {} ms", stall.as_millis())))? {
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    buffer.extend_from_slice(&bytes);
                }
            }
            Some(Err(error)) => return Err((ErrorType::Unavailable, error.to_string())),
            None if buffer.is_empty() => {
                return Err((ErrorType::Unavailable, "the body ended before its size".to_owned()));
            }
            None => return Ok(()),
        }
    }
    Ok(())
}
