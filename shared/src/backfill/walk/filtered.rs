//! Which digest a destination is to hold where only some platforms are wanted: the source's index tells, and no list.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt, TryStreamExt, stream};

use super::{Stop, Walk};
use crate::{
    error::{Class, Error},
    oci::{Digest, Platform},
    request::SyncRequest,
    sync::filtered_digest,
};

/// Indexes that are read at once.
const AT_ONCE: usize = 8;

/// What is filtered, and to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Filtered<'r> {
    repository: (&'r str, &'r str),
    digest: Option<&'r Digest>,
    platforms: Option<&'r [Platform]>,
}

impl<'r> Filtered<'r> {
    pub(super) fn of(request: &'r SyncRequest) -> Self {
        Self {
            repository: (request.source.registry(), request.source.repository()),
            digest: request.expected.as_ref(),
            platforms: request.options.platforms.as_deref(),
        }
    }
}

impl Walk<'_> {
    /// The digests that filtered images are to have, where a destination has something under the name: each image is read
    /// once for a step and destination. One that can't be had is left to its sync, which says why.
    pub(super) async fn filtered<'r>(
        &self,
        requests: &'r [SyncRequest],
        there: &HashMap<String, Option<Digest>>,
    ) -> Result<HashMap<Filtered<'r>, Digest>, Stop> {
        let mut seen = HashSet::new();
        let asked = requests.iter().filter_map(|request| {
            let there = there.get(request.destination.target())?.as_ref()?;
            let (digest, platforms) = (request.expected.as_ref()?, request.options.platforms.as_deref()?);
            seen.insert(Filtered::of(request)).then_some((request, digest, platforms, there))
        });
        let read = stream::iter(asked).map(async |(request, digest, platforms, there)| {
            let source = self.listings.source(&request.source, self.run(&self.source))?;
            match Box::pin(filtered_digest(&source, digest, platforms, Some(there), self.budget)).await {
                Ok(filtered) => Ok(Some((Filtered::of(request), filtered))),
                Err(error) if error.class() == Class::Never => {
                    tracing::debug!(source = %request.source, reason = %error, "it is left to its sync");
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        });
        let found: Result<Vec<Option<_>>, Error> =
            self.times.deadline.bound(read.buffer_unordered(AT_ONCE).try_collect()).await?;
        Ok(found?.into_iter().flatten().collect())
    }
}
