//! The tags of a source that belong to other manifests: cosign's, and the lists that stand in for the referrers API.

use std::collections::HashSet;

use crate::{
    error::{Class, Error},
    oci::AttachedTag,
    registry::Repository,
};

/// Pages of tags that are read before each tag is asked for instead. Chosen: an image has a dozen manifests, three tags
/// may belong to each, and a page costs as much as a question.
const MOST_PAGES: usize = 8;

/// Which of a repository's tags belong to other manifests.
pub(super) enum AttachedTags {
    /// These, and no others.
    Listed(HashSet<String>),
    /// They are not known; each has to be asked for.
    Unknown,
}

impl AttachedTags {
    /// Reads the repository's tags, a request for each thousand of them.
    pub(super) async fn of(repository: &Repository) -> Result<Self, Error> {
        let lacks = &repository.client().lacks;
        if lacks.tag_lists() || !repository.client().provider.lists_tags() {
            return Ok(Self::Unknown);
        }
        let (mut tags, mut at) = (HashSet::new(), None);
        for _ in 0..MOST_PAGES {
            let page = match repository.tag_page(at.as_deref()).await {
                Ok(page) => page,
                // Pulling may be allowed where listing is not.
                Err(error) if error.class() == Class::Never => {
                    tracing::debug!(reason = %error, "tags can't be listed; each is asked for");
                    lacks.note_no_tag_lists();
                    return Ok(Self::Unknown);
                }
                Err(error) => return Err(error),
            };
            tags.extend(page.entries.into_iter().filter(|tag| AttachedTag::of(tag).is_some()));
            match page.next {
                None => return Ok(Self::Listed(tags)),
                next => at = next,
            }
        }
        Ok(Self::Unknown)
    }

    /// Whether the repository may have the tag.
    pub(super) fn may_have(&self, tag: &str) -> bool {
        match self {
            Self::Listed(tags) => tags.contains(tag),
            Self::Unknown => true,
        }
    }
}
