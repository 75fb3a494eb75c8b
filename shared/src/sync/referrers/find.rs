//! Finds all that is attached to an image at its source: what refers to it, to its children, and to what refers to those.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::{
    Artifact,
    foresee::Foreseen,
    look::{Finder, Found, types_of},
};
use crate::{
    error::{Error, ErrorType},
    oci::{Digest, Manifest},
    sync::Task,
};

/// Referrers of referrers. A signature of an SBOM makes two; nobody is known to make more than three.
pub(super) const MAX_DEPTH: usize = 8;

/// Manifests that are attached to one image. Chosen: as many as an image may have of its own.
pub(super) const MAX_MANIFESTS: usize = 1000;

/// Subjects that are asked for at once.
pub(super) const AT_ONCE: usize = 8;

/// What may have something attached.
#[derive(Debug, Clone)]
pub(in crate::sync) struct Subject {
    pub(in crate::sync) digest: Digest,
    /// Whether the destination has not had it so far, and so nothing that refers to it.
    pub(in crate::sync) is_new: bool,
}

/// All that is attached to an image.
pub(in crate::sync) struct Attached {
    /// What the destination lacks; each wave refers to those before it, the first one to the image.
    pub(super) waves: Vec<Vec<Artifact>>,
    /// What it has.
    pub(super) present: Vec<Digest>,
    /// Manifests of the image itself that refer to others, where the destination does not list them.
    pub(super) own: Vec<Manifest>,
    /// The types of what is attached to each subject.
    types: HashMap<Digest, Vec<String>>,
    /// Whether the destination had the image before this sync.
    pub(super) was_there: bool,
    /// The image's own manifests, to look again.
    pub(super) image: Vec<Digest>,
    /// When it was looked.
    pub(super) since: Instant,
}

impl Attached {
    /// Whether something of this type is attached to `subject`.
    pub(in crate::sync) fn has(&self, subject: &Digest, takes: impl Fn(&str) -> bool) -> bool {
        self.types.get(subject).is_some_and(|types| types.iter().any(|of| takes(of)))
    }
}

/// Why what is attached is not known.
pub(in crate::sync) enum Trouble {
    /// It is more than is copied: the image is refused with it.
    Refused(Error),
    /// It could not be found out.
    Failed(Error),
}

impl Trouble {
    /// Whatever it is.
    pub(in crate::sync) fn into_error(self) -> Error {
        match self {
            Self::Refused(error) | Self::Failed(error) => error,
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        match error.error_type {
            // Manifests that can't be held, wherever they are attached.
            ErrorType::ManifestTooLarge => Self::Refused(error),
            _ => Self::Failed(error),
        }
    }
}

/// Which of the source's tags are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sync) enum CosignTags {
    /// None: they have push events of their own.
    Ignored,
    /// As they were listed since the request was made.
    AsAsked,
    /// As they are listed now.
    Now,
}

/// Finds what is attached to `subjects`, and to that again; what was `foreseen` of them is not asked for again.
pub(in crate::sync) async fn find(
    task: &Task<'_>,
    subjects: Vec<Subject>,
    cosign: CosignTags,
    typed: bool,
    foreseen: Option<&Foreseen>,
) -> Result<Attached, Trouble> {
    let own;
    let foreseen = match foreseen {
        Some(foreseen) => foreseen,
        None => {
            own = Foreseen::of(task, &subjects, cosign).await?;
            &own
        }
    };
    let finder = Finder::new(task, foreseen.tags(task, cosign).await?, typed, foreseen);
    let image = subjects.iter().map(|subject| subject.digest.clone()).collect();
    let (waves, present, own, types) = (Vec::new(), Vec::new(), Vec::new(), HashMap::new());
    let mut attached = Attached { waves, present, own, types, was_there: false, image, since: foreseen.since };
    let of_image: HashSet<Digest> = subjects.iter().map(|subject| subject.digest.clone()).collect();
    let mut seen = of_image.clone();
    let (mut level, mut count) = (subjects, 0);
    while !level.is_empty() {
        let asked = level.iter().map(|subject| finder.attached_to(subject));
        let found: Vec<Vec<Found>> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
        let (mut wave, mut next) = (Vec::new(), Vec::new());
        for (subject, found) in level.iter().zip(found) {
            for found in found {
                let (digest, is_new, below, types) = match &found {
                    Found::There { digest, below, types } => (digest, false, below.clone(), types.clone()),
                    Found::Lacking(artifact) => {
                        let Some((root, below)) = artifact.manifests.split_last() else { continue };
                        let below = below.iter().map(|manifest| manifest.digest.clone()).collect();
                        (&root.digest, true, below, types_of(root))
                    }
                };
                attached.types.entry(subject.digest.clone()).or_default().extend(types);
                let tagged = matches!(&found, Found::Lacking(artifact) if artifact.tag.is_some());
                let known = !seen.insert(digest.clone());
                if known && !tagged {
                    // It is copied as a part of the image, and may be found by its subject all the same.
                    if let Found::Lacking(artifact) = &found {
                        attached.own.extend(artifact.root().filter(|root| of_image.contains(&root.digest)).cloned());
                    }
                    continue;
                }
                let own = (!known).then(|| digest.clone());
                let below = below.into_iter().filter(|digest| seen.insert(digest.clone())).collect::<Vec<_>>();
                count += 1 + below.len();
                if !is_new {
                    attached.present.extend(own.iter().chain(&below).cloned());
                }
                next.extend(own.into_iter().chain(below).map(|digest| Subject { digest, is_new }));
                if let Found::Lacking(artifact) = found {
                    wave.push(artifact);
                }
            }
        }
        let depth = attached.waves.len() + 1;
        if depth > MAX_DEPTH && !next.is_empty() {
            return Err(finder.too_much(&format!("referrers refer to referrers over {MAX_DEPTH} deep")));
        }
        if count > MAX_MANIFESTS {
            return Err(finder.too_much(&format!("over {MAX_MANIFESTS} manifests are attached to it")));
        }
        attached.waves.push(wave);
        level = next;
    }
    Ok(attached)
}

/// The digests of all manifests of an image: of `known`, which are read, and of all below them.
pub(in crate::sync) async fn below(task: &Task<'_>, known: &[Manifest]) -> Result<Vec<Digest>, Error> {
    let mut seen: HashSet<Digest> = known.iter().map(|manifest| manifest.digest.clone()).collect();
    let mut digests: Vec<Digest> = known.iter().map(|manifest| manifest.digest.clone()).collect();
    let mut next: Vec<_> = known.iter().flat_map(|manifest| manifest.children.clone()).collect();
    // Depth and number were bounded when the image was read, and are again where it is not: by the manifests' room.
    while let Some(child) = next.pop() {
        if !seen.insert(child.digest.clone()) {
            continue;
        }
        digests.push(child.digest.clone());
        if child.is_index {
            let index = task.source.manifest(child.digest.as_str(), Some(&child.digest), &task.room).await?;
            next.extend(index.children);
        }
    }
    Ok(digests)
}
