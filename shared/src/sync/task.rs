//! One sync's ends, and what their references point to now.

use super::{Destination, Foreseen, Source, Stage, Tally, Unlisted, Wanted, presence, referrers, resolve};
use crate::{
    error::Error,
    limits::{ByteBudget, ManifestRoom},
    oci::Digest,
    request::{ExistingTag, SyncRequest},
};

/// One sync: what is asked, between which ends, and what it holds and counts.
pub(super) struct Task<'s> {
    pub(super) request: &'s SyncRequest,
    pub(super) source: Source,
    pub(super) destination: Destination,
    pub(super) tally: &'s Tally,
    pub(super) room: ManifestRoom,
    /// Manifests of the image that it put, and the destination may not list under their subjects.
    pub(super) unlisted: Unlisted,
}

/// What the source's reference points to, and what the destination has under its own.
pub(super) struct Resolved {
    pub(super) there: Option<Digest>,
    pub(super) root: resolve::Root,
    /// What is filtered has another digest at the source, where tags and events speak of that one.
    pub(super) filtered_from: Option<Digest>,
    pub(super) foreseen: Option<Foreseen>,
}

impl Task<'_> {
    /// Finds out what both ends have now.
    pub(super) async fn resolved(&self, budget: &ByteBudget) -> Result<Resolved, Error> {
        let Task { request, source, destination, tally, room, .. } = self;
        let options = &request.options;
        // To know an image's children takes its manifest. Where that counts as a pull, it takes a reason.
        let counted = source.repository.client().provider.counts_pulls();
        let reads = options.referrers.wanted() && (!counted || request.tried);
        // Where one question tells of many manifests it is asked when all are known that it can tell of, if nothing that
        // the destination has under the name would spare finding them.
        let is_plain = options.platforms.is_none() && options.scan_gate.is_none() && !counted;
        if reads && is_plain && options.existing_tag == ExistingTag::Overwrite && destination.manifests.is_some() {
            let root = source.manifest(request.source.target(), request.source.digest(), room);
            let root = Stage::Resolve.run(tally, root).await?;
            let cosign = referrers::cosign_of_there(self, &root.digest, true);
            let foreseen = Stage::Referrers.run(tally, Foreseen::of_image(self, &root, cosign)).await?;
            let there = foreseen.presence.there(destination, request.destination.target(), room);
            let there = Stage::Resolve.run(tally, there).await?;
            let root = resolve::Root::of(root, there.as_ref());
            return Ok(Resolved { there, root, filtered_from: None, foreseen: Some(foreseen) });
        }
        let there = presence::there(&destination.repository, request.destination.target(), room);
        let there = Stage::Resolve.run(tally, there).await?;
        let (root, filtered_from) = match &options.platforms {
            None => {
                let root = resolve::root(source, &request.source, there.as_ref(), reads, room);
                (Stage::Resolve.run(tally, root).await?, None)
            }
            Some(platforms) => {
                let wanted = Wanted { source, platforms, budget, room };
                Stage::Resolve.run(tally, wanted.root(&request.source, there.as_ref())).await?
            }
        };
        Ok(Resolved { there, root, filtered_from, foreseen: None })
    }

    /// What the source tag points to now, if that is not `digest` any more.
    ///
    /// Asked after the tag was put: an older and slower sync may have put the tag after a newer one did, so whoever
    /// moved the tag last looks once more.
    pub(super) async fn moved_on(&self, digest: &Digest) -> Result<Option<Digest>, Error> {
        if self.request.source.digest().is_some() {
            return Ok(None);
        }
        let now = presence::there(&self.source.repository, self.request.source.target(), &self.room);
        let now = Stage::Resolve.run(self.tally, now).await?;
        // Whoever followed its deletion may have found nothing to remove yet.
        self.tally.source_is_gone(Some(digest).filter(|_| now.is_none()));
        Ok(now.filter(|now| now != digest))
    }
}
