//! `PATCH`es of a fixed size with `Content-Range`, and an empty `PUT`: for registries that limit a body's size.
//!
//! The pieces of one chunk are held until the registry has taken it, so that a broken one can be sent again; the copy's
//! byte lease covers them. This is the one owner of a chunk's tries.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header::CONTENT_RANGE};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::Instant;
use url::Url;

use super::{
    super::{Repository, refusal::WAY_ADVICE, request::Operation},
    ChunkTaken, Session,
    session::{answer_patience, carrying},
    single_patch::TAKEN,
    streamed_put::close,
};
use crate::{
    error::{Class, Error, ErrorType},
    oci::{Blob, ErrorEnvelope},
    provider::Action,
    transport::{Request, RequestBody, StreamBody},
};

pub(super) async fn send(
    repository: &Repository,
    session: &mut Session,
    blob: &Blob,
    mut body: StreamBody,
    chunk: u64,
    taken: &ChunkTaken<'_>,
) -> Result<(), Error> {
    let operation = Operation::new(Action::Upload, &blob.digest).once();
    let offset = session.offset;
    let mut upload = Upload { repository, operation, session, offset };
    let mut kept = Pieces::default();
    // The sum begins at a frame's edge, and the upload may be a little further.
    let begins = blob.size - body.body.size_hint().exact().unwrap_or(blob.size);
    let mut read = begins;
    let deadline = &repository.run.deadline;
    let mut slowest = Duration::ZERO;
    loop {
        // What an earlier run has sent, or another one meanwhile, is read for the sum alone.
        while read < upload.offset {
            let part = (upload.offset - read).min(chunk);
            kept.filled(&mut body, part, repository, &upload.operation).await?;
            drop(kept.take(part));
            read += part;
        }
        if upload.offset >= blob.size {
            break;
        }
        // No chunk is begun that would be cut.
        if deadline.hands_over() || deadline.may_hand_over() && deadline.left() < slowest * 3 / 2 {
            let doing = repository.doing(&upload.operation);
            let text = format!("{doing}: stopped at byte {}, as the invocation's time is nearly up", upload.offset);
            return Err(Error::new(ErrorType::DeadlineExceeded, text));
        }
        kept.filled(&mut body, chunk, repository, &upload.operation).await?;
        let begun = Instant::now();
        let pieces = kept.take(chunk);
        read += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        upload.chunk(pieces, blob.size).await?;
        slowest = slowest.max(begun.elapsed());
        taken(&upload.session.location, upload.offset);
    }
    close(repository, &upload.session.location, blob).await
}

/// An upload on its way.
struct Upload<'r> {
    repository: &'r Repository,
    operation: Operation,
    session: &'r mut Session,
    /// Our own count: some registries report a wrong `Range`, or none.
    offset: u64,
}

