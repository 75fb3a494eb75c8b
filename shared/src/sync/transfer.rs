//! Blobs move: those of a plan, several at once, within the stream caps and the byte budget.

mod blob_task;
mod pipe;
mod resume;

use std::sync::atomic::{AtomicBool, Ordering};

use blob_task::BlobTask;
use futures::{StreamExt, stream};
pub(super) use pipe::Mark;
use tokio::sync::watch;

use super::{
    Destination,
    plan::{Action, Plan},
    report::{Arrived, Tally},
};
use crate::{
    config::Limits,
    error::{Class, Error},
    limits::{ByteBudget, CommitGate},
    registry::Repository,
};

/// Does what `plan` says of each blob.
///
/// After a failure nothing more is begun. What runs is finished if another try may follow, as it will not have to send
/// that again; it is stopped if there can't be one.
pub(super) async fn run(
    plan: &Plan,
    source: &Repository,
    destination: &Destination,
    gate: &CommitGate,
    budget: &ByteBudget,
    limits: Limits,
    tally: &Tally,
) -> Result<(), Error> {
    let (stop, stopped) = watch::channel(false);
    let mut to_move = Vec::new();
    for (blob, action) in &plan.blobs {
        match action {
            Action::Foreign => {}
            Action::Present => {
                gate.note_good(blob.digest.clone());
                tally.blob(blob, Arrived::Present);
            }
            Action::Validating => tally.blob(blob, Arrived::Present),
            Action::Copy => to_move.push((blob, None)),
            Action::Mount(from) => to_move.push((blob, Some(from.as_str()))),
        }
    }
    let failed = AtomicBool::new(false);
    let mut running = stream::iter(to_move)
        .take_while(|_| std::future::ready(!failed.load(Ordering::Relaxed)))
        .map(|(blob, mount_from)| {
            let task = BlobTask {
                blob,
                mount_from,
                source,
                destination: &destination.repository,
                gate,
                budget,
                limits,
                tally,
                asked: plan.asked,
                stopped: stopped.clone(),
            };
            task.run()
        })
        .buffer_unordered(limits.blob_concurrency as usize);
    let mut first: Option<Error> = None;
    while let Some(outcome) = running.next().await {
        if let Err(error) = outcome {
            failed.store(true, Ordering::Relaxed);
            if error.class() == Class::Never {
                // Nobody listens any more when all tasks have ended.
                let _ = stop.send(true);
            }
            // A failure that no retry mends says more than one that does, or than a task that was told to stop.
            if first.as_ref().is_none_or(|kept| kept.class() == Class::Later && error.class() == Class::Never) {
                first = Some(error);
            }
        }
    }
    first.map_or(Ok(()), Err)
}
