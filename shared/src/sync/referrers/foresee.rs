//! What the destination will be asked for, found before it is asked: where its registry tells of many manifests at once, one
//! question does for the image and all that is attached to it.

use std::{
    collections::{HashMap, HashSet},
    pin::pin,
};

use futures::{StreamExt, stream};
use tokio::time::Instant;

use super::find::{AT_ONCE, CosignTags, MAX_DEPTH, MAX_MANIFESTS, Subject, Trouble};
use crate::{
    error::Error,
    oci::{Digest, Manifest, Referrer, cosign_tags},
    registry::AttachedTags,
    request::Referrers,
    sync::{
        Task,
        presence::{Presence, is_small},
        resolve,
    },
};

/// Tags of cosign's that are asked for together with others: how large their manifests are is not known. Chosen: far more
/// than images have.
const MOST_TAGS: usize = 100;

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
        let mut targets = resolve::asked_together(root);
        if is_small(root.bytes.len() as u64) {
            targets.push(task.request.destination.target().to_owned());
        }
        let children = root.children.iter().map(|child| child.digest.clone());
        // What has more is refused, and before that asked for nothing.
        let subjects = match root.children.len() {
            0..=MAX_MANIFESTS => children.chain([root.digest.clone()]).collect(),
            _ => Vec::new(),
        };
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
        let tags = tags(task, cosign).await;
        let since = Instant::now();
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
        let mut seen = HashSet::new();
        let mut level: Vec<Digest> = subjects.into_iter().filter(|subject| seen.insert(subject.clone())).collect();
        let (mut subjects, mut named, mut depth) = (level.clone(), 0, 0);
        'levels: while !level.is_empty() && depth <= MAX_DEPTH {
            let asked = level.into_iter().map(async |subject| {
                let list = source.repository.referrers(&subject, MAX_MANIFESTS).await;
                (subject, list)
            });
            let mut lists = pin!(stream::iter(asked).buffered(AT_ONCE));
            let mut next = Vec::new();
            while let Some((subject, list)) = lists.next().await {
                // What is not told, or is too much, is told or refused when it is needed; and what stands in for the API may
                // name what refers to something else.
                let is_told = matches!(&list, Ok(Some(_)));
                let listed = list.iter().flatten().flatten();
                for referrer in listed.filter(|referrer| is_sure(wanted, referrer)) {
                    named += 1;
                    if seen.insert(referrer.digest.clone()) {
                        next.push(referrer.digest.clone());
                        let is_known = destination.repository.sent_lately(&referrer.digest);
                        let asks = !is_known && referrer.size.is_some_and(is_small);
                        targets.extend(asks.then(|| referrer.digest.to_string()));
                    }
                }
                self.lists.insert(subject, list);
                if !is_told || named > MAX_MANIFESTS {
                    break 'levels;
                }
            }
            subjects.extend_from_slice(&next);
            (level, depth) = (next, depth + 1);
        }
        if let Ok(Some(tags)) = &self.tags {
            let tagged = subjects.iter().flat_map(cosign_tags).filter(|tag| tags.may_have(tag));
            targets.extend(tagged.take(MOST_TAGS));
        }
        self.presence.ask(destination, targets).await
    }
}

/// Whether a referrer is copied, whatever its manifest says.
fn is_sure(wanted: &Referrers, referrer: &Referrer) -> bool {
    match &referrer.artifact_type {
        Some(of) => wanted.may_take(Some(of)),
        None => *wanted == Referrers::All(true),
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
