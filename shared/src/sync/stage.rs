//! The stages of a sync, as log lines and the result tell them apart: each runs in a span of its name, and its time is
//! taken.

use std::{future::Future, time::Duration};

use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::report::Tally;

/// The target of the stages' spans, by which telemetry knows them.
pub const STAGE: &str = "transfer::sync::stage";

/// A stage of a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// What the source points to, and what the destination holds.
    Resolve,
    /// What is attached to it.
    Referrers,
    /// What a scan found, where a rule asks.
    Scan,
    /// Which blobs the destination has.
    Inventory,
    /// What is done with each blob.
    Plan,
    /// Blobs move.
    Transfer,
    /// They are waited for until they are good for a manifest.
    Gate,
    /// Manifests and the tag are put.
    Publish,
    /// What is attached follows.
    Attach,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Referrers => "referrers",
            Self::Scan => "scan",
            Self::Inventory => "inventory",
            Self::Plan => "plan",
            Self::Transfer => "transfer",
            Self::Gate => "gate",
            Self::Publish => "publish",
            Self::Attach => "attach",
        }
    }

    /// A span's name must stand in the code.
    fn span(self) -> Span {
        match self {
            Self::Resolve => tracing::info_span!(target: STAGE, "resolve"),
            Self::Referrers => tracing::info_span!(target: STAGE, "referrers"),
            Self::Scan => tracing::info_span!(target: STAGE, "scan"),
            Self::Inventory => tracing::info_span!(target: STAGE, "inventory"),
            Self::Plan => tracing::info_span!(target: STAGE, "plan"),
            Self::Transfer => tracing::info_span!(target: STAGE, "transfer"),
            Self::Gate => tracing::info_span!(target: STAGE, "gate"),
            Self::Publish => tracing::info_span!(target: STAGE, "publish"),
            Self::Attach => tracing::info_span!(target: STAGE, "attach"),
        }
    }

    /// Does `work` as this stage, and takes its time, also where it is broken off.
    pub(super) fn run<F: Future>(self, tally: &Tally, work: F) -> impl Future<Output = F::Output> {
        // A stage within a stage would be larger than both.
        let work = Box::pin(work);
        let timed = async move {
            let _clock = Clock { stage: self, tally, began: Instant::now() };
            work.await
        };
        timed.instrument(self.span())
    }

    /// The same, for what waits for nothing.
    pub(super) fn at_once<T>(self, tally: &Tally, work: impl FnOnce() -> T) -> T {
        let _entered = self.span().entered();
        let _clock = Clock { stage: self, tally, began: Instant::now() };
        work()
    }
}

/// Runs until it is dropped, which is within the stage's span.
struct Clock<'t> {
    stage: Stage,
    tally: &'t Tally,
    began: Instant,
}

impl Drop for Clock<'_> {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        self.tally.took(self.stage.name(), took);
        tracing::debug!(duration_ms = millis(took), "stage ended");
    }
}

/// Whole milliseconds.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stage_that_is_broken_off_has_taken_its_time_too() {
        let tally = Tally::default();
        let second = Duration::from_secs(1);
        Stage::Resolve.run(&tally, tokio::time::sleep(second)).await;
        Stage::Resolve.run(&tally, tokio::time::sleep(second)).await;
        let cut = Stage::Transfer.run(&tally, tokio::time::sleep(9 * second));
        assert!(tokio::time::timeout(3 * second, cut).await.is_err());
        let stages = tally.stages();
        assert!((2000..2100).contains(&stages["resolve"]), "{stages:?}");
        assert!((3000..3100).contains(&stages["transfer"]), "{stages:?}");
        assert_eq!(stages.len(), 2);
    }
}
