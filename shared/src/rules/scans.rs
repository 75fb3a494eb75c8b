//! What a finished scan sets going: images that a rule holds for it.

use super::{Pushed, Rules, Verdict};
use crate::{error::Error, provider::Provider, request::SyncRequest};

impl Rules {
    /// Where a scanned image goes, under all its tags: only by rules that wait for scans, since for all others its push was
    /// enough.
    ///
    /// # Errors
    /// As [`Rules::routes`].
    pub fn scanned(&self, images: &[Pushed]) -> Result<Verdict, Error> {
        let (mut requests, mut refused) = (Vec::<SyncRequest>::new(), None);
        for image in images {
            // What can't go elsewhere was told by its push.
            let found = match self.routes(image).map(|routes| routes.verdict) {
                Ok(Verdict::Sync(found)) => found,
                Ok(Verdict::Ignore(_)) => continue,
                Err(error) => {
                    refused.get_or_insert(error);
                    continue;
                }
            };
            for request in found.into_iter().filter(|request| request.options.scan_gate.is_some()) {
                if !requests.iter().any(|known| known.destination == request.destination) {
                    requests.push(request);
                }
            }
        }
        if let (true, Some(error)) = (requests.is_empty(), refused) {
            return Err(error);
        }
        let waits = |image: &Pushed| {
            let gated = self.0.iter().filter(|rule| rule.options.scan_gate.is_some());
            gated.into_iter().any(|rule| rule.takes_repository(&image.registry, &image.repository))
        };
        Ok(match requests.is_empty() {
            false => Verdict::Sync(requests),
            true if images.iter().any(|image| image.tag.is_none() && waits(image)) => Verdict::Ignore(
                "a scan is finished of an image without a tag, as of an index's children: the index comes by its own push \
                 event or message, which waits in the queue for them all",
            ),
            true => Verdict::Ignore("a scan is finished, and no rule that matches waits for scans (`scan_gate`)"),
        })
    }

    /// Rules that wait for scans at registries that make none; `of_host` tells what kind of registry a host is.
    pub(crate) fn scan_mistakes(&self, of_host: impl Fn(&str) -> Provider, mistakes: &mut Vec<String>) {
        for (position, rule) in self.0.iter().enumerate().filter(|(_, rule)| rule.options.scan_gate.is_some()) {
            if let Some(host) = rule.registry.as_deref().filter(|host| of_host(host) != Provider::Ecr) {
                mistakes.push(format!(
                    "rules[{position}].scan_gate: goes with private ECR as the source alone, and {host} is none"
                ));
            }
        }
    }
}
