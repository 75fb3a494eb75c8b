//! Backfill and sweep: lists what is at sources, asks destinations what they have, and enqueues one message for each image
//! that they lack.
//!
//! A listing may be longer than an invocation. Whatever is found is enqueued before a message is sent that goes on from
//! there, and that one before the first is done with; so nothing is lost wherever an invocation ends, and what is
//! enqueued twice finds its image in place.

mod group;
mod order;
mod summary;
mod walk;

use std::sync::Arc;

use order::Plan;
pub use order::{Cursor, Order};
pub use summary::{Counts, Summary};
use walk::{Stop, Walk};

use crate::{
    config::Config,
    deadline::Deadline,
    error::{Class, Error, ErrorType},
    limits::ByteBudget,
    queue::Queue,
    registry::{Listing, Run, Side},
    sync::Ends,
};

/// Where the lists of registries come from, and manifests where a list does not tell enough.
pub trait Listings: Ends {
    /// The lists of the registry with this host.
    ///
    /// # Errors
    /// `InvalidConfig`: the registry can't be talked to as configured.
    fn listing(&self, host: &str, side: Side, run: Run) -> Result<Arc<dyn Listing>, Error>;
}

/// Does backfills.
pub struct Backfiller {
    listings: Arc<dyn Listings>,
    config: Arc<Config>,
    budget: ByteBudget,
}

/// The time that a backfill has.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// When it asks no more.
    pub deadline: Deadline,
    /// When what it has found must have been sent.
    pub ends: Deadline,
}

/// Invocations in a row that may come no further before it is a failure.
const MOST_STUCK: u32 = 2;

impl Backfiller {
    /// Backfills from and to these registries; the few manifests that it reads have their place in `budget`.
    #[must_use]
    pub fn new(listings: Arc<dyn Listings>, config: Arc<Config>, budget: ByteBudget) -> Self {
        Self { listings, config, budget }
    }

    /// Does what an order asks for, as far as the time goes; then the rest is enqueued as a message of its own.
    ///
    /// The summary says what was found, failed or not.
    pub async fn run(&self, order: &Order, queue: Option<&dyn Queue>, times: Times) -> (Summary, Result<(), Error>) {
        let mut summary = Summary {
            repository: order.repository.clone(),
            dry_run: order.dry_run,
            finished: false,
            counts: order.cursor.as_ref().map(|cursor| cursor.counts).unwrap_or_default(),
            unlisted_rules: Vec::new(),
            error_type: None,
            error_message: None,
        };
        let result = self.listed(order, queue, times, &mut summary).await;
        if let Err(error) = &result {
            summary.failed_with(error);
        }
        (summary, result)
    }

    async fn listed(
        &self,
        order: &Order,
        queue: Option<&dyn Queue>,
        times: Times,
        summary: &mut Summary,
    ) -> Result<(), Error> {
        let plan = Plan::of(order, &self.config.rules)?;
        summary.unlisted_rules.clone_from(&plan.unlisted);
        if queue.is_none() && !order.dry_run {
            return Err(Error::new(
                ErrorType::InvalidConfig,
                "the backfill can't be done: there is no queue to put its messages on; set TRANSSHIP_QUEUE_URL",
            ));
        }
        let mut walk = Walk::new(self.listings.as_ref(), &self.budget, order, &plan, queue, times);
        let stopped = walk.everything().await;
        // What was found is worth sending, however it ended.
        let sent = walk.send_all().await;
        summary.counts = walk.counts();
        if let Some(error) = walk.failure() {
            summary.failed_with(error);
        }
        match (stopped, sent) {
            (Err(Stop::Unsent(error)), _) | (_, Err(error)) => Err(error),
            (Ok(()), Ok(())) => {
                summary.finished = true;
                Ok(())
            }
            // An invocation that came further keeps that, and the next one, which comes no further, waits for its next try.
            (Err(Stop::Failed(error)), Ok(()))
                if error.class() == Class::Never || !walk.has_moved() || queue.is_none() =>
            {
                Err(error)
            }
            (Err(stopped), Ok(())) => {
                if let Stop::Failed(error) = stopped {
                    summary.failed_with(&error);
                }
                let cursor = walk.into_cursor();
                if cursor.stuck >= MOST_STUCK {
                    let at = [cursor.registry.as_deref(), cursor.repository.as_deref()];
                    let at = at.into_iter().flatten().collect::<Vec<_>>().join("/");
                    return Err(Error::new(
                        ErrorType::DeadlineExceeded,
                        format!(
                            "the backfill came no further in {MOST_STUCK} invocations in a row (at {at}); give the \
                             function a longer timeout"
                        ),
                    ));
                }
                let Some(queue) = queue else {
                    let text =
                        "the backfill's time ran out, and there is no queue to go on from; set TRANSSHIP_QUEUE_URL";
                    return Err(Error::new(ErrorType::DeadlineExceeded, text));
                };
                let body = order.continued(cursor)?;
                times.ends.bound(queue.send(vec![body])).await.unwrap_or_else(|passed| {
                    Err(Error::new(
                        ErrorType::DeadlineExceeded,
                        format!("enqueuing the rest of the backfill: {passed}"),
                    ))
                })
            }
        }
    }
}
