//! The flow of one image, and nothing else: each stage is one call, no stage names another.

mod continuation;
mod destination;
mod inventory;
mod late;
mod plan;
mod platforms;
mod presence;
mod publish;
mod referrers;
mod removal;
mod report;
mod resolve;
mod scan;
mod source;
mod stage;
mod task;
mod transfer;
mod unfinished;

use std::{sync::Arc, time::Duration};

use continuation::MOST_FRUITLESS;
pub use continuation::{Begun, HalfSent};
pub use destination::{Destination, Ends, ManifestPresence, RepositoryCreation};
use inventory::Held;
use late::Late;
use plan::Plan;
use platforms::Wanted;
pub use platforms::filtered_digest;
use presence::Presence;
use publish::Unlisted;
use referrers::{Findings, Foreseen};
pub use removal::{RemovalEnds, RemovalOutcome, RemovalReport, Remover, TagsAt};
use report::Tally;
pub use report::{BlobCounts, ByteCounts, ManifestCounts, Outcome, RequestCounts, SyncReport};
pub use scan::ScanFindings;
pub use source::{Source, SourceDiagnosis, Withheld};
pub use stage::STAGE;
use stage::Stage;
use task::{Resolved, Task};
use tokio::time::Instant;
use tracing::Instrument;
use unfinished::Unfinished;

use crate::{
    config::Limits,
    deadline::Deadline,
    error::{Error, ErrorType},
    limits::{ByteBudget, CommitGate},
    oci::{Digest, Manifest},
    registry::{Run, Taken},
    request::{ExistingTag, SyncRequest},
    transport::Meter,
};

/// How often one sync begins anew because the source tag moved, or a blob vanished, while it ran.
const MAX_ROUNDS: u32 = 4;

/// Syncs images, one at a time or several at once, within one byte budget.
pub struct Syncer {
    ends: Arc<dyn Ends>,
    limits: Limits,
    budget: ByteBudget,
    unfinished: Unfinished,
}

/// What a round of a sync came to.
enum Round {
    /// And what is attached to the image.
    Done(Outcome, Digest, Findings),
    /// What was planned with is no longer so; another round finds out anew.
    Moved(Error),
    /// The destination said that it has blobs, and then that it hasn't: another round believes less.
    Contradicted(Error),
}

/// What the destination's word is still good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trust {
    /// Nothing: every blob is sent.
    Nothing,
    /// Its word on blobs; manifests that it has may have lost some.
    Blobs,
    /// Its word on manifests, and so on all that is below them.
    Manifests,
}

impl Syncer {
    /// A syncer within `limits`.
    #[must_use]
    pub fn new(ends: Arc<dyn Ends>, limits: Limits, budget: ByteBudget) -> Self {
        Self { ends, limits, budget, unfinished: Unfinished::default() }
    }

    /// Syncs one image and says what was done, failed or not.
    pub async fn run(&self, request: &SyncRequest, deadline: Deadline) -> SyncReport {
        self.go_on(request, &Begun::default(), deadline).await
    }

    /// The same, for what earlier invocations have begun. Where the deadline says when to hand over, the report of one that
    /// ran out of time tells what is left.
    pub async fn go_on(&self, request: &SyncRequest, begun: &Begun, deadline: Deadline) -> SyncReport {
        let started = Instant::now();
        let tally = Tally::of(begun);
        let request = &self.unfinished.begins(request);
        // Each wait inside is bounded and says what it waited for; this bounds what might have been forgotten, and
        // leaves uploads that broke off at the deadline the time to be cancelled.
        let span = tracing::info_span!("sync", source = %request.source, destination = %request.destination);
        let rounds = Box::pin(self.rounds(request, deadline, &tally).instrument(span));
        let result = deadline.bound_with_ending(rounds).await;
        let result = result.unwrap_or_else(|passed| {
            Err(Error::new(ErrorType::DeadlineExceeded, format!("syncing {}: {passed}", request.source)))
        });
        let (result, left) = match result {
            Err(error) if error.error_type == ErrorType::DeadlineExceeded && deadline.may_hand_over() => {
                handed_over(error, tally.left())
            }
            result => (result, None),
        };
        if result.is_ok() {
            self.unfinished.ends(request);
        }
        let peak = self.budget.take_peak();
        SyncReport { left, ..tally.report(request, result, started.elapsed(), peak) }
    }

