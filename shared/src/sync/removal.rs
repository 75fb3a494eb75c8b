//! A tag that was deleted at the source is removed at a destination: that tag alone, and only while nothing speaks against it.
//!
//! source gone? → destination the same? → other tags? → remove → look at both ends once more
//!
//! No registry removes "this tag, unless it is the last one": the image's other tag may go between the question and the
//! removal, as two deletions are followed at once. So the manifest is read before, and put back under the tag if it was the last.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use tokio::time::Instant;

use super::{Ends, RequestCounts, Source, presence, publish};
use crate::{
    deadline::Deadline,
    error::{Error, ErrorType},
    limits::{ByteBudget, CommitGate, ManifestRoom},
    oci::{Manifest, Reference},
    registry::{Repository, Run, Untagging},
    request::{Delete, RemovalRequest},
    transport::Meter,
};

/// What must be left of the invocation for a removal to begin: what follows it can't be done by another one. Chosen: the
/// removal and some requests, each tried again.
const TIME_TO_FINISH: Duration = Duration::from_secs(5);

/// Where the ends of a removal come from.
pub trait RemovalEnds: Ends {
    /// The tags of the repository of `destination`.
    ///
    /// # Errors
    /// `InvalidConfig`: the registry can't be talked to as configured, or removes no single tags.
    fn tags(&self, destination: &Reference, run: Run) -> Result<TagsAt, Error>;
}

/// A repository whose tags may be removed.
pub struct TagsAt {
    /// The repository.
    pub repository: Repository,
    /// How its tags are removed.
    pub untagging: Arc<dyn Untagging>,
}

/// Removes tags, one at a time.
pub struct Remover {
    ends: Arc<dyn RemovalEnds>,
    budget: ByteBudget,
}

/// How a removal ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RemovalOutcome {
    /// The tag is gone; the image is there under other tags, or without any.
    Untagged,
    /// The tag is gone, and the image with it: it was the last one.
    Deleted,
    /// The tag stays.
    Kept,
    /// There was nothing to remove.
    Current,
    /// It could not be done.
    Failed,
}

/// The result of one removal.
#[derive(Debug, Clone, Serialize)]
pub struct RemovalReport {
    /// How it ended.
    pub outcome: RemovalOutcome,
    /// The tag that was deleted.
    pub source: String,
    /// The tag that followed, or not.
    pub destination: String,
    /// What the source tag held.
    pub digest: String,
    /// Why it ended so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Requests.
    pub requests: RequestCounts,
    /// Requests that were tried again.
    pub retries: u32,
    /// Answers of 429, and throttled calls of AWS APIs.
    pub throttled: u32,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// Why it could not be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_type: Option<&'static str>,
    /// Why it could not be done, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// The failure itself.
    #[serde(skip)]
    pub error: Option<Error>,
    /// Whether the source has the tag after all, and the destination hasn't: it is to be synced.
    #[serde(skip)]
    pub source_is_back: bool,
}

/// What a removal came to.
struct End {
    outcome: RemovalOutcome,
    reason: String,
    source_is_back: bool,
}

/// One removal: what is asked, and between which ends.
struct Task<'r> {
    request: &'r RemovalRequest,
    source: Source,
    tags: TagsAt,
    room: ManifestRoom,
    /// Whether the tag may be gone, and the image not looked after yet.
    unfinished: &'r AtomicBool,
}

impl Remover {
    /// A remover whose reads of manifests, where a registry needs them, are within `budget`.
    #[must_use]
    pub fn new(ends: Arc<dyn RemovalEnds>, budget: ByteBudget) -> Self {
        Self { ends, budget }
    }

    /// Removes one tag, if nothing speaks against it, and says what was done.
    pub async fn run(&self, request: &RemovalRequest, deadline: Deadline) -> RemovalReport {
        let started = Instant::now();
        let meters = (Arc::new(Meter::default()), Arc::new(Meter::default()));
        let unfinished = AtomicBool::new(false);
        let result = deadline.bound(Box::pin(self.remove(request, deadline, &meters, &unfinished))).await;
        let result = result.unwrap_or_else(|passed| {
            let text = format!("removing {}, as {} was deleted: {passed}", request.destination, request.source);
            Err(Error::new(ErrorType::DeadlineExceeded, text))
        });
        // Another try would find no tag, and nothing to say.
        let result = match result {
            Err(error) if unfinished.into_inner() => Err(error.for_good()),
            result => result,
        };
        report(request, result, &meters, started.elapsed())
    }

    async fn remove(
        &self,
        request: &RemovalRequest,
        deadline: Deadline,
        (source, destination): &(Arc<Meter>, Arc<Meter>),
        unfinished: &AtomicBool,
    ) -> Result<End, Error> {
        let run = |meter: &Arc<Meter>| Run { meter: Arc::clone(meter), deadline };
        let task = Task {
            request,
            source: self.ends.source(&request.source, run(source))?,
            tags: self.ends.tags(&request.destination, run(destination))?,
            room: self.budget.manifests().await,
            unfinished,
        };
        task.run().await
    }
}

