//! What is to be synced: one image, from one place to another.

mod referrers;
mod removal;
mod scan_gate;

use std::time::SystemTime;

pub use referrers::{Referrers, TypeLists};
pub(crate) use referrers::{is_of, wrong_types};
pub use removal::{Delete, RemovalRequest};
pub use scan_gate::{Judgement, Scan, ScanGate, Severity};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorType},
    oci::{Digest, Platform, Reference},
    provider::unfit_name,
};

/// One image to sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncRequest {
    /// From where. A tag is resolved anew when the sync runs; a digest is taken as it is.
    pub source: Reference,
    /// To where.
    pub destination: Reference,
    /// The digest that a push event named. What the source tag points to now is synced even if it is another one.
    pub expected: Option<Digest>,
    /// How.
    pub options: SyncOptions,
    /// When the image was pushed, where that is known.
    pub pushed_at: Option<SystemTime>,
    /// When it was asked for, where that is known: a list of tags that was read after this moment is new enough for it.
    pub asked_at: Option<SystemTime>,
    /// Whether another invocation may have sent of it lately: an earlier one of it, or one beside it that has the same image
    /// or one with the same layers. Then the destination is asked more closely what it took.
    pub repeated: bool,
    /// Whether an earlier try of it may have failed, or a backfill asks for what is attached. Then that is looked for
    /// everywhere.
    pub tried: bool,
    /// Whether it comes of a push event: then its source tells of what is attached later by events of their own.
    pub heard: bool,
    /// Whether it is what was attached to an image, and not an image: it goes where its image is.
    pub attached: bool,
}

/// How an image is synced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SyncOptions {
    /// What to do with a tag that the destination has, at another digest.
    pub existing_tag: ExistingTag,
    /// What of what is attached to the image goes with it.
    pub referrers: Referrers,
    /// Artifact types that must be attached to the image, or it is not copied; `*` in one stands for anything.
    pub require_referrers: Vec<String>,
    /// Only these platforms; `None`: the whole index, byte for byte.
    pub platforms: Option<Vec<Platform>>,
    /// What ECR's scan of the image must not have found.
    pub scan_gate: Option<ScanGate>,
}

/// What to do with a tag that the destination has, at another digest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ExistingTag {
    /// Move it.
    #[default]
    Overwrite,
    /// Leave it; the outcome is `kept`.
    Keep,
    /// Leave it; the sync fails with `TagImmutable`.
    Fail,
}

impl SyncRequest {
    /// Refuses what could only do harm.
    ///
    /// # Errors
    /// `InvalidReference`: the image would be synced onto itself, or a digest under another digest, or what may get one
    /// under one that is given; or the destination's registry can hold no such name.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |reason: &str| {
            Err(Error::new(
                ErrorType::InvalidReference,
                format!("{} can't be synced to {}: {reason}", self.source, self.destination),
            ))
        };
        if let Some(reason) = unfit_name(self.destination.registry(), self.destination.repository()) {
            return refuse(&reason);
        }
        if self.source == self.destination {
            return refuse("source and destination are the same");
        }
        match (self.source.digest(), self.destination.digest(), self.destination.tag()) {
            (Some(from), Some(to), _) if from != to => refuse("the destination names another digest than the source"),
            (_, Some(_), Some(_)) => refuse("the destination names a tag and a digest; leave one out"),
            (None, Some(_), None) => refuse("the destination names a digest, the source only a tag, which can move"),
            (_, Some(_), None) if self.options.platforms.is_some() => {
                refuse("the destination names a digest, and with `platforms` the image may get another one; name a tag")
            }
            _ => Ok(()),
        }
    }
}
