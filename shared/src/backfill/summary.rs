//! What a backfill has found and done, counted over all its invocations.

use serde::{Deserialize, Serialize};

use crate::{error::Error, transport::MeterReading};

/// What was counted. `matched` is `current`, `missing`, `different` and `kept` together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Counts {
    /// Invocations that it took.
    pub invocations: u32,
    /// Repositories that were listed to their end.
    pub repositories: u64,
    /// Repositories, or lists of them, that could not be listed or compared to their end: put apart, and left behind.
    pub failed: u64,
    /// Tags that were listed.
    pub listed: u64,
    /// Tags of signatures and other attachments, which go with their image and are left to it.
    pub attached: u64,
    /// Tags that can't have the destination that was asked for; a warning says why.
    pub refused: u64,
    /// Tags that are to be at a destination, once for each of them.
    pub matched: u64,
    /// Of these, those that are there, at the same digest.
    pub current: u64,
    /// Those that are not there.
    pub missing: u64,
    /// Those that are there at another digest, and are to be moved.
    pub different: u64,
    /// Those that are there at another digest, and are to be kept (`existing_tag`).
    pub kept: u64,
    /// Images, once for each place, that are `current` and enqueued all the same, for what is attached to them.
    pub revisited: u64,
    /// Messages that were sent: one for each image and destination, whatever the number of its tags.
    pub enqueued: u64,
    /// Requests to the registries that are listed.
    pub source_requests: u64,
    /// Requests to the destinations.
    pub destination_requests: u64,
    /// Calls to AWS APIs; SQS aside.
    pub aws_api_calls: u64,
}

impl Counts {
    /// Adds what a part of the work has counted.
    pub(super) fn add(&mut self, part: Self) {
        self.listed += part.listed;
        self.attached += part.attached;
        self.refused += part.refused;
        self.matched += part.matched;
        self.current += part.current;
        self.missing += part.missing;
        self.different += part.different;
        self.kept += part.kept;
    }

    /// Adds what this invocation asked.
    pub(super) fn add_requests(&mut self, source: MeterReading, destination: MeterReading) {
        self.source_requests += u64::from(source.requests);
        self.destination_requests += u64::from(destination.requests);
        self.aws_api_calls += u64::from(source.aws_calls) + u64::from(destination.aws_calls);
    }
}

/// What came of a backfill, or of one invocation of it: its log line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// What was to be listed, as the message says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Whether nothing was to be enqueued.
    pub dry_run: bool,
    /// Whether everything has been listed; else another invocation goes on, or it has failed.
    pub finished: bool,
    /// The counts of all invocations so far.
    #[serde(flatten)]
    pub counts: Counts,
    /// Rules without a `source.registry`: there is nothing that could be listed for them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unlisted_rules: Vec<String>,
    /// Why it failed, or the first of `failed` in this invocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_type: Option<&'static str>,
    /// Likewise, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
}

impl Summary {
    /// Says why.
    pub(super) fn failed_with(&mut self, error: &Error) {
        self.error_type = Some(error.error_type.name());
        self.error_message = Some(error.message.clone());
    }
}
