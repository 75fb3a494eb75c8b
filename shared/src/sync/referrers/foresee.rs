//! What the destination will be asked for, found before it is asked: where its registry tells of many manifests at once, one
//! question does for the image and all that is attached to it.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt, stream};
use tokio::time::Instant;

use super::find::{AT_ONCE, CosignTags, MAX_DEPTH, MAX_MANIFESTS, Subject, Trouble};
use crate::{
    error::Error,
    oci::{Digest, Manifest, Referrer, cosign_tags},
    registry::AttachedTags,
    sync::{
        Task,
        presence::{Presence, is_small},
        resolve,
    },
};

/// What is known beforehand of what is attached to an image.
pub(in crate::sync) struct Foreseen {
    cosign: CosignTags,
    /// The source's tags that tell of attachments, where they were asked for.
    tags: Result<Option<AttachedTags>, Error>,
    /// What the source's API answered, by subject; `None`: it has none.
    lists: HashMap<Digest, Result<Option<Vec<Referrer>>, Error>>,
    /// What the destination has, of the image too.
    pub(in crate::sync) presence: Presence,
    /// When the first list was read.
    pub(super) since: Instant,
}

impl Foreseen {
    /// Asks the destination once: what it has under the name that is asked for, and of `root`'s children and all that is
    /// attached to them.
    ///
    /// # Errors
    /// The destination can't be asked. What lists of the source fail with is told to who needs them.
    pub(in crate::sync) async fn of_image(task: &Task<'_>, root: &Manifest, cosign: CosignTags) -> Result<Self, Error> {
        // The root's own digest is not among them: its children tell of it where it is not there under the name.
        let mut targets: Vec<String> = resolve::small(&root.children).collect();
        if is_small(root.bytes.len() as u64) {
            targets.push(task.request.destination.target().to_owned());
        }
        let children = root.children.iter().map(|child| child.digest.clone());
        let subjects = children.chain([root.digest.clone()]).collect();
        let mut foreseen = Self::nothing(task, cosign).await;
        foreseen.look_ahead(task, subjects, targets).await?;
        Ok(foreseen)
    }

    /// The same of `subjects` alone.
    pub(super) async fn of(task: &Task<'_>, subjects: &[Subject], cosign: CosignTags) -> Result<Self, Trouble> {
        let mut foreseen = Self::nothing(task, cosign).await;
        let there = subjects.iter().filter(|subject| !subject.is_new).map(|subject| subject.digest.clone()).collect();
        foreseen.look_ahead(task, there, Vec::new()).await?;
        Ok(foreseen)
    }

    async fn nothing(task: &Task<'_>, cosign: CosignTags) -> Self {
        let since = Instant::now();
        let tags = tags(task, cosign).await;
        Self { cosign, tags, lists: HashMap::new(), presence: Presence::default(), since }
    }

    /// The source's tags that `cosign` asks for.
    pub(super) async fn tags(&self, task: &Task<'_>, cosign: CosignTags) -> Result<Option<AttachedTags>, Error> {
        if self.cosign == cosign { self.tags.clone() } else { tags(task, cosign).await }
    }

    /// What the source's API lists for a subject; `None`: it has none.
    pub(super) async fn list(&self, task: &Task<'_>, subject: &Digest) -> Result<Option<Vec<Referrer>>, Error> {
        match self.lists.get(subject) {
            Some(known) => known.clone(),
            None => task.source.repository.referrers(subject, MAX_MANIFESTS).await,
        }
    }

    /// Reads the source's lists for `subjects`, and for what they name, and asks the destination for all of that and for
    /// `targets`.
    async fn look_ahead(
        &mut self,
        task: &Task<'_>,
        subjects: Vec<Digest>,
        mut targets: Vec<String>,
    ) -> Result<(), Error> {
        let Task { request, source, destination, .. } = task;
        if destination.manifests.is_none() {
            return Ok(());
        }
        let wanted = &request.options.referrers;
        let mut seen: HashSet<Digest> = subjects.iter().cloned().collect();
        let mut level = subjects;
        for _ in 0..=MAX_DEPTH {
            let lists = level.iter().map(|subject| source.repository.referrers(subject, MAX_MANIFESTS));
            let lists: Vec<_> = stream::iter(lists).buffered(AT_ONCE).collect().await;
            // What stands in for the API may name what refers to something else, and failures are told later.
            let is_told = lists.iter().all(|list| matches!(list, Ok(Some(_))));
            let named = lists.iter().flatten().flatten().flatten();
            let named = named.filter(|referrer| wanted.may_take(referrer.artifact_type.as_deref()));
            let mut next = Vec::new();
            for referrer in named {
                if !seen.insert(referrer.digest.clone()) {
                    continue;
                }
                let is_known = destination.repository.sent_lately(&referrer.digest);
                if !is_known && referrer.size.is_some_and(is_small) {
                    targets.push(referrer.digest.to_string());
                }
                next.push(referrer.digest.clone());
            }
            self.lists.extend(level.into_iter().zip(lists));
            if next.is_empty() || !is_told || seen.len() > 2 * MAX_MANIFESTS {
                break;
            }
            level = next;
        }
        if let Ok(Some(tags)) = &self.tags {
            targets.extend(seen.iter().flat_map(cosign_tags).filter(|tag| tags.may_have(tag)));
        }
        self.presence.ask(destination, targets).await
    }
}

async fn tags(task: &Task<'_>, cosign: CosignTags) -> Result<Option<AttachedTags>, Error> {
    let repository = &task.source.repository;
    Ok(match cosign {
        CosignTags::Ignored => None,
        CosignTags::AsAsked => Some(repository.attached_tags(task.request.asked_at).await?),
        CosignTags::Now => Some(repository.attached_tags(None).await?),
    })
}
