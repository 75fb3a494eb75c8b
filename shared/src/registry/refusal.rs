//! What a registry's "no" means: whether another try may do, and what to do about it. The one place that reads statuses,
//! codes and, where a registry leaves no other way, texts.

use std::time::Duration;

use http::StatusCode;

use super::{Repository, Side, request::Operation};
use crate::{
    error::{Class, Error, ErrorType},
    oci::ErrorEnvelope,
    provider::{Action, Provider, UploadStrategy},
    retry::retryable_status,
};

/// A registry's "no".
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) envelope: ErrorEnvelope,
    pub(super) challenges: Vec<String>,
    pub(super) retry_after: Option<Duration>,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.status.as_u16())?;
        if !self.envelope.code.is_empty() {
            write!(f, " {}", self.envelope.code)?;
        }
        if !self.envelope.message.is_empty() {
            write!(f, " \"{}\"", self.envelope.message)?;
        }
        Ok(())
    }
}

impl Repository {
    /// What a registry's "no" means.
    pub(super) fn refusal(&self, operation: &Operation, refused: &Refused, once: bool) -> Error {
        let (error_type, advice) = self.meaning(operation, refused);
        let text = format!("{}: {refused}{advice}", self.doing(operation));
        let error = Error::new(error_type, text).retry_after(refused.retry_after);
        // What is no passing trouble and may do all the same: an upload session is gone, another one can be had.
        let lost = operation.action == Action::Upload && !retryable_status(refused.status);
        let again = error.class() == Class::Later && (once || lost);
        if again { error.retry_above() } else { error }
    }

    pub(super) fn describe_unauthorized(&self, operation: &Operation, refused: &Refused, cause: &Error) -> Error {
        Error::new(cause.error_type, format!("{}: {refused}; {}", self.doing(operation), cause.message))
    }

    fn meaning(&self, operation: &Operation, refused: &Refused) -> (ErrorType, &'static str) {
        let writes_manifest = operation.action == Action::PutManifest;
        let code = refused.envelope.code.as_str();
        // ECR's texts name the repository, which may itself be called anything.
        let message = refused.envelope.message.replace(&self.name, "").replace(&operation.object, "");
        // ECR uses TAG_INVALID for an immutable tag, and Harbor a code for many things; the status is not documented, so the
        // code and the text decide.
        let ecr = matches!(self.client.provider, Provider::Ecr | Provider::EcrPublic);
        let ecr_says_so = ecr && code == "TAG_INVALID";
        if writes_manifest && refused.status.is_client_error() && (ecr_says_so || message.contains("immutable")) {
            return (ErrorType::TagImmutable, "; the tag can't be moved: push under another tag, or make it mutable");
        }
        if let Some(meaning) = removal_refused(operation.action, refused) {
            return meaning;
        }
        let object = operation.object.as_str();
        match (refused.status.as_u16(), code) {
            // What the object is called is all that can be wrong with it: the bytes were verified.
            (400 | 405, "" | "DIGEST_INVALID" | "UNSUPPORTED" | "MANIFEST_INVALID" | "NAME_INVALID")
                if self.side == Side::Destination && object.contains(':') && !object.starts_with("sha256:") =>
            {
                (ErrorType::ManifestInvalid, ALGORITHM_ADVICE)
            }
            // The one operation that its guide leaves out of the distribution API.
            (405, _) | (_, "UNSUPPORTED")
                if operation.action == Action::List && self.client.provider == Provider::EcrPublic =>
            {
                (ErrorType::Denied, NO_LIST_ADVICE)
            }
            (401, _) => (ErrorType::Unauthorized, "; check this registry's credentials"),
            // ECR denies what would exceed a quota, and has no code for it: the text tells it from a right that is missing.
            (403, _) if ecr && writes_manifest && message.contains("maximum allowed number") => {
                let of_tags = message.contains("tags per image");
                (ErrorType::Denied, if of_tags { TAG_QUOTA_ADVICE } else { IMAGE_QUOTA_ADVICE })
            }
            (403, _) => (ErrorType::Denied, "; give these credentials (or this role) the right to do it"),
            // Reads of blobs follow redirects; nothing else is expected to lead away.
            (300..=399, _) => (ErrorType::UnsafeRedirect, "; only reads of blobs follow redirects"),
            (404, "NAME_UNKNOWN") if self.side == Side::Destination => (ErrorType::RepositoryNotFound, CREATE_ADVICE),
            // ECR names missing layers in the text, and its code for it is not documented.
            (404, _) if writes_manifest => (ErrorType::BlobUnavailable, "; what is missing is sent again"),
            // A body, a method or a chunk that the registry does not take, as Docker Hub (400), GAR (405), ACR (413) and ECR
            // (short parts) say it: the strategy is another provider's.
            (405 | 411 | 413, _) if operation.action == Action::Upload => (ErrorType::InvalidConfig, WAY_ADVICE),
            (400, "")
                if operation.action == Action::Upload
                    && matches!(self.client.provider.upload_strategy(), UploadStrategy::StreamedPut) =>
            {
                (ErrorType::InvalidConfig, WAY_ADVICE)
            }
            (400, "BLOB_UPLOAD_INVALID") if operation.action == Action::Upload && message.contains("layer parts") => {
                (ErrorType::InvalidConfig, WAY_ADVICE)
            }
            // An upload session that is gone, or bytes (verified here) that broke on their way: a new session does.
            (404 | 416, _) if operation.action == Action::Upload => (ErrorType::Unavailable, ""),
            (_, "BLOB_UPLOAD_UNKNOWN" | "BLOB_UPLOAD_INVALID" | "DIGEST_INVALID" | "SIZE_INVALID")
                if operation.action == Action::Upload =>
            {
                (ErrorType::Unavailable, "")
            }
            (404, _) if self.side == Side::Destination => (ErrorType::RepositoryNotFound, CREATE_ADVICE),
            (404, _) => (ErrorType::SourceNotFound, ""),
            (408 | 499, _) => (ErrorType::Timeout, ""),
            (429, _) => (ErrorType::Throttled, ""),
            (413, _) if writes_manifest => (ErrorType::ManifestTooLarge, ""),
            (_, "MANIFEST_BLOB_UNKNOWN" | "BLOB_UNKNOWN") if writes_manifest => {
                (ErrorType::BlobUnavailable, "; what is missing is sent again")
            }
            (_, "DIGEST_INVALID" | "SIZE_INVALID") if refused.status.is_client_error() => {
                (ErrorType::DigestMismatch, "")
            }
            // ECR's word for artifacts that it does not know; no other try changes it.
            (405, _) if writes_manifest && ecr => (
                ErrorType::ManifestInvalid,
                "; ECR takes no manifest of this kind: leave the artifact out of the rules",
            ),
            (400..=499, _) if writes_manifest => (ErrorType::ManifestInvalid, "; the registry does not take this kind"),
            (400..=499, _) => (ErrorType::Denied, "; the registry does not take the request as it is"),
            _ => (ErrorType::Unavailable, ""),
        }
    }
}

