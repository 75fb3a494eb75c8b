//! A tag that was deleted at the source is removed at a destination: that tag alone, and only while nothing speaks against it.
//!
//! source gone? → destination the same? → other tags? → remove → look at both ends once more
//!
//! No registry removes "this tag, unless it is the last one": the image's other tag may go between the question and the
//! removal, as two deletions are followed at once. So the manifest is read before, and put back under the tag if it was the last.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use tokio::time::Instant;

use super::{Ends, RequestCounts, Source, publish, resolve};
use crate::{
    deadline::Deadline,
    error::{Error, ErrorType},
    limits::{ByteBudget, CommitGate, ManifestRoom},
    oci::{Manifest, Reference},
    registry::{Repository, Run, Untagging},
    request::{Delete, RemovalRequest},
    transport::Meter,
};

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
        let result = deadline.bound(Box::pin(self.remove(request, deadline, &meters))).await;
        let result = result.unwrap_or_else(|passed| {
            let text = format!("removing {}, as {} was deleted: {passed}", request.destination, request.source);
            Err(Error::new(ErrorType::DeadlineExceeded, text))
        });
        report(request, result, &meters, started.elapsed())
    }

    async fn remove(
        &self,
        request: &RemovalRequest,
        deadline: Deadline,
        (source, destination): &(Arc<Meter>, Arc<Meter>),
    ) -> Result<End, Error> {
        let run = |meter: &Arc<Meter>| Run { meter: Arc::clone(meter), deadline };
        let task = Task {
            request,
            source: self.ends.source(&request.source, run(source))?,
            tags: self.ends.tags(&request.destination, run(destination))?,
            room: self.budget.manifests().await,
        };
        task.run().await
    }
}

impl Task<'_> {
    async fn run(&self) -> Result<End, Error> {
        let Self { request, tags, .. } = self;
        let (tag, digest) = (request.destination.target(), &request.digest);
        let at_source = self.at_source().await?;
        let there = resolve::there(&tags.repository, tag, &self.room).await?;
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
        let image = match request.delete {
            Delete::Image => None,
            Delete::Untag if tags.untagging.another(tag, digest).await?.is_none() => {
                let text = format!(
                    "it is the last tag of {digest} at the destination; `\"delete\": \"image\"` on the rule removes such, too"
                );
                return Ok(kept(text));
            }
            Delete::Untag => match tags.repository.manifest(digest.as_str(), Some(digest), &self.room).await {
                Ok(image) => Some(image),
                Err(error) if error.error_type == ErrorType::SourceNotFound => return Ok(went_meanwhile()),
                Err(error) => return Err(error),
            },
        };
        if !tags.untagging.remove(tag).await? {
            return Ok(went_meanwhile());
        }
        let done = self.done(image.as_ref()).await?;
        // Who pushed the tag meanwhile may have found it still here, with the same digest, and left it at that.
        let back = self.at_source().await?;
        Ok(End { source_is_back: back.is_some(), ..done })
    }

    /// What speaks for the source's having the tag, in words; `None`: it hasn't.
    async fn at_source(&self) -> Result<Option<String>, Error> {
        let tag = self.request.source.target();
        if let Some(now) = resolve::there(&self.source.repository, tag, &self.room).await? {
            return Ok(Some(format!("the source has the tag again, at {now}")));
        }
        // ECR answers the same 404 for an image that is archived.
        Ok(self.source.withheld(tag).await?.map(|withheld| format!("the source has the tag: {}", withheld.reason)))
    }

    /// What is there after the tag was removed: `image`, unless it was to go with its last tag, keeps one.
    async fn done(&self, image: Option<&Manifest>) -> Result<End, Error> {
        let Self { request, tags, .. } = self;
        let (tag, digest) = (request.destination.target(), &request.digest);
        let untagged = end(RemovalOutcome::Untagged, "the tag was deleted at the source".to_owned());
        let is_there = || async { Ok(tags.repository.head_manifest(digest.as_str()).await?.is_some()) };
        let Some(image) = image else {
            let text = format!("the tag was deleted at the source, and was the last one of {digest}");
            return Ok(if is_there().await? { untagged } else { end(RemovalOutcome::Deleted, text) });
        };
        if tags.untagging.another(tag, digest).await?.is_some() {
            return Ok(untagged);
        }
        let expected = tags.untagging.takes_image_with_last_tag() || is_there().await?;
        self.put_back(image).await?;
        if expected {
            let text = format!("it turned out to be the last tag of {digest}: its other one went at the same time");
            return Ok(kept(text));
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

    /// Puts the image under the tag again, or, if that holds something else by now, by its digest.
    async fn put_back(&self, image: &Manifest) -> Result<(), Error> {
        let Self { request, tags, .. } = self;
        let restored = async {
            let tag = request.destination.target();
            let target = match resolve::there(&tags.repository, tag, &self.room).await? {
                None => tag,
                Some(_) => image.digest.as_str(),
            };
            // The registry had it a moment ago, and says itself whether what it lists is there still.
            let gate = CommitGate::new(None, Duration::ZERO);
            image.blobs.iter().for_each(|blob| gate.note_good(blob.digest.clone()));
            publish::put(image, target, &tags.repository, &gate, &|_, _| ()).await
        };
        // Another try would find no tag, and nothing to say.
        restored.await.map_err(|error| {
            let message = format!(
                "removing {}: its image's other tag went at the same time, and it could not be put back, so that the image is \
                 untagged there, or gone: {}",
                request.destination, error.message
            );
            Error { message, ..error }.for_good()
        })
    }
}

fn end(outcome: RemovalOutcome, reason: String) -> End {
    End { outcome, reason, source_is_back: false }
}

fn kept(reason: String) -> End {
    end(RemovalOutcome::Kept, reason)
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
