//! Where what was attached to an image goes: to every repository that the rules send its image to.

use super::{Pushed, Routes, Rules, Verdict, plain};
use crate::{
    error::{Error, ErrorType},
    oci::{Digest, Reference},
    provider::unfit_name,
    request::{SyncOptions, SyncRequest},
};

/// Why nothing is done with what was attached to an image.
const NOWHERE: &str = "it is attached to an image, and no rule copies what is attached to images of its repository";

impl Rules {
    /// Where an artifact goes that was attached to an image, by the rules that take its repository. Tags are not looked at:
    /// whoever copies it sees whether its image is there, and what tags that has.
    ///
    /// A destination whose repository depends on the image's tag is not among them; it gets what was attached with the
    /// image's next sync.
    ///
    /// # Errors
    /// `InvalidReference`: the artifact's own reference is none.
    pub fn attached(&self, pushed: &Pushed) -> Result<Routes, Error> {
        let invalid = |error: crate::oci::ReferenceError| Error::new(ErrorType::InvalidReference, error.to_string());
        let (registry, repository) = (&pushed.registry, &pushed.repository);
        let tag = pushed.tag.as_deref();
        let digest = pushed.digest.clone().filter(|_| tag.is_none());
        let source = Reference::new(registry, repository, tag, digest.clone()).map_err(invalid)?;
        let examples = ["a", "b"].map(|tag| Reference::new(registry, repository, Some(tag), None));
        let [Ok(one), Ok(other)] = examples else {
            return Ok(Routes { verdict: Verdict::Ignore(NOWHERE), refused: None });
        };
        let (first, second) = (Digest::of(b"a"), Digest::of(b"b"));
        let mut requests: Vec<SyncRequest> = Vec::new();
        for rule in self.0.iter().filter(|rule| {
            rule.options.referrers.wanted() && rule.takes_repository(source.registry(), source.repository())
        }) {
            for template in &rule.destinations {
                let places = [template.fill(&one, Some(&first)), template.fill(&other, Some(&second))];
                let [Ok(place), Ok(same)] = places else { continue };
                if (place.registry(), place.repository()) != (same.registry(), same.repository()) {
                    continue;
                }
                let destination = Reference::new(place.registry(), place.repository(), tag, digest.clone());
                let destination = destination.map_err(invalid)?;
                if unfit_name(destination.registry(), destination.repository()).is_some() {
                    continue;
                }
                // A filter is for images: whoever copies their artifacts asks whether they are there.
                let options = SyncOptions { platforms: None, ..rule.options.clone() };
                let is_same = |request: &SyncRequest| {
                    request.destination == destination && request.options.referrers == options.referrers
                };
                let is_new = !requests.iter().any(is_same);
                if is_new && plain(&destination) != plain(&source) {
                    requests.push(SyncRequest {
                        source: source.clone(),
                        destination,
                        expected: None,
                        options,
                        pushed_at: pushed.at,
                        asked_at: None,
                        repeated: false,
                        tried: false,
                        heard: true,
                        attached: true,
                    });
                }
            }
        }
        // By rules that say so, what has no tag is copied as an image. Where it is looked at as an artifact, whoever does that
        // sees whether it is one: its subject comes first, and its rule's gate is for images.
        let (images, refused) = match digest.is_some().then(|| self.routes(pushed)) {
            Some(Ok(Routes { verdict: Verdict::Sync(images), refused })) => (images, refused),
            Some(Err(error)) if requests.is_empty() => return Err(error),
            Some(Err(error)) => (Vec::new(), Some(error)),
            Some(Ok(_)) | None => (Vec::new(), None),
        };
        let is_looked_at = |image: &SyncRequest| {
            requests.iter().any(|request| plain(&request.destination) == plain(&image.destination))
        };
        let elsewhere: Vec<SyncRequest> = images.into_iter().filter(|image| !is_looked_at(image)).collect();
        let all = [elsewhere, requests].concat();
        Ok(Routes { verdict: if all.is_empty() { Verdict::Ignore(NOWHERE) } else { Verdict::Sync(all) }, refused })
    }
}
