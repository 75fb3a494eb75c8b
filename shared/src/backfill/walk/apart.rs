//! What fails of a walk is put apart, as a backfill of its own: the walk goes on, and what fails has its own tries, its own
//! dead letter, and an order that can be sent again as it is.

use super::{Stop, Walk};
use crate::{
    backfill::order::{Repositories, Scope},
    error::{Class, Error},
};

/// Repositories in a row that may fail with what may pass: then it is their registry's trouble, and all wait.
const MOST_TROUBLED: u32 = 3;

/// Messages for what fails, of one backfill. Further ones are logged and counted alone: where so many fail it is one thing,
/// and a hundred dead letters say it.
const MOST_APART: u64 = 100;

impl Walk<'_> {
    /// Whether it came further than the message that it began with.
    pub(in crate::backfill) fn has_moved(&self) -> bool {
        self.moved
    }

    /// The first failure of this invocation that did not end it.
    pub(in crate::backfill) fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }

    /// What a repository's end means for the walk: only a trouble of all repositories ends it.
    pub(super) fn repository_ended(&mut self, scope: &Scope, name: &str, end: Result<(), Stop>) -> Result<(), Stop> {
        let error = match end {
            Ok(()) => {
                self.troubled = 0;
                self.cursor.counts.repositories += 1;
                return Ok(());
            }
            Err(Stop::Failed(error)) if !self.plan.is_of_one_repository() => error,
            end => return end,
        };
        if error.class() == Class::Later {
            self.troubled += 1;
            if self.troubled >= MOST_TROUBLED {
                return Err(Stop::Failed(error));
            }
        }
        self.put_apart(format!("{}/{name}", scope.registry), error)
    }

    /// Likewise of a registry. One whose repositories are named has no list that could fail.
    pub(super) fn registry_ended(&mut self, scope: &Scope, end: Result<(), Stop>) -> Result<(), Stop> {
        match (end, &scope.repositories) {
            (Err(Stop::Failed(error)), Repositories::Listed(_)) if self.plan.scopes.len() > 1 => {
                self.put_apart(format!("{}/**", scope.registry), error)
            }
            (end, _) => end,
        }
    }

    fn put_apart(&mut self, repository: String, error: Error) -> Result<(), Stop> {
        tracing::error!(
            repository,
            error_type = error.error_type.name(),
            error_message = error.message,
            "a repository could not be listed or compared to its end, and the backfill goes on with the next one"
        );
        self.cursor.counts.failed += 1;
        // What may pass is no step further: an invocation that meets nothing else goes back to the queue.
        self.moved |= error.class() == Class::Never;
        if self.queue.is_some() && !self.order.dry_run && self.cursor.counts.failed <= MOST_APART {
            self.apart.push(self.order.of_one(repository)?);
        }
        self.failure.get_or_insert(error);
        Ok(())
    }
}
