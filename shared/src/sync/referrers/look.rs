//! What one manifest has attached: what lists and tags of its source name, read where the destination lacks it.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures::{StreamExt, TryStreamExt, stream};

use super::{
    Artifact,
    find::{MAX_MANIFESTS, Subject, Trouble},
    foresee::Foreseen,
};
use crate::{
    error::{Error, ErrorType},
    oci::{Digest, Manifest, Referrer, cosign_tags, referrers_tag},
    registry::AttachedTags,
    request::ExistingTag,
    sync::{Task, presence, resolve, scan},
};

/// Candidates that are looked at at once.
const AT_ONCE: usize = 8;

/// What one subject has attached.
pub(super) enum Found {
    /// The destination has it. What is below it may have something attached as well.
    There { digest: Digest, below: Vec<Digest>, types: Vec<String> },
    /// It lacks it.
    Lacking(Artifact),
}

/// A manifest that may be attached to a subject.
enum Candidate {
    /// A list of referrers names it.
    Listed(Referrer),
    /// A tag of cosign's says so.
    Tagged(String),
}

/// Looks at one manifest after the other.
pub(super) struct Finder<'t> {
    task: &'t Task<'t>,
    tags: Option<AttachedTags>,
    /// Whether the type of each must be known.
    typed: bool,
    /// What was asked before.
    foreseen: &'t Foreseen,
    /// How many were found, wanted or not.
    candidates: AtomicUsize,
}

impl<'t> Finder<'t> {
    /// Looks at cosign's `tags` as well; with `typed`, the type of each is found out.
    pub(super) fn new(task: &'t Task<'t>, tags: Option<AttachedTags>, typed: bool, foreseen: &'t Foreseen) -> Self {
        Self { task, tags, typed, foreseen, candidates: AtomicUsize::new(0) }
    }

