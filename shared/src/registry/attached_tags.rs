//! The tags of a repository that belong to other manifests: cosign's, and the lists that stand in for the referrers API.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use super::Repository;
use crate::{
    error::{Class, Error},
    oci::AttachedTag,
};

/// Pages of tags that are read before each tag is asked for instead. Chosen: an image has a dozen manifests, three tags
/// may belong to each, and a page costs as much as a question.
const MOST_PAGES: usize = 8;

/// How long a list may serve who asked before it was read. Chosen: a backfill's worker does some dozens of images.
const LIFE: Duration = Duration::from_secs(60);

/// Tags that are kept for others; a hundred bytes each. Chosen: more than eight pages of a thousand have.
const MOST_KEPT: usize = 8000;

/// How far the clocks of who asked and of this process may be apart. Chosen: far over what AWS keeps them to.
const SKEW: Duration = Duration::from_secs(2);

/// Which of a repository's tags belong to other manifests.
#[derive(Debug, Clone)]
pub enum AttachedTags {
    /// These, and no others.
    Listed(Arc<HashSet<String>>),
    /// They are not known; each has to be asked for.
    Unknown,
}

impl AttachedTags {
    /// Whether the repository may have the tag.
    #[must_use]
    pub fn may_have(&self, tag: &str) -> bool {
        match self {
            Self::Listed(tags) => tags.contains(tag),
            Self::Unknown => true,
        }
    }

    /// Whether the repository has the tag for sure.
    #[must_use]
    pub fn has(&self, tag: &str) -> bool {
        matches!(self, Self::Listed(tags) if tags.contains(tag))
    }
}

/// The last list of a registry: a backfill has a message for each of a repository's images, and each needs the same one.
#[derive(Debug, Default)]
pub struct LastTags(Mutex<Option<List>>);

#[derive(Debug)]
struct List {
    repository: String,
    /// When reading it began.
    read_at: SystemTime,
    tags: AttachedTags,
}

impl LastTags {
    /// The list of `repository`, if it was read after `asked_at`, and lately.
    fn since(&self, repository: &str, asked_at: SystemTime) -> Option<AttachedTags> {
        // Held for moves and copies, which don't panic; a poisoned one is whole.
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.take_if(|list| list.read_at.elapsed().is_ok_and(|age| age >= LIFE));
        let list = last.as_ref().filter(|list| list.repository == repository && asked_at + SKEW <= list.read_at)?;
        Some(list.tags.clone())
    }

    fn note(&self, list: List) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(list);
    }
}

impl Repository {
    /// Which of its tags belong to other manifests: read, a request for each thousand, unless that was done lately, and
    /// after `asked_at`. `None`: read in any case.
    ///
    /// # Errors
    /// Those of a list that may be had later.
    pub async fn attached_tags(&self, asked_at: Option<SystemTime>) -> Result<AttachedTags, Error> {
        let (last, name) = (&self.client().last_tags, self.name.as_str());
        if let Some(tags) = asked_at.and_then(|asked_at| last.since(name, asked_at)) {
            return Ok(tags);
        }
        let read_at = SystemTime::now();
        let tags = self.read_attached_tags().await?;
        if matches!(&tags, AttachedTags::Listed(tags) if tags.len() > MOST_KEPT) {
            return Ok(tags);
        }
        last.note(List { repository: name.to_owned(), read_at, tags: tags.clone() });
        Ok(tags)
    }

    async fn read_attached_tags(&self) -> Result<AttachedTags, Error> {
        let lacks = &self.client().lacks;
        if lacks.tag_lists() || !self.client().provider.lists_tags() {
            return Ok(AttachedTags::Unknown);
        }
        let (mut tags, mut at) = (HashSet::new(), None);
        for _ in 0..MOST_PAGES {
            let page = match self.tag_page(at.as_deref()).await {
                Ok(page) => page,
                // Pulling may be allowed where listing is not.
                Err(error) if error.class() == Class::Never => {
                    tracing::debug!(reason = %error, "tags can't be listed; each is asked for");
                    lacks.note_no_tag_lists();
                    return Ok(AttachedTags::Unknown);
                }
                Err(error) => return Err(error),
            };
            tags.extend(page.entries.into_iter().filter(|tag| AttachedTag::of(tag).is_some()));
            match page.next {
                None => return Ok(AttachedTags::Listed(Arc::new(tags))),
                next => at = next,
            }
        }
        Ok(AttachedTags::Unknown)
    }
}
