//! What follows the deletion of a tag at its source.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::oci::{Digest, Reference};

/// What a rule does at its destinations when a tag is deleted at the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Delete {
    /// Remove the same tag where it still holds the same digest and is not the last tag of it.
    Untag,
    /// The same, and the last tag too. ECR removes the image with it; other registries keep it for their garbage collection.
    Image,
}

/// One tag to remove, as it was deleted at the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovalRequest {
    /// The tag that was deleted.
    pub source: Reference,
    /// The tag that follows it.
    pub destination: Reference,
    /// What the source tag held. A destination tag that holds anything else stays.
    pub digest: Digest,
    /// How far it goes.
    pub delete: Delete,
}