impl Upload<'_> {
    /// Sends one chunk, as often as it takes.
    ///
    /// In a session that an earlier invocation began another run may be further, at most at `size` (bytes of the blob), or
    /// may have had the turn; then this one goes on behind it.
    async fn chunk(&mut self, mut pieces: Vec<Bytes>, size: u64) -> Result<(), Error> {
        let end = self.offset + pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        let mut attempt = 0;
        // Each turn waits and counts against the tries, or gets on.
        while self.offset < end {
            attempt += 1;
            let error = match self.patch(&pieces, end).await {
                Ok(Patched::Taken(location)) => {
                    (self.session.location, self.offset) = (location, end);
                    return Ok(());
                }
                // An earlier try was taken, or a part of it, and its answer lost; or the session is gone.
                Ok(Patched::NotHere(status)) => {
                    let lost = || {
                        let doing = self.repository.doing(&self.operation);
                        let text = format!("{doing}: {status} for the chunk at byte {}", self.offset);
                        Error::new(ErrorType::Unavailable, text).retry_above()
                    };
                    // A registry that gets on by a byte a turn gets on no better than one that does not.
                    let taken_up = self.session.taken_up;
                    let first = if taken_up { 1 } else { 2 };
                    let worth_asking = (first..=self.repository.client.policy.max_attempts).contains(&attempt);
                    let told = if worth_asking { self.status().await? } else { None };
                    let (taken, location) = told.ok_or_else(lost)?;
                    // Some registries report a wrong `Range`: what is no progress is none.
                    let credible = if taken_up { self.offset..=size } else { self.offset + 1..=end };
                    if !credible.contains(&taken) {
                        return Err(lost());
                    }
                    if taken == self.offset {
                        self.pause(attempt, lost()).await?;
                    }
                    pieces = behind(pieces, taken - self.offset);
                    (self.session.location, self.offset) = (location, taken);
                    if taken < end {
                        self.repository.run.meter.retry();
                    }
                    continue;
                }
                Err(error) => error,
            };
            let wait = if error.retry_above && error.class() == Class::Later {
                self.repository.client.policy.backoff(attempt, error.retry_after, fastrand::f64())
            } else {
                None
            };
            // Whoever is above does not try again what was tried here.
            let tried = Error { retry_above: false, ..error };
            let Some(wait) = wait else { return Err(tried) };
            if self.repository.run.deadline.sleep(wait).await.is_err() {
                return Err(tried);
            }
            tracing::debug!(offset = self.offset, retry.attempt = attempt, retry.reason = %tried, "sending a chunk again");
            self.repository.run.meter.retry();
        }
        Ok(())
    }

    /// Waits for another run's turn to end; `error`, where that was waited for as often as it may be.
    async fn pause(&self, attempt: u32, error: Error) -> Result<(), Error> {
        let Some(wait) = self.repository.client.policy.backoff(attempt, None, fastrand::f64()) else {
            return Err(error);
        };
        let passed = self.repository.run.deadline.sleep(wait).await;
        passed.map_err(|passed| {
            let doing = self.repository.doing(&self.operation);
            Error::new(ErrorType::DeadlineExceeded, format!("{doing}: {passed}"))
        })
    }

    async fn patch(&self, pieces: &[Bytes], end: u64) -> Result<Patched, Error> {
        let mut request = carrying(Method::PATCH, self.session.location.clone(), end - self.offset);
        // The specification's form, `start-end`; ACR refuses HTTP's `bytes start-end/*`.
        let range = HeaderValue::try_from(format!("{}-{}", self.offset, end - 1))
            .map_err(|error| Error::new(ErrorType::Unavailable, error.to_string()))?;
        request.headers.insert(CONTENT_RANGE, range);
        request.patience = Some(answer_patience(self.repository, end - self.offset));
        request.body = RequestBody::Pieces(pieces.to_vec());
        let mut not_here = NOT_HERE.to_vec();
        // Of a session that is gone some say so with a 400; to begin anew is right whatever it means.
        if self.session.taken_up && self.offset == self.session.offset {
            not_here.push(StatusCode::BAD_REQUEST);
        }
        let mut answers = TAKEN.to_vec();
        answers.extend(&not_here);
        let response = self.repository.send(&self.operation, request, &answers).await?;
        if not_here.contains(&response.status) {
            let status = response.status;
            let said = ErrorEnvelope::parse(&response.excerpt().await);
            // GHCR's word for a chunk over 4 MiB, which no other try makes smaller (ocx-sh/ocx, issue 237).
            if said.code == "REQUESTED_RANGE_NOT_SATISFIABLE" {
                let doing = self.repository.doing(&self.operation);
                let text = format!("{doing}: {} {} \"{}\"{WAY_ADVICE}", status.as_u16(), said.code, said.message);
                return Err(Error::new(ErrorType::InvalidConfig, text));
            }
            return Ok(Patched::NotHere(status));
        }
        self.repository.location(&self.operation, &self.session.location, &response).map(Patched::Taken)
    }

    /// How far the registry says that the upload has come, and where it goes on; `None`: it does not say.
    ///
    /// Source: OCI distribution-spec, end-13.
    ///
    /// # Errors
    /// `UnsafeRedirect`: it leads away from the registry.
    async fn status(&self) -> Result<Option<(u64, Url)>, Error> {
        let request = Request::new(Method::GET, self.session.location.clone());
        let asked = self.repository.send(&self.operation, request, &[StatusCode::NO_CONTENT]).await;
        let Ok(response) = asked else { return Ok(None) };
        let range = response.header("range").and_then(|range| range.strip_prefix("0-"));
        let Some(last) = range.and_then(|last| last.parse::<u64>().ok()) else { return Ok(None) };
        match self.repository.location(&self.operation, &self.session.location, &response) {
            Ok(location) => Ok(Some((last.saturating_add(1), location))),
            Err(error) if error.class() == Class::Never => Err(error),
            Err(_) => Ok(None),
        }
    }
}