    /// What is attached to one manifest.
    pub(super) async fn attached_to(&self, subject: &Subject) -> Result<Vec<Found>, Trouble> {
        let wanted = &self.task.request.options.referrers;
        let mut candidates: Vec<Candidate> = Vec::new();
        let (listed, by_api) = self.listed(&subject.digest).await?;
        let listed = listed.into_iter().filter(|referrer| wanted.may_take(referrer.artifact_type.as_deref()));
        candidates.extend(listed.map(Candidate::Listed));
        if let Some(tags) = &self.tags {
            let tagged = cosign_tags(&subject.digest).into_iter().filter(|tag| tags.may_have(tag));
            candidates.extend(tagged.map(Candidate::Tagged));
        }
        if candidates.is_empty() {
            return Ok(Vec::new());
        }
        let listed = candidates.iter().filter(|candidate| candidate.listed().is_some()).count();
        if self.candidates.fetch_add(listed, Ordering::Relaxed) + listed > MAX_MANIFESTS {
            return Err(self.too_much(&format!("over {MAX_MANIFESTS} manifests are attached to it")));
        }
        let there = self.there(subject, &candidates, by_api).await?;
        let asked = candidates.into_iter().map(|candidate| self.look(subject, candidate, &there));
        let found: Vec<Option<Found>> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// What the source's lists name, and whether its API did; where it has none, it is the index under the fallback tag.
    async fn listed(&self, subject: &Digest) -> Result<(Vec<Referrer>, bool), Trouble> {
        let Task { source, room, .. } = self.task;
        let by_api = self.foreseen.list(self.task, subject).await?;
        let tag = referrers_tag(subject);
        // An empty list may be the answer to anything. A tag that is known to be there tells.
        let is_told_otherwise = || {
            let tags = self.tags.as_ref().filter(|_| !source.repository.keeps_lists());
            tags.is_some_and(|tags| tags.has(&tag))
        };
        let by_api = by_api.filter(|listed| !listed.is_empty() || !is_told_otherwise());
        let is_by_api = by_api.is_some();
        let listed = match by_api {
            Some(listed) => listed,
            None => {
                if !self.tags.as_ref().is_none_or(|tags| tags.may_have(&tag)) {
                    return Ok((Vec::new(), false));
                }
                let list = source.repository.fallback_list(subject, room).await?;
                list.map(|list| list.listed).unwrap_or_default()
            }
        };
        if listed.len() > MAX_MANIFESTS {
            return Err(self.too_much(&format!("over {MAX_MANIFESTS} manifests refer to {subject}")));
        }
        Ok((listed, is_by_api))
    }

    /// Which of a subject's referrers the destination has.
    async fn there(&self, subject: &Subject, candidates: &[Candidate], by_api: bool) -> Result<HashSet<Digest>, Error> {
        let listed: Vec<&Digest> = candidates.iter().filter_map(Candidate::listed).collect();
        let repository = &self.task.destination.repository;
        if listed.is_empty() || subject.is_new {
            return Ok(HashSet::new());
        }
        // What this process has put a moment ago need not be asked for.
        if listed.iter().all(|digest| repository.sent_lately(digest)) {
            return Ok(listed.into_iter().cloned().collect());
        }
        if by_api && let Some(held) = self.held(&listed) {
            return Ok(held);
        }
        let known = match repository.referrers(&subject.digest, MAX_MANIFESTS).await? {
            Some(known) if !known.is_empty() || repository.keeps_lists() => known,
            _ => {
                let list = repository.fallback_list(&subject.digest, &self.task.room).await?;
                list.map(|list| list.listed).unwrap_or_default()
            }
        };
        let known: HashSet<Digest> = known.into_iter().map(|referrer| referrer.digest).collect();
        known.iter().filter(|digest| listed.contains(digest)).for_each(|digest| repository.note_sent(digest));
        Ok(known)
    }

    /// Which of these the destination has, as far as that was foreseen of all. They are there whatever they refer to: what the
    /// source's API lists refers to its subject.
    fn held(&self, listed: &[&Digest]) -> Option<HashSet<Digest>> {
        let repository = &self.task.destination.repository;
        let mut there = HashSet::new();
        for digest in listed {
            let foreseen = self.foreseen.presence.of(digest.as_str()).map(|found| found.is_some());
            if foreseen.or(repository.sent_lately(digest).then_some(true))? {
                there.insert((*digest).clone());
            }
        }
        there.iter().for_each(|digest| repository.note_sent(digest));
        Some(there)
    }

    /// Reads a candidate, unless the destination has it; `None`: it is not wanted, or not what it was said to be.
    async fn look(
        &self,
        subject: &Subject,
        candidate: Candidate,
        there: &HashSet<Digest>,
    ) -> Result<Option<Found>, Trouble> {
        let Task { source, room, request, .. } = self.task;
        let (root, tag) = match candidate {
            Candidate::Listed(referrer) => {
                let is_there = there.contains(&referrer.digest);
                if let (true, false, types) = (is_there, referrer.is_index, &referrer.artifact_type)
                    && (types.is_some() || !self.typed)
                {
                    let types = types.iter().cloned().collect();
                    return Ok(Some(Found::There { digest: referrer.digest, below: Vec::new(), types }));
                }
                let root = match source.manifest(referrer.digest.as_str(), Some(&referrer.digest), room).await {
                    Ok(root) => root,
                    // Nobody mends the lists that stand in for the API when an artifact is deleted.
                    Err(error) if error.error_type == ErrorType::SourceNotFound => {
                        tracing::warn!(reason = %error, subject = %subject.digest, "a listed referrer is left out");
                        return Ok(None);
                    }
                    Err(error) => return Err(error.into()),
                };
                if root.subject.as_ref() != Some(&subject.digest) {
                    let (manifest, subject) = (&root.digest, &subject.digest);
                    tracing::warn!(%manifest, %subject, "it is listed as a referrer, and refers to something else");
                    return Ok(None);
                }
                (root, None)
            }
            Candidate::Tagged(tag) => match self.tagged(subject, &tag).await? {
                Tagged::Gone => return Ok(None),
                Tagged::There(digest, types) => {
                    return Ok(Some(Found::There { digest, below: Vec::new(), types }));
                }
                Tagged::Lacking(root) => (root, Some(tag)),
            },
        };
        if !request.options.referrers.take(&types_of(&root)) {
            return Ok(None);
        }
        let is_there = tag.is_none() && there.contains(&root.digest);
        let types = types_of(&root);
        let manifests = match root.is_index {
            false => vec![root],
            true => self.whole(root).await?,
        };
        if request.options.scan_gate.is_some() && manifests.iter().any(scan::has_files) {
            // Nobody has asked for its scan.
            let subject = &subject.digest;
            tracing::warn!(%subject, "an image that is attached to another is left out, as the rule has a scan_gate");
            return Ok(None);
        }
        let mut digests = manifests.iter().map(|manifest| manifest.digest.clone());
        Ok(match (is_there, digests.next_back()) {
            (true, Some(digest)) => Some(Found::There { digest, below: digests.collect(), types }),
            _ => Some(Found::Lacking(Artifact { manifests, subject: subject.digest.clone(), tag })),
        })
    }

    /// All of an artifact that is an index.
    async fn whole(&self, root: Manifest) -> Result<Vec<Manifest>, Trouble> {
        let Task { source, destination, room, .. } = self.task;
        let tree = resolve::tree(source, destination, root, None, room).await;
        let tree = tree.map_err(|error| match error.error_type {
            ErrorType::ManifestInvalid => Trouble::Refused(error),
            _ => error.into(),
        })?;
        Ok(tree.manifests)
    }

    /// What stands under a tag of cosign's, seen from the destination.
    async fn tagged(&self, subject: &Subject, tag: &str) -> Result<Tagged, Trouble> {
        let Task { source, destination, room, request, .. } = self.task;
        let there = match subject.is_new {
            true => None,
            false => self.foreseen.presence.there(destination, tag, room).await?,
        };
        let now = match there {
            None => None,
            Some(_) => match presence::there(&source.repository, tag, room).await? {
                None => return Ok(Tagged::Gone),
                now => now,
            },
        };
        // Signatures are added under the tag that there is: it moves, unless tags are not to move here.
        let stays = match (there, now) {
            (Some(there), Some(now)) if there == now => Some(there),
            (Some(there), Some(now)) => match request.options.existing_tag {
                ExistingTag::Overwrite => None,
                ExistingTag::Keep => Some(there),
                ExistingTag::Fail => {
                    let text = format!(
                        "{}:{tag} holds {there}, the source {now}, and existing_tag is `fail`; choose `overwrite` or \
                         `keep`, or leave it out with `referrers`",
                        destination.repository
                    );
                    return Err(Trouble::Failed(Error::new(ErrorType::TagImmutable, text)));
                }
            },
            _ => None,
        };
        if let (Some(there), false) = (&stays, self.typed) {
            return Ok(Tagged::There(there.clone(), Vec::new()));
        }
        match source.repository.manifest(tag, None, room).await {
            Ok(manifest) => Ok(match stays {
                Some(there) => Tagged::There(there, types_of(&manifest)),
                None => Tagged::Lacking(manifest),
            }),
            Err(error) if error.error_type == ErrorType::SourceNotFound => Ok(Tagged::Gone),
            Err(error) => Err(error.into()),
        }
    }

    /// The refusal of what is more than is copied.
    pub(super) fn too_much(&self, reason: &str) -> Trouble {
        let text = format!("{} is not copied: {reason}; leave some out with `referrers`", self.task.request.source);
        Trouble::Refused(Error::new(ErrorType::ManifestInvalid, text))
    }
}

/// What stands under a tag of cosign's.
enum Tagged {
    /// Nothing.
    Gone,
    /// What the destination has under it, and keeps; its types at the source, where they were asked for.
    There(Digest, Vec<String>),
    /// What it lacks.
    Lacking(Manifest),
}

impl Candidate {
    fn listed(&self) -> Option<&Digest> {
        match self {
            Self::Listed(referrer) => Some(&referrer.digest),
            Self::Tagged(_) => None,
        }
    }
}

/// The types that an artifact goes by: its own first.
pub(in crate::sync) fn types_of(manifest: &Manifest) -> Vec<String> {
    manifest.artifact_type.iter().chain(&manifest.layer_types).cloned().collect()
}
