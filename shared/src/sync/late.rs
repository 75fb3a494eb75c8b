//! What is attached to an image after the image was synced: a signature, an SBOM. It goes where its image is.

use super::{
    Outcome, Stage, Syncer, Task,
    referrers::{self, CosignTags, Subject, Trouble},
};
use crate::{
    error::{Error, ErrorType},
    oci::{AttachedTag, Digest},
};

/// How far it is followed from what refers to what refers to an image. As deep as referrers are copied.
const MAX_DEPTH: usize = 8;

/// What came of it.
pub(super) enum Late {
    /// It is there.
    There(Outcome, Digest),
    /// It is nothing that is copied; why.
    Ignored(String),
    /// The image that it belongs to in the end is not at the destination.
    Awaits(Digest),
    /// It refers to nothing: it goes as an image, if at all.
    Image(Digest),
}

/// Copies the artifact of a request to where its image is, with all that the image lacks beside it: a run before may have
/// failed, and asking costs the same.
pub(super) async fn run(syncer: &Syncer, task: &Task<'_>) -> Result<Late, Error> {
    let Task { request, source, destination, room, tally, .. } = task;
    let mut is_list = false;
    let mut subject = match request.source.tag() {
        Some(tag) => match AttachedTag::of(tag) {
            Some(AttachedTag::Cosign(subject)) => subject,
            Some(AttachedTag::Index(subject)) => {
                is_list = true;
                subject
            }
            None => return Ok(Late::Ignored(format!("its tag `{tag}` belongs to no other image"))),
        },
        None => {
            let manifest = source.manifest(request.source.target(), request.source.digest(), room);
            let manifest = Stage::Resolve.run(tally, manifest).await?;
            let types = referrers::types_of(&manifest);
            match manifest.subject {
                Some(_) if !request.options.referrers.take(&types) => {
                    return Ok(Late::Ignored(format!("`referrers` leaves out its type, {}", types.join(", "))));
                }
                Some(subject) => subject,
                None => return Ok(Late::Image(manifest.digest)),
            }
        }
    };
    for _ in 0..MAX_DEPTH {
        let there = Stage::Resolve.run(tally, destination.repository.head_manifest(subject.as_str())).await?;
        if there.is_some() {
            let subjects = vec![Subject { digest: subject.clone(), is_new: false }];
            let found =
                Stage::Referrers.run(tally, referrers::find(task, subjects, CosignTags::Now, false, None)).await;
            let found = found.map_err(Trouble::into_error);
            Stage::Attach.run(tally, referrers::follow(syncer, task, &subject, found)).await?;
            let outcome = if tally.has_pushed_referrers() { Outcome::Synced } else { Outcome::Current };
            // The list itself is not copied, but what it names.
            if is_list {
                return Ok(match tally.has_referrers() {
                    true => Late::There(outcome, subject),
                    false => {
                        Late::Ignored("it is a list of referrers, and names nothing that `referrers` takes".into())
                    }
                });
            }
            let digest = match request.source.digest() {
                Some(digest) => digest.clone(),
                None => super::presence::there(&source.repository, request.source.target(), room).await?.ok_or_else(
                    || {
                        Error::new(
                            ErrorType::SourceNotFound,
                            format!("{} is not at the source any more", request.source),
                        )
                    },
                )?,
            };
            if !tally.has_referrer(&digest) {
                return Ok(Late::Ignored("`referrers` leaves it out, or what it is attached to".into()));
            }
            return Ok(Late::There(outcome, digest));
        }
        // A signature of an SBOM may come before its SBOM.
        let above = source.repository.manifest(subject.as_str(), Some(&subject), room);
        match Stage::Resolve.run(tally, above).await {
            Ok(manifest) => match manifest.subject {
                Some(above) => subject = above,
                None => return Ok(Late::Awaits(subject)),
            },
            Err(error) if error.error_type == ErrorType::SourceNotFound => {
                return Ok(Late::Ignored(format!("it refers to {subject}, which is not at the source")));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Late::Ignored(format!("it refers to what refers to something, over {MAX_DEPTH} deep")))
}