/// What came of a `PATCH`.
enum Patched {
    /// It was taken; the upload goes on there.
    Taken(Url),
    /// The upload is not where the chunk begins, or is no more.
    NotHere(StatusCode),
}

/// Source: OCI distribution-spec, end-5.
const NOT_HERE: [StatusCode; 2] = [StatusCode::NOT_FOUND, StatusCode::RANGE_NOT_SATISFIABLE];

/// What is left of `pieces` behind their first `bytes`.
fn behind(pieces: Vec<Bytes>, bytes: u64) -> Vec<Bytes> {
    let mut left: VecDeque<Bytes> = pieces.into();
    let mut over = usize::try_from(bytes).unwrap_or(usize::MAX);
    while let Some(piece) = left.front_mut() {
        if piece.len() > over {
            drop(piece.split_to(over));
            break;
        }
        over -= piece.len();
        left.pop_front();
    }
    left.into()
}

/// Bytes that were read and are not sent yet.
#[derive(Default)]
struct Pieces {
    pieces: VecDeque<Bytes>,
    bytes: u64,
}

impl Pieces {
    /// Reads a chunk, within the invocation's time.
    async fn filled(
        &mut self,
        body: &mut StreamBody,
        chunk: u64,
        repository: &Repository,
        operation: &Operation,
    ) -> Result<(), Error> {
        let filled = repository.run.deadline.bound(self.fill(body, chunk)).await;
        let filled = filled.unwrap_or_else(|passed| Err((ErrorType::DeadlineExceeded, passed.to_string())));
        filled.map_err(|(error_type, reason)| {
            Error::new(error_type, format!("{}: {reason}", repository.doing(operation))).retry_above()
        })
    }

    /// Reads until there is a chunk, or the body ends. The body ends early only with an error, a stall among them.
    async fn fill(&mut self, body: &mut StreamBody, chunk: u64) -> Result<(), (ErrorType, String)> {
        while self.bytes < chunk {
            match body.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.bytes += bytes.len() as u64;
                        self.pieces.push_back(bytes);
                    }
                }
                Some(Err(error)) => return Err((ErrorType::Unavailable, error.to_string())),
                None if self.bytes == 0 => {
                    return Err((ErrorType::Unavailable, "the body ended before its size".to_owned()));
                }
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// The next chunk.
    fn take(&mut self, chunk: u64) -> Vec<Bytes> {
        let mut left = usize::try_from(chunk).unwrap_or(usize::MAX);
        let mut taken = Vec::new();
        while left > 0
            && let Some(mut piece) = self.pieces.pop_front()
        {
            let part = piece.split_to(piece.len().min(left));
            left -= part.len();
            self.bytes -= part.len() as u64;
            taken.push(part);
            if !piece.is_empty() {
                self.pieces.push_front(piece);
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(texts: &[&'static str]) -> Vec<Bytes> {
        texts.iter().map(|text| Bytes::from_static(text.as_bytes())).collect()
    }

    #[test]
    fn chunks_are_cut_out_of_frames() {
        let mut kept = Pieces { pieces: pieces(&["abcd", "ef", "ghi"]).into(), bytes: 9 };
        assert_eq!(kept.take(5), pieces(&["abcd", "e"]));
        assert_eq!(kept.take(5), pieces(&["f", "ghi"]));
        assert_eq!((kept.bytes, kept.take(5).len()), (0, 0));
    }

    #[test]
    fn what_is_behind_an_offset_is_left() {
        let of = |bytes| behind(pieces(&["abcd", "ef"]), bytes);
        assert_eq!((of(0), of(3), of(4)), (pieces(&["abcd", "ef"]), pieces(&["d", "ef"]), pieces(&["ef"])));
        assert_eq!(of(6), Vec::<Bytes>::new());
    }
}
