//! What an ECR registry has: `DescribeRepositories`, `DescribeImages`, and `BatchGetImage` for what stands behind tags.
//!
//! `DescribeImages` rather than `ListImages`: one call names a thousand images with all their tags and the times of their
//! pushes, where the other names a thousand tags.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
    time::SystemTime,
};

use aws_sdk_ecr::{
    error::ProvideErrorMetadata,
    operation::batch_get_image::BatchGetImageOutput,
    types::{DescribeImagesFilter, ImageFailure, ImageFailureCode, ImageIdentifier, TagStatus},
};
use futures::{StreamExt, TryStreamExt, future::BoxFuture, stream};

use super::EcrApi;
use crate::{
    aws::{CountCalls, failure},
    error::{Error, ErrorType},
    oci::{Digest, MANIFEST_ACCEPT},
    registry::{ListedImage, Listing, Page},
    transport::Meter,
};

/// Entries of a page, the API's limit.
const PAGE: i32 = 1000;

/// Images in one call of `BatchGetImage`, the API's limit.
const IMAGES_PER_CALL: usize = 100;

/// Calls in flight: each answer holds a hundred manifests.
const CALLS_AT_ONCE: usize = 2;

/// The images of one registry, for the time of one run.
#[derive(Debug)]
pub struct EcrListing {
    api: Arc<EcrApi>,
    meter: Arc<Meter>,
}

impl EcrListing {
    /// The lists of the registry of `api`.
    #[must_use]
    pub fn new(api: Arc<EcrApi>, meter: Arc<Meter>) -> Self {
        Self { api, meter }
    }

    async fn repositories(&self, at: Option<&str>) -> Result<Page<String>, Error> {
        let call = self.api.client().await.describe_repositories().registry_id(self.api.account()).max_results(PAGE);
        let call = call.set_next_token(at.map(str::to_owned));
        let answer = call.customize().interceptor(CountCalls::on(&self.meter)).send().await.map_err(|error| {
            failure(&format!("listing repositories (ecr:DescribeRepositories, {})", self.api.place()), &error)
        })?;
        let names = answer.repositories().iter().filter_map(|found| found.repository_name().map(str::to_owned));
        Ok(Page { entries: names.collect(), next: answer.next_token().map(str::to_owned) })
    }

    async fn images(&self, repository: &str, at: Option<&str>) -> Result<Page<ListedImage>, Error> {
        let doing =
            || format!("listing images of ECR repository {repository} (ecr:DescribeImages, {})", self.api.place());
        let call = self.api.client().await.describe_images().registry_id(self.api.account());
        let call = call
            .repository_name(repository)
            .filter(DescribeImagesFilter::builder().tag_status(TagStatus::Tagged).build())
            .max_results(PAGE)
            .set_next_token(at.map(str::to_owned));
        let answer = call.customize().interceptor(CountCalls::on(&self.meter)).send().await;
        let answer = answer.map_err(|error| {
            let error = failure(&doing(), &error);
            match error.error_type {
                ErrorType::RepositoryNotFound => Error { error_type: ErrorType::SourceNotFound, ..error },
                _ => error,
            }
        })?;
        let image = |found: &aws_sdk_ecr::types::ImageDetail| ListedImage {
            tags: found.image_tags().to_vec(),
            digest: found.image_digest().and_then(|text| text.parse().ok()),
            pushed_at: found.image_pushed_at().and_then(|time| {
                let millis = u64::try_from(time.to_millis().ok()?).ok()?;
                Some(SystemTime::UNIX_EPOCH + Duration::from_millis(millis))
            }),
        };
        // An image may lose its last tag while it is listed.
        let images = answer.image_details().iter().map(image).filter(|image| !image.tags.is_empty());
        Ok(Page { entries: images.collect(), next: answer.next_token().map(str::to_owned) })
    }

    async fn tags_of(&self, repository: &str, digest: &Digest) -> Result<Vec<String>, Error> {
        let id = ImageIdentifier::builder().image_digest(digest.as_str()).build();
        let call = self.api.client().await.describe_images().registry_id(self.api.account());
        let call = call.repository_name(repository).image_ids(id);
        match call.customize().interceptor(CountCalls::on(&self.meter)).send().await {
            Ok(answer) => Ok(answer.image_details().iter().flat_map(|image| image.image_tags().to_vec()).collect()),
            Err(error) if error.code() == Some("ImageNotFoundException") => Ok(Vec::new()),
            Err(error) => {
                let place = self.api.place();
                let doing = format!("asking for the tags of {repository}@{digest} (ecr:DescribeImages, {place})");
                Err(failure(&doing, &error))
            }
        }
    }

    /// What a repository has under `targets`, tags or digests; `None`: nothing. Where that can't be told, it is missing.
    ///
    /// # Errors
    /// The API gives no answer.
    pub async fn held(&self, repository: &str, targets: &[String]) -> Result<HashMap<String, Option<Digest>>, Error> {
        let calls: Vec<_> = targets.chunks(IMAGES_PER_CALL).map(|chunk| self.batch(repository, chunk)).collect();
        let answers: Vec<_> = stream::iter(calls).buffer_unordered(CALLS_AT_ONCE).try_collect().await?;
        Ok(answers.into_iter().flatten().collect())
    }

