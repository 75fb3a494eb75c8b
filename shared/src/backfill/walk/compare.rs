//! What a step of a walk finds: images that their destinations lack.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{Stop, Walk, filtered::Filtered};
use crate::{
    backfill::{group::is_attachment, order::Scope, summary::Counts},
    error::{Class, Error},
    oci::{Digest, Reference},
    registry::{ListedImage, Listing, Side},
    request::{ExistingTag, SyncRequest},
    rules::{Pushed, Routes, Verdict},
};

/// What a step has found.
pub(super) struct Compared {
    pub(super) counts: Counts,
    /// What is to be synced.
    pub(super) lacking: Vec<SyncRequest>,
    /// What is there, at the same digest, and may have something attached that is not.
    pub(super) unchanged: Vec<SyncRequest>,
}

impl Walk<'_> {
    /// Compares a step's images with what their destinations have.
    pub(super) async fn compared(
        &mut self,
        scope: &Scope,
        source: &dyn Listing,
        name: &str,
        images: &[ListedImage],
    ) -> Result<Compared, Stop> {
        let mut counts = Counts::default();
        let mut wanted: Vec<(Reference, Option<Digest>)> = Vec::new();
        for image in images {
            counts.listed += image.tags.len() as u64;
            for tag in &image.tags {
                if is_attachment(tag) {
                    counts.attached += 1;
                    continue;
                }
                match Reference::new(&scope.registry, name, Some(tag), None) {
                    Ok(reference) if self.wants(&reference) && !self.is_too_old(image) => {
                        wanted.push((reference, image.digest.clone()));
                    }
                    Ok(_) => {}
                    Err(error) => refuse(&mut counts, &error),
                }
            }
        }
        self.resolve(source, name, &mut wanted).await?;
        let mut requests: BTreeMap<(String, String), Vec<SyncRequest>> = BTreeMap::new();
        for (reference, digest) in wanted {
            let pushed = Pushed {
                registry: reference.registry().to_owned(),
                repository: reference.repository().to_owned(),
                tag: reference.tag().map(str::to_owned),
                digest,
                at: None,
            };
            let found = match self.plan.rules.rules().routes(&pushed) {
                Ok(Routes { verdict, refused }) => {
                    refused.iter().for_each(|error| refuse(&mut counts, error));
                    if let Verdict::Sync(found) = verdict { found } else { Vec::new() }
                }
                Err(error) => {
                    refuse(&mut counts, &error);
                    continue;
                }
            };
            for request in found {
                let destination = &request.destination;
                let at = (destination.registry().to_owned(), destination.repository().to_owned());
                requests.entry(at).or_default().push(request);
            }
        }
        let (mut lacking, mut unchanged) = (Vec::new(), Vec::new());
        for ((registry, repository), requests) in requests {
            let targets: Vec<String> = requests.iter().map(|request| request.destination.target().to_owned()).collect();
            let there = match self.asked(&registry, &repository, &targets).await {
                Ok(there) => there,
                Err(Stop::Failed(error)) if error.class() == Class::Never => {
                    self.refused.get_or_insert(error);
                    continue;
                }
                Err(stopped) => return Err(stopped),
            };
            let filtered = self.filtered(&requests, &there).await?;
            for request in &requests {
                counts.matched += 1;
                let expected = filtered.get(&Filtered::of(request)).or(request.expected.as_ref());
                let keep = request.options.existing_tag == ExistingTag::Keep;
                let count = match there.get(request.destination.target()) {
                    None => &mut counts.missing,
                    // Where an end doesn't say its digest, the sync will find out.
                    Some(digest) if digest.is_some() && digest.as_ref() == expected => {
                        counts.current += 1;
                        if self.revisits(request) {
                            unchanged.push(request.clone());
                        }
                        continue;
                    }
                    Some(_) if keep => {
                        counts.kept += 1;
                        continue;
                    }
                    Some(_) => &mut counts.different,
                };
                *count += 1;
                lacking.push(request.clone());
            }
        }
        Ok(Compared { counts, lacking, unchanged })
    }

    /// What a destination has under each of these names.
    async fn asked(
        &mut self,
        registry: &str,
        repository: &str,
        targets: &[String],
    ) -> Result<HashMap<String, Option<Digest>>, Stop> {
        let listing = self.destination(registry)?;
        Ok(self.times.deadline.bound(listing.digests(repository, targets)).await??)
    }

    /// Finds the digests of tags that were listed without. What is gone by now is left out.
    async fn resolve(
        &self,
        source: &dyn Listing,
        name: &str,
        wanted: &mut Vec<(Reference, Option<Digest>)>,
    ) -> Result<(), Stop> {
        let unknown = wanted.iter().filter(|(_, digest)| digest.is_none());
        let tags: Vec<String> = unknown.filter_map(|(reference, _)| reference.tag().map(str::to_owned)).collect();
        if tags.is_empty() {
            return Ok(());
        }
        let digests = self.times.deadline.bound(source.digests(name, &tags)).await??;
        wanted.retain_mut(|(reference, digest)| match digests.get(reference.tag().unwrap_or_default()) {
            Some(found) => {
                digest.clone_from(found);
                true
            }
            None => digest.is_some(),
        });
        Ok(())
    }

    fn destination(&mut self, registry: &str) -> Result<Arc<dyn Listing>, Error> {
        if let Some(known) = self.destinations.get(registry) {
            return Ok(Arc::clone(known));
        }
        let made = self.listings.listing(registry, Side::Destination, self.run(&self.destination))?;
        self.destinations.insert(registry.to_owned(), Arc::clone(&made));
        Ok(made)
    }
}

fn refuse(counts: &mut Counts, error: &dyn std::fmt::Display) {
    counts.refused += 1;
    tracing::warn!(reason = %error, "a tag is left out of the backfill");
}
