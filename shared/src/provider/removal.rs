//! How a single tag can be removed, which the distribution specification leaves to each registry.

use super::Provider;

/// How a registry removes one tag and leaves the others of its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagRemoval {
    /// ECR's own API, by the tag.
    Api,
    /// `DELETE /v2/<name>/manifests/<tag>` (OCI distribution-spec, end-9), with these actions in the token's scope.
    ByTag {
        /// The actions, as a token service knows them.
        actions: &'static str,
    },
    /// It can't, or would take the image's other tags along: what to say and what to do.
    Refused(&'static str),
}

impl Provider {
    /// How a single tag is removed. A new provider doesn't compile until it is decided.
    #[must_use]
    pub fn tag_removal(self) -> TagRemoval {
        match self {
            // ECR API, `BatchDeleteImage`: "You can remove a tag from an image by specifying the image's tag".
            Self::Ecr | Self::EcrPublic => TagRemoval::Api,
            // genuinetools/reg, issue 136: 202, and the digest can't be deleted before its tags are.
            Self::Gar => TagRemoval::ByTag { actions: "pull,push" },
            // quay/quay, endpoints/v2/manifest.py: the route by tag deletes the tag; its token service refuses a scope with
            // any other action than pull and push.
            Self::Quay => TagRemoval::ByTag { actions: "pull,push" },
            // As distribution 3, zot and others have it (Docker registry, "Token scope": `delete` is an action of its own).
            // Harbor and distribution 2 refuse it, and say so.
            Self::Generic => TagRemoval::ByTag { actions: "pull,push,delete" },
            // docker/hub-feedback, issues 1759 and 2360: 405.
            Self::DockerHub => TagRemoval::Refused(
                "takes no deletions through the registry's API; leave `delete` out and remove tags in Docker Hub's own UI \
                 or API",
            ),
            // skopeo, issue 1880: 405. GitHub's own API deletes versions, which are digests with all their tags.
            Self::Ghcr => TagRemoval::Refused(
                "takes no deletions through the registry's API, and GitHub's own deletes an image with all its tags; leave \
                 `delete` out and let a workflow remove package versions",
            ),
            // ACR documentation, "Delete container images": "Delete by tag: Deletes an image, the tag, [...] and all other
            // tags associated with the image."
            Self::Acr => TagRemoval::Refused(
                "deletes an image with all its tags where one is deleted; leave `delete` out and use `az acr repository \
                 untag`, or a retention policy",
            ),
        }
    }
}