    /// One call; pushing needs its right anyway, and it tells what is missing without an error.
    async fn batch(&self, repository: &str, targets: &[String]) -> Result<Vec<(String, Option<Digest>)>, Error> {
        let ids = targets.iter().map(|target| {
            let id = ImageIdentifier::builder();
            if target.contains(':') { id.image_digest(target) } else { id.image_tag(target) }.build()
        });
        let call = self.api.client().await.batch_get_image().registry_id(self.api.account());
        let call = call
            .repository_name(repository)
            .set_image_ids(Some(ids.collect()))
            .set_accepted_media_types(Some(accepted()));
        let answer = match call.customize().interceptor(CountCalls::on(&self.meter)).send().await {
            Ok(answer) => answer,
            Err(error) if error.code() == Some("RepositoryNotFoundException") => {
                return Ok(targets.iter().map(|target| (target.clone(), None)).collect());
            }
            Err(error) => {
                let place = self.api.place();
                let doing = format!("looking for images in ECR repository {repository} (ecr:BatchGetImage, {place})");
                return Err(failure(&doing, &error));
            }
        };
        Ok(told(&answer, targets))
    }
}

/// What an answer says of `targets`; of some of them it may say nothing.
fn told(answer: &BatchGetImageOutput, targets: &[String]) -> Vec<(String, Option<Digest>)> {
    // One entry may answer for a tag and for the digest that it points to.
    let asked: HashSet<&str> = targets.iter().map(String::as_str).collect();
    let named = |id: &ImageIdentifier| {
        let names = [id.image_tag(), id.image_digest()].into_iter().flatten();
        names.filter(|name| asked.contains(name)).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut told = Vec::with_capacity(targets.len());
    for image in answer.images() {
        let Some(id) = image.image_id() else { continue };
        let Some(digest) = id.image_digest().and_then(|digest| digest.parse::<Digest>().ok()) else { continue };
        told.extend(named(id).into_iter().map(|name| (name, Some(digest.clone()))));
    }
    // Any other failure says nothing of whether there is one.
    let missing = |failure: &&ImageFailure| failure.failure_code() == Some(&ImageFailureCode::ImageNotFound);
    for id in answer.failures().iter().filter(missing).filter_map(ImageFailure::image_id) {
        told.extend(named(id).into_iter().map(|name| (name, None)));
    }
    told
}

/// The media types that an image may have; without them ECR may convert what it answers.
fn accepted() -> Vec<String> {
    MANIFEST_ACCEPT.split(", ").filter(|kind| *kind != "*/*").map(str::to_owned).collect()
}

impl Listing for EcrListing {
    fn repositories<'a>(&'a self, at: Option<&'a str>) -> BoxFuture<'a, Result<Page<String>, Error>> {
        Box::pin(self.repositories(at))
    }

    fn images<'a>(
        &'a self,
        repository: &'a str,
        at: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Page<ListedImage>, Error>> {
        Box::pin(self.images(repository, at))
    }

    fn digests<'a>(
        &'a self,
        repository: &'a str,
        targets: &'a [String],
    ) -> BoxFuture<'a, Result<HashMap<String, Option<Digest>>, Error>> {
        Box::pin(async move {
            let told = self.held(repository, targets).await?;
            Ok(told.into_iter().filter(|(_, digest)| digest.is_some()).collect())
        })
    }

    fn tags_of<'a>(&'a self, repository: &'a str, digest: &'a Digest) -> BoxFuture<'a, Result<Vec<String>, Error>> {
        Box::pin(self.tags_of(repository, digest))
    }

    fn tells_times(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_ecr::types::Image;

    use super::*;

    #[test]
    fn an_answer_tells_of_tags_and_digests_and_only_not_found_means_that_there_is_none() {
        let digest = |of: &str| Digest::of(of.as_bytes()).to_string();
        let id = |digest: Option<&str>, tag: Option<&str>| {
            ImageIdentifier::builder()
                .set_image_digest(digest.map(str::to_owned))
                .set_image_tag(tag.map(str::to_owned))
                .build()
        };
        let failure = |id, code| ImageFailure::builder().image_id(id).failure_code(code).build();
        let image = |id| Image::builder().image_id(id).build();
        let (both, child) = (digest("both"), digest("child"));
        let (gone, closed, silent) = (digest("gone"), digest("closed"), digest("silent"));
        let answer = BatchGetImageOutput::builder()
            // ECR may or may not answer twice for a tag and its digest, and name a tag that nobody asked for.
            .images(image(id(Some(&both), Some("v1"))))
            .images(image(id(Some(&child), Some("other"))))
            .failures(failure(id(None, Some("v2")), ImageFailureCode::ImageNotFound))
            .failures(failure(id(Some(&gone), None), ImageFailureCode::ImageNotFound))
            .failures(failure(id(Some(&closed), None), ImageFailureCode::KmsError))
            .build();
        let targets = ["v1", "v2", &both, &child, &gone, &closed, &silent].map(str::to_owned);
        let told: HashMap<_, _> = told(&answer, &targets).into_iter().collect();
        let parsed = |text: &String| text.parse::<Digest>().ok();
        let expected = HashMap::from([
            ("v1".to_owned(), parsed(&both)),
            ("v2".to_owned(), None),
            (both.clone(), parsed(&both)),
            (child.clone(), parsed(&child)),
            (gone, None),
        ]);
        assert_eq!(told, expected);
    }
}