impl Task<'_> {
    async fn run(&self) -> Result<End, Error> {
        let Self { request, tags, .. } = self;
        let (tag, digest) = (request.destination.target(), &request.digest);
        let at_source = self.at_source().await?;
        let there = presence::there(&tags.repository, tag, &self.room).await?;
        let there = match (at_source, there) {
            // Nobody else may know that it is lacking: an earlier try that was broken off has perhaps removed it.
            (Some(now), None) => return Ok(End { source_is_back: true, ..kept(now) }),
            (Some(now), Some(_)) => return Ok(kept(now)),
            (None, None) => return Ok(end(RemovalOutcome::Current, "the destination has no such tag".to_owned())),
            (None, Some(there)) => there,
        };
        if there != *digest {
            let text = format!("the destination's tag holds {there}, not {digest}, which the deleted tag held");
            return Ok(kept(text));
        }
        let keeping = match request.delete {
            Delete::Image => None,
            Delete::Untag => {
                let Some(other) = tags.untagging.another(tag, digest).await? else {
                    return Ok(kept(format!(
                        "it is the last tag of {digest} at the destination; `\"delete\": \"image\"` on the rule removes \
                         such, too"
                    )));
                };
                let Some(image) = self.image().await? else { return Ok(went_meanwhile()) };
                Some((image, other))
            }
        };
        if tags.repository.run().deadline.left() < TIME_TO_FINISH {
            let text = format!(
                "{} is not removed: too little of the invocation is left; give the function a longer timeout",
                request.destination
            );
            return Err(Error::new(ErrorType::DeadlineExceeded, text));
        }
        self.unfinished.store(true, Ordering::Relaxed);
        let done = self.removed(keeping).await;
        if !matches!(&done, Err(error) if error.for_good) {
            self.unfinished.store(false, Ordering::Relaxed);
        }
        let done = done?;
        // Who pushed the tag meanwhile may have found it still here, with the same digest, and left it at that.
        let back = self.at_source().await.map_err(|error| {
            let (message, destination) = (error.message, &request.destination);
            let message =
                format!("{destination} was removed; whether the source has it again can't be told: {message}");
            Error { message, ..error }
        })?;
        Ok(End { source_is_back: back.is_some(), ..done })
    }

    /// Removes the tag and looks after its image, which is `keeping` the other tag, or, with `None`, may go.
    ///
    /// # Errors
    /// For good: what followed the removal could not be done. Others: nothing is lost.
    async fn removed(&self, keeping: Option<(Manifest, String)>) -> Result<End, Error> {
        let removed = self.tags.untagging.remove(self.request.destination.target()).await;
        // An answer that is lost may have been a yes, and then the next one says that there is no such tag.
        let unsure = matches!(&removed, Err(error) if matches!(
            error.error_type,
            ErrorType::Unavailable | ErrorType::Timeout | ErrorType::DeadlineExceeded
        ));
        match (removed, keeping) {
            (Err(error), None) => Err(error),
            (Err(error), Some(_)) if !unsure => Err(error),
            (Ok(true), None) => Ok(self.gone().await),
            (Ok(false), None) => Ok(went_meanwhile()),
            (removed, Some((image, other))) => {
                let kept = self.kept_by(&image, &other).await.map_err(Error::for_good)?;
                match removed {
                    Ok(false) if kept.outcome == RemovalOutcome::Untagged => Ok(went_meanwhile()),
                    Err(error) if kept.outcome == RemovalOutcome::Untagged => Err(error),
                    _ => Ok(kept),
                }
            }
        }
    }

    /// What speaks for the source's having the tag, in words; `None`: it hasn't.
    async fn at_source(&self) -> Result<Option<String>, Error> {
        let tag = self.request.source.target();
        if let Some(now) = presence::there(&self.source.repository, tag, &self.room).await? {
            return Ok(Some(format!("the source has the tag again, at {now}")));
        }
        // ECR answers the same 404 for an image that is archived.
        Ok(self.source.withheld(tag).await?.map(|withheld| format!("the source has the tag: {}", withheld.reason)))
    }

    /// The image as the destination has it; `None`: not any more.
    async fn image(&self) -> Result<Option<Manifest>, Error> {
        let Self { request, tags, room, .. } = self;
        let image = tags.repository.manifest(request.digest.as_str(), Some(&request.digest), room).await;
        match image {
            Ok(image) => Ok(Some(image)),
            Err(error) if error.error_type == ErrorType::RepositoryNotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// After the removal of a tag that may be the last one.
    async fn gone(&self) -> End {
        let digest = &self.request.digest;
        // The tag is gone; what became of the image is for the record alone.
        match self.tags.repository.head_manifest(digest.as_str()).await {
            Ok(None) => {
                let text = format!("the tag was deleted at the source, and was the last one of {digest}");
                end(RemovalOutcome::Deleted, text)
            }
            Ok(Some(_)) | Err(_) => untagged(),
        }
    }

    /// After the removal of a tag of `image`, which had `other`: it keeps one.
    ///
    /// What can't be told counts as gone: a tag too many is better than an image that is lost.
    async fn kept_by(&self, image: &Manifest, other: &str) -> Result<End, Error> {
        let Self { request, tags, .. } = self;
        let (tag, digest) = (request.destination.target(), &request.digest);
        let still = presence::there(&tags.repository, other, &self.room).await;
        if matches!(still, Ok(Some(there)) if there == *digest) {
            return Ok(untagged());
        }
        // Half of the time is for putting it back.
        let search = Deadline::after(tags.repository.run().deadline.left() / 2);
        let why = match search.bound(tags.untagging.another(tag, digest)).await {
            Ok(Ok(Some(_))) => return Ok(untagged()),
            Ok(Ok(None)) => {
                format!("it turned out to be the last tag of {digest}: its other one went at the same time")
            }
            Ok(Err(error)) => format!("whether {digest} has another tag left can't be told: {}", error.message),
            Err(passed) => format!("whether {digest} has another tag left can't be told: {passed}"),
        };
        let head = tags.repository.head_manifest(digest.as_str()).await;
        let expected = tags.untagging.takes_image_with_last_tag() || !matches!(head, Ok(None));
        if !self.put_back(image, &why).await? {
            let text =
                format!("{why}; the destination's tag holds something else by now, so the image is there without one");
            return Ok(end(RemovalOutcome::Kept, text));
        }
        if expected {
            return Ok(kept(why));
        }
        Err(Error::new(
            ErrorType::InvalidConfig,
            format!(
                "removing {}: {digest} went with it, although it had another tag a moment ago, and was put back under this \
                 one: either somebody removed the other at the same time, or the registry deletes images by any of their \
                 tags; see what is missing there and, if it does, leave `delete` out of the rules that lead to it",
                request.destination
            ),
        ))
    }

    /// Puts the image under the tag again, or, if that may hold something else by now, by its digest; which of both.
    async fn put_back(&self, image: &Manifest, why: &str) -> Result<bool, Error> {
        let Self { request, tags, .. } = self;
        let tag = request.destination.target();
        let now = presence::there(&tags.repository, tag, &self.room).await;
        let is_free = now.is_ok_and(|now| now.is_none_or(|now| now == image.digest));
        let target = if is_free { tag } else { image.digest.as_str() };
        // The registry had it a moment ago, and says itself whether what it lists is there still.
        let gate = CommitGate::new(None, Duration::ZERO);
        image.blobs.iter().for_each(|blob| gate.note_good(blob.digest.clone()));
        let put = publish::put(image, target, &tags.repository, &gate, &|_, _| ()).await;
        put.map(|_| is_free).map_err(|error| {
            let message = format!(
                "removing {}: {why}, and the image could not be put back, so that it is untagged there, or gone: {}",
                request.destination, error.message
            );
            Error { message, ..error }
        })
    }
}

fn end(outcome: RemovalOutcome, reason: String) -> End {
    End { outcome, reason, source_is_back: false }
}

fn kept(reason: String) -> End {
    end(RemovalOutcome::Kept, reason)
}

fn untagged() -> End {
    end(RemovalOutcome::Untagged, "the tag was deleted at the source".to_owned())
}

fn went_meanwhile() -> End {
    end(RemovalOutcome::Current, "the destination's tag went while it was looked at".to_owned())
}

fn report(
    request: &RemovalRequest,
    result: Result<End, Error>,
    (source, destination): &(Arc<Meter>, Arc<Meter>),
    took: Duration,
) -> RemovalReport {
    let (source, destination) = (source.read(), destination.read());
    let (end, error) = match result {
        Ok(end) => (Some(end), None),
        Err(error) => (None, Some(error)),
    };
    RemovalReport {
        outcome: end.as_ref().map_or(RemovalOutcome::Failed, |end| end.outcome),
        source: request.source.to_string(),
        destination: request.destination.to_string(),
        digest: request.digest.to_string(),
        source_is_back: end.as_ref().is_some_and(|end| end.source_is_back),
        reason: end.map(|end| end.reason),
        requests: RequestCounts {
            source: source.requests,
            destination: destination.requests,
            aws_api: source.aws_calls + destination.aws_calls,
        },
        retries: source.retries + destination.retries,
        throttled: source.throttled + destination.throttled,
        duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        error_type: error.as_ref().map(|error| error.error_type.name()),
        error_message: error.as_ref().map(|error| error.message.clone()),
        error,
    }
}
