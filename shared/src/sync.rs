//! The flow of one image, and nothing else: each stage is one call, no stage names another.

mod inventory;
mod plan;
mod publish;
mod report;
mod resolve;
mod transfer;

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use plan::Plan;
use report::Tally;
pub use report::{BlobCounts, ByteCounts, ManifestCounts, Outcome, RequestCounts, SyncReport};
use tokio::time::Instant;

use crate::{
    config::Limits,
    deadline::Deadline,
    error::{Error, ErrorType},
    limits::{ByteBudget, CommitGate, LayerAvailability},
    oci::{Digest, Reference},
    registry::{Repository, Run},
    request::{ExistingTag, SyncRequest},
    transport::Meter,
};

/// How often one sync begins anew because the source tag moved, or a blob vanished, while it ran.
const MAX_ROUNDS: u32 = 4;

/// Where the ends of a sync come from.
pub trait Ends: Send + Sync {
    /// The repository to read from.
    ///
    /// # Errors
    /// `InvalidConfig`: the registry can't be talked to as configured.
    fn source(&self, reference: &Reference, run: Run) -> Result<Repository, Error>;

    /// The repository to write to; `source` tells whether blobs may be mounted.
    ///
    /// # Errors
    /// `InvalidConfig`: the registry can't be talked to as configured.
    fn destination(&self, reference: &Reference, source: &Reference, run: Run) -> Result<Destination, Error>;
}

/// A repository to write to, and what its registry offers besides the distribution specification.
pub struct Destination {
    /// The repository.
    pub repository: Repository,
    /// A repository of the same registry that blobs may be mounted from.
    pub mount_from: Option<String>,
    /// ECR: what it has, and what is good for a manifest.
    pub availability: Option<Arc<dyn LayerAvailability>>,
    /// ECR: creates the repository if it is missing and that is allowed.
    pub creation: Option<Arc<dyn RepositoryCreation>>,
}

/// Creates the repository that an image goes to.
pub trait RepositoryCreation: Send + Sync {
    /// Creates it; that it exists by now is no error.
    fn create(&self) -> BoxFuture<'_, Result<(), Error>>;
}

/// Syncs images, one at a time or several at once, within one byte budget.
pub struct Syncer {
    ends: Arc<dyn Ends>,
    limits: Limits,
    budget: ByteBudget,
}

/// What a round of a sync came to.
enum Round {
    Done(Outcome, Digest),
    /// What was planned with is no longer so; another round finds out anew.
    Again(Error),
}

impl Syncer {
    /// A syncer within `limits`.
    #[must_use]
    pub fn new(ends: Arc<dyn Ends>, limits: Limits) -> Self {
        Self { ends, limits, budget: ByteBudget::new(limits.buffer_bytes) }
    }

    /// Syncs one image and says what was done, failed or not.
    pub async fn run(&self, request: &SyncRequest, deadline: Deadline) -> SyncReport {
        let started = Instant::now();
        let tally = Tally::default();
        let result = self.rounds(request, deadline, &tally).await;
        let peak = self.budget.take_peak();
        tally.report(request, result, started.elapsed(), peak)
    }

    async fn rounds(
        &self,
        request: &SyncRequest,
        deadline: Deadline,
        tally: &Tally,
    ) -> Result<(Outcome, Digest), Error> {
        request.check()?;
        let run = |meter: &Arc<Meter>| Run { meter: Arc::clone(meter), deadline };
        let source = self.ends.source(&request.source, run(&tally.source))?;
        let destination = self.ends.destination(&request.destination, &request.source, run(&tally.destination))?;
        let mut round = 1;
        loop {
            match self.round(request, &source, &destination, tally, &deadline).await? {
                Round::Done(outcome, digest) => return Ok((outcome, digest)),
                Round::Again(reason) if round == MAX_ROUNDS => return Err(reason),
                Round::Again(reason) => {
                    tracing::info!(reason = %reason, sync.round = round, "beginning anew");
                    tally.source.retry();
                    let pause = Duration::from_millis(100 * u64::from(round));
                    deadline.sleep(pause).await.map_err(|_| reason)?;
                }
            }
            round += 1;
        }
    }

    /// resolve → inventory → plan → transfer → gate → publish.
    async fn round(
        &self,
        request: &SyncRequest,
        source: &Repository,
        destination: &Destination,
        tally: &Tally,
        deadline: &Deadline,
    ) -> Result<Round, Error> {
        let target = request.destination.target();
        let there = destination.repository.head_manifest(target).await?;
        let root = match resolve::root(source, &request.source, there.as_ref()).await? {
            resolve::Root::Same(digest) => return Ok(Round::Done(tally.unchanged(), digest)),
            resolve::Root::Manifest(root) => root,
        };
        let digest = root.digest.clone();
        if there.is_some() && request.destination.tag().is_some() {
            match request.options.existing_tag {
                ExistingTag::Overwrite => {}
                ExistingTag::Keep => return Ok(Round::Done(Outcome::Kept, digest)),
                ExistingTag::Fail => return Err(tag_is_taken(request, there.and_then(|head| head.digest), &digest)),
            }
        }
        let tree = resolve::tree(source, &destination.repository, root).await?;
        let gate = CommitGate::new(destination.availability.clone(), self.limits.manifest_commit_wait);
        let held = inventory::ask(destination, &tree, self.limits.blob_concurrency).await?;
        let plan = Plan::of(&tree, &held, destination.mount_from.as_deref());
        plan.log(request);
        transfer::run(&plan, source, destination, &gate, &self.budget, self.limits, tally).await?;
        gate.open(&plan.to_be_good(), deadline).await?;
        match publish::run(&tree, &destination.repository, target, &gate, tally).await {
            Err(error) if error.error_type == ErrorType::BlobUnavailable => return Ok(Round::Again(error)),
            published => published?,
        }
        self.converged(request, source, digest).await
    }

    /// Whether the source tag still is what was published: an older and slower sync may have put the tag after a newer
    /// one did, so whoever moved the tag last looks once more.
    async fn converged(&self, request: &SyncRequest, source: &Repository, digest: Digest) -> Result<Round, Error> {
        let by_tag = request.source.digest().is_none();
        let now = if by_tag { source.head_manifest(request.source.target()).await? } else { None };
        if let Some(now) = now.and_then(|head| head.digest)
            && now != digest
        {
            return Ok(Round::Again(Error::new(
                ErrorType::Unavailable,
                format!("{} moved from {digest} to {now} while it was copied", request.source),
            )));
        }
        let moved_on = request.expected.as_ref().is_some_and(|expected| *expected != digest);
        Ok(Round::Done(if moved_on { Outcome::Superseded } else { Outcome::Synced }, digest))
    }
}

fn tag_is_taken(request: &SyncRequest, there: Option<Digest>, digest: &Digest) -> Error {
    let there = there.map_or_else(|| "another digest".to_owned(), |there| there.to_string());
    Error::new(
        ErrorType::TagImmutable,
        format!(
            "{} holds {there}, the source {digest}, and existing_tag is `fail`; choose `overwrite` or `keep`, or another \
             tag",
            request.destination
        ),
    )
}