    async fn rounds(
        &self,
        request: &SyncRequest,
        deadline: Deadline,
        tally: &Tally,
    ) -> Result<(Outcome, Option<Digest>), Error> {
        request.check()?;
        let run = |meter: &Arc<Meter>| Run { meter: Arc::clone(meter), deadline };
        let source = self.ends.source(&request.source, run(&tally.source))?;
        let destination = self.ends.destination(&request.destination, &request.source, run(&tally.destination))?;
        let task = Task {
            request,
            source,
            destination,
            tally,
            room: self.budget.manifests().await,
            unlisted: Unlisted::default(),
        };
        if request.attached {
            return self.late(&task).await;
        }
        let (mut round, mut trust) = (1, Trust::Manifests);
        loop {
            let reason = match self.round(&task, trust).await? {
                Round::Done(outcome, digest, None) => return Ok((outcome, Some(digest))),
                Round::Done(outcome, digest, Some(found)) => {
                    Stage::Attach.run(tally, referrers::follow(self, &task, &digest, found)).await?;
                    return Ok((outcome, Some(digest)));
                }
                Round::Moved(reason) => reason,
                Round::Contradicted(reason) => {
                    trust = match trust {
                        Trust::Manifests => Trust::Blobs,
                        Trust::Blobs => Trust::Nothing,
                        // Everything was sent, and still it is not enough.
                        Trust::Nothing => return Err(reason),
                    };
                    reason
                }
            };
            if round == MAX_ROUNDS {
                return Err(reason);
            }
            tracing::info!(reason = %reason, sync.round = round, "beginning anew");
            tally.source.retry();
            let pause = Duration::from_millis(200) * (1 << round);
            if deadline.sleep(pause).await.is_err() {
                return Err(reason);
            }
            round += 1;
        }
    }

    /// What was attached to an image goes where the image is; where it is not, the report tells which one is awaited.
    async fn late(&self, task: &Task<'_>) -> Result<(Outcome, Option<Digest>), Error> {
        Ok(match late::run(self, task).await? {
            Late::There(outcome, digest) => (outcome, Some(digest)),
            Late::Ignored(reason) => {
                task.tally.waits(reason, None);
                (Outcome::Ignored, None)
            }
            Late::Awaits(subject) => {
                let reason = format!("the image that it is attached to, {subject}, is not at the destination");
                task.tally.waits(reason, Some(subject));
                (Outcome::Ignored, None)
            }
            Late::Image(digest) => {
                let reason = "the push has no tag, and what was pushed refers to no image".to_owned();
                task.tally.waits(reason, Some(digest));
                (Outcome::Ignored, None)
            }
        })
    }

    /// resolve → referrers → inventory → plan → transfer → gate → publish, and a last look at the source.
    async fn round(&self, task: &Task<'_>, trust: Trust) -> Result<Round, Error> {
        let Task { request, source, tally, room, .. } = task;
        let Resolved { there, root, filtered_from, foreseen } = task.resolved(&self.budget).await?;
        tally.filtered_from(filtered_from.clone());
        let root = match root {
            resolve::Root::Same(digest, root) => {
                tally.manifest(&digest, false);
                // An earlier try may have put it and failed to list it.
                if request.tried {
                    root.iter().for_each(|root| task.unlisted.note(root, Taken { listed: false }));
                }
                let of_source = filtered_from.as_ref().unwrap_or(&digest);
                let outcome = if tally.has_pushed(&digest) { synced(request, of_source) } else { Outcome::Current };
                let was_there = outcome == Outcome::Current;
                let attached = referrers::of_there(task, &digest, root.as_slice(), was_there, foreseen.as_ref());
                let attached = Stage::Referrers.run(tally, attached).await?;
                return Ok(Round::Done(outcome, digest, attached));
            }
            resolve::Root::Manifest(root) => root,
        };
        // In a later round the tag may be our own.
        let foreign = there.filter(|there| !tally.has_pushed(there));
        if let (Some(there), Some(_)) = (foreign, request.destination.tag()) {
            match request.options.existing_tag {
                ExistingTag::Overwrite => {}
                ExistingTag::Keep => return Ok(Round::Done(Outcome::Kept, there, None)),
                ExistingTag::Fail => return Err(tag_is_taken(request, &there, &root.digest)),
            }
        }
        if let Some(gate) = &request.options.scan_gate {
            Stage::Scan.run(tally, scan::pass(gate, source, request, &root, room)).await?;
        }
        let digest = root.digest.clone();
        let of_source = filtered_from.unwrap_or_else(|| digest.clone());
        let copied = self.copy(task, trust, root, foreseen).await;
        let moved = match &copied {
            Ok(_) => task.moved_on(&of_source).await?,
            // A tag that moved may have taken with it what was there to be read.
            Err(Copying::Failed(error)) if error.error_type == ErrorType::SourceNotFound => {
                task.moved_on(&of_source).await.unwrap_or_default()
            }
            Err(_) => None,
        };
        match (copied, moved) {
            (_, Some(now)) => Ok(Round::Moved(Error::new(
                ErrorType::Unavailable,
                format!("{} moved from {of_source} to {now} while it was copied", request.source),
            ))),
            // Somebody else was faster: the tag appeared meanwhile, with this very digest.
            (Ok(attached), None) if !tally.has_pushed(&digest) => Ok(Round::Done(Outcome::Current, digest, attached)),
            (Ok(attached), None) => Ok(Round::Done(synced(request, &of_source), digest, attached)),
            (Err(Copying::Contradicted(error)), None) => Ok(Round::Contradicted(error)),
            (Err(Copying::Failed(error)), None) => Err(error),
        }
    }

