//! ECR's quotas of what may be held: repositories in a registry, images in a repository, tags on an image.

use crate::{
    aws::ApiError,
    registry::{
        Builder,
        reply::{Halt, refuse},
    },
    store::Repository,
};

/// How much may be held; none: any number.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Quotas {
    repositories: Option<usize>,
    images: Option<usize>,
    tags: Option<usize>,
}

impl Builder {
    /// ECR: how many repositories the registry may have. The real quota is 100,000, and 10,000 at ECR Public.
    #[must_use]
    pub fn repository_quota(mut self, count: usize) -> Self {
        self.quotas.repositories = Some(count);
        self
    }

    /// ECR: how many images a repository may have. The real quota is 100,000.
    #[must_use]
    pub fn image_quota(mut self, count: usize) -> Self {
        self.quotas.images = Some(count);
        self
    }

    /// ECR: how many tags an image may have. The real quota is 1,000.
    #[must_use]
    pub fn tag_quota(mut self, count: usize) -> Self {
        self.quotas.tags = Some(count);
        self
    }
}

impl Quotas {
    /// Whether one repository more may be created beside `held`. The exception is documented (ECR API, `CreateRepository`),
    /// its text is not: it is worded like the one on images.
    pub(crate) fn repository(self, held: usize, account: &str) -> Result<(), ApiError> {
        let Some(most) = self.repositories.filter(|most| held >= *most) else { return Ok(()) };
        let text = format!(
            "The registry with id '{account}' already has the maximum allowed number of repositories which is '{most}'"
        );
        Err(ApiError::client("LimitExceededException", text))
    }

    /// Whether the image `digest` may be put into `found`, the repository `name`, under these tags.
    ///
    /// Sources: aws/containers-roadmap, issue 2159 (403); vllm-project/vllm, issue 48065, and medic/cht-core, issue 11099
    /// (the texts).
    pub(crate) fn image(
        self,
        found: &Repository,
        (account, name): (&str, &str),
        digest: &str,
        tags: &[String],
    ) -> Result<(), Halt> {
        let place = format!("repository with name '{name}' in registry with id '{account}'");
        let new = !found.manifests.contains_key(digest);
        if let Some(most) = self.images.filter(|most| new && found.manifests.len() >= *most) {
            let text = format!("The {place} already has the maximum allowed number of images which is '{most}'");
            return Err(refuse(403, "DENIED", &text));
        }
        let held = found.tags_of(digest);
        let more: Vec<&String> = tags.iter().filter(|tag| !held.contains(tag)).collect();
        match (self.tags, more.first()) {
            (Some(most), Some(tag)) if held.len() + more.len() > most => {
                let text = format!(
                    "Adding tag '{tag}' to an image in the {place} exceeds the maximum allowed number of tags per image \
                     which is '{most}'"
                );
                Err(refuse(403, "DENIED", &text))
            }
            _ => Ok(()),
        }
    }
}