/// What a registry means that doesn't remove a tag: by the specification 400 or 405 where it never does, and distribution 2
/// looks for a digest in the tag. Source: OCI distribution-spec, "Deleting tags".
fn removal_refused(action: Action, refused: &Refused) -> Option<(ErrorType, &'static str)> {
    let never = matches!(refused.status.as_u16(), 400 | 405 | 501) || refused.envelope.code == "UNSUPPORTED";
    (action == Action::RemoveTag && never).then_some((
        ErrorType::InvalidConfig,
        "; the registry removes no single tags: switch deletions on there if it can (distribution 3: \
         storage.delete.enabled), or leave `delete` out of the rules that lead to it and remove the tag by its own means",
    ))
}

/// What to do about an upload that is sent in a way that the registry does not take.
pub(super) const WAY_ADVICE: &str = "; the registry does not take uploads sent in this way: set registries.HOST.provider to \
                                     what it is, or raise the limits of the proxy in front of it";

/// What to do about a digest that is none of SHA-256.
pub(super) const ALGORITHM_ADVICE: &str =
    "; the registry does not take digests of this algorithm: push the image with sha256 digests, or send it elsewhere";

/// What to do about a repository that is full: 100,000 images (ECR user guide, "Service quotas"). Source of the status and the
/// text: aws/containers-roadmap, issue 2159; medic/cht-core, issue 11099.
const IMAGE_QUOTA_ADVICE: &str = "; this is a quota of ECR: remove images that are not needed (a lifecycle policy does so), \
                                  or ask AWS to raise it";

/// What to do about an image that has 1,000 tags (ECR user guide, "Service quotas").
const TAG_QUOTA_ADVICE: &str =
    "; this is a quota of ECR that can't be raised: remove tags of this image, or send fewer by the rule's `tags`";

/// What to do about ECR Public where it gives no list of tags (ECR Public user guide, "Registry concepts").
const NO_LIST_ADVICE: &str = "; ECR Public lists no tags here: send a message for each image instead, which names its \
                              `source` and `destination`";

/// What to do about a repository that is missing at the destination.
pub const CREATE_ADVICE: &str =
    "; create the repository, or allow it to be created (at ECR: registries.HOST.create_repository)";
