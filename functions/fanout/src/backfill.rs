//! A backfill message: done as far as this invocation goes, and told in one line.

use bootstrap::Invocation;
use transfer::{
    backfill::{Order, Times},
    compose::App,
    error::Error,
    queue::Queue,
    telemetry,
};

/// Does what a backfill message asks for.
///
/// # Errors
/// What the backfill met; what it found until then is enqueued all the same.
pub(crate) async fn run(app: &App, invocation: &Invocation, order: &Order) -> Result<(), Error> {
    let times = Times { deadline: invocation.deadline, ends: invocation.ends };
    let queue = invocation.queue(app);
    let queue = queue.as_ref().map(|queue| queue as &dyn Queue);
    let (summary, result) = Box::pin(app.backfiller.run(order, queue, times)).await;
    let failed = summary.error_type.is_some();
    telemetry::summary(&invocation.work, "backfill", failed, summary);
    result
}