    /// resolve → referrers → inventory → plan → transfer → gate → publish. Answers what is attached to the image.
    async fn copy(
        &self,
        task: &Task<'_>,
        trust: Trust,
        root: Manifest,
        mut foreseen: Option<Foreseen>,
    ) -> Result<Findings, Copying> {
        let Task { request, source, destination, tally, room, unlisted } = task;
        let mut unasked = Presence::default();
        let presence = foreseen.as_mut().map_or(&mut unasked, |foreseen| &mut foreseen.presence);
        let presence = Some(presence).filter(|_| trust == Trust::Manifests);
        let tree = resolve::tree(source, destination, root, presence, room);
        let tree = Stage::Resolve.run(tally, tree).await?;
        // A single image's manifest is not asked for where one call tells of all its blobs.
        let asked =
            |root: &Manifest| root.is_index || !destination.repository.client().provider.tells_of_many_blobs_at_once();
        let is_new = tree.present.is_empty() && !tree.only_tag && tree.root().is_some_and(asked);
        let root = tree.root().map(|root| root.digest.clone()).unwrap_or_else(|| Digest::of(b""));
        let attached = referrers::of_new(task, &root, &tree.manifests, is_new, foreseen.as_ref());
        let attached = Stage::Referrers.run(tally, attached).await?;
        let gate = CommitGate::new(destination.availability.clone(), self.limits.manifest_commit_wait);
        let held = match trust {
            Trust::Nothing => Held::default(),
            Trust::Blobs | Trust::Manifests => {
                let held = inventory::ask(destination, &tree, self.limits.blob_concurrency, request.repeated);
                Stage::Inventory.run(tally, held).await?
            }
        };
        // A mount that is granted is the destination's word again.
        let mount_from = destination.mount_from.as_deref().filter(|_| trust != Trust::Nothing);
        let plan = Stage::Plan.at_once(tally, || {
            let plan = Plan::of(&tree, &held, mount_from);
            plan.log(request);
            plan
        });
        let moved = transfer::run(&plan, &source.repository, destination, &gate, &self.budget, self.limits, tally);
        if let Err(error) = Stage::Transfer.run(tally, moved).await {
            return Err(source.explained(error, request.source.target()).await.into());
        }
        let (to_be_good, run) = (plan.to_be_good(), destination.repository.run());
        Stage::Gate.run(tally, gate.open(&to_be_good, &run.deadline)).await?;
        let target = request.destination.target();
        let put = publish::run(&tree, &destination.repository, target, &gate, tally, unlisted);
        Stage::Publish.run(tally, put).await.map_err(|error| match error.error_type {
            ErrorType::BlobUnavailable => Copying::Contradicted(error),
            _ => Copying::Failed(error),
        })?;
        Ok(attached)
    }
}

/// Why a copy was not finished.
enum Copying {
    Failed(Error),
    /// A manifest was refused for blobs that had been called available.
    Contradicted(Error),
}

impl From<Error> for Copying {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// What is left for another invocation, unless too many in a row moved nothing: then the failure is for good.
fn handed_over<T>(error: Error, left: Begun) -> (Result<T, Error>, Option<Begun>) {
    if left.fruitless < MOST_FRUITLESS {
        return (Err(error), Some(left));
    }
    let text = format!(
        "{} invocations in a row moved nothing before their time was up; give the function more time or memory, or see \
         why this is so slow: {error}",
        left.fruitless
    );
    (Err(Error::new(error.error_type, text).for_good()), None)
}

fn synced(request: &SyncRequest, digest: &Digest) -> Outcome {
    match &request.expected {
        Some(expected) if expected != digest => Outcome::Superseded,
        _ => Outcome::Synced,
    }
}

fn tag_is_taken(request: &SyncRequest, there: &Digest, digest: &Digest) -> Error {
    Error::new(
        ErrorType::TagImmutable,
        format!(
            "{} holds {there}, the source {digest}, and existing_tag is `fail`; choose `overwrite` or `keep`, or another \
             tag",
            request.destination
        ),
    )
}
