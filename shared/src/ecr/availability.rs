//! `BatchCheckLayerAvailability`: what an ECR repository has, and what is good for a manifest.

use std::{collections::HashSet, sync::Arc};

use aws_sdk_ecr::types::LayerAvailability as Availability;
use futures::{future::BoxFuture, stream, stream::StreamExt, stream::TryStreamExt};

use super::EcrApi;
use crate::{
    aws::{CountCalls, failure},
    error::Error,
    limits::LayerAvailability,
    oci::Digest,
    transport::Meter,
};

/// Digests in one call, the API's limit.
const DIGESTS_PER_CALL: usize = 100;

/// Calls in flight; the quota is 1,000 calls a second for the account and region.
const CALLS_AT_ONCE: usize = 4;

/// The layers of one repository, for the time of one run.
#[derive(Debug)]
pub struct EcrAvailability {
    api: Arc<EcrApi>,
    repository: String,
    meter: Arc<Meter>,
}

impl EcrAvailability {
    /// The layers of `repository`.
    #[must_use]
    pub fn new(api: Arc<EcrApi>, repository: &str, meter: Arc<Meter>) -> Self {
        Self { api, repository: repository.to_owned(), meter }
    }

    /// One call. A digest that is missing from the answer, or archived, counts as not available.
    async fn check(&self, digests: &[Digest]) -> Result<Vec<Digest>, Error> {
        let answer = self
            .api
            .client()
            .await
            .batch_check_layer_availability()
            .registry_id(self.api.account())
            .repository_name(&self.repository)
            .set_layer_digests(Some(digests.iter().map(ToString::to_string).collect()))
            .customize()
            .interceptor(CountCalls::on(&self.meter))
            .send()
            .await
            .map_err(|error| {
                let doing = format!("checking layers of ECR repository {} ({})", self.repository, self.api.place());
                failure(&doing, &error)
            })?;
        let available =
            answer.layers().iter().filter(|layer| layer.layer_availability() == Some(&Availability::Available));
        Ok(available.filter_map(|layer| layer.layer_digest()?.parse().ok()).collect())
    }
}

impl LayerAvailability for EcrAvailability {
    fn available<'a>(&'a self, digests: &'a [Digest]) -> BoxFuture<'a, Result<HashSet<Digest>, Error>> {
        Box::pin(in_calls(digests, |digests| self.check(digests)))
    }
}

/// Asks `check` for all of `digests`, as many at a time as one call takes.
pub(super) async fn in_calls<'d, C>(
    digests: &'d [Digest],
    check: impl Fn(&'d [Digest]) -> C,
) -> Result<HashSet<Digest>, Error>
where
    C: Future<Output = Result<Vec<Digest>, Error>>,
{
    let calls: Vec<_> = digests.chunks(DIGESTS_PER_CALL).map(check).collect();
    let answers: Vec<_> = stream::iter(calls).buffer_unordered(CALLS_AT_ONCE).try_collect().await?;
    Ok(answers.into_iter().flatten().collect())
}
