//! What a registry does otherwise than its personality.

use std::time::Duration;

use super::Builder;
use crate::registry::{
    Buckets,
    personality::{Locations, Parents},
};

impl Builder {
    /// Redirect blob reads to a second server.
    #[must_use]
    pub fn redirect_blobs(mut self) -> Self {
        self.traits.redirects_blobs = true;
        self
    }

    /// Answer blob reads without a redirect, also where the personality would.
    #[must_use]
    pub fn serve_blobs(mut self) -> Self {
        self.traits.redirects_blobs = false;
        self
    }

    /// Have the referrers API, or not.
    #[must_use]
    pub fn referrers(mut self, on: bool) -> Self {
        self.traits.referrers = on;
        self
    }

    /// Answer a put of what refers to something with `OCI-Subject`, or not.
    #[must_use]
    pub fn name_subjects(mut self, on: bool) -> Self {
        self.traits.names_subjects = on;
        self
    }

    /// Answer any list of referrers with an empty one, as what stands before a registry without the API may.
    #[must_use]
    pub fn lists_nothing(mut self) -> Self {
        self.traits.lists_nothing = true;
        self.traits.names_subjects = false;
        self
    }

    /// Answer lists of referrers with this `Content-Type`.
    #[must_use]
    pub fn referrers_type(mut self, content_type: &'static str) -> Self {
        self.traits.referrers_type = content_type;
        self
    }

    /// Take an index whatever its descriptors say, as some registries do.
    #[must_use]
    pub fn take_any_descriptor(mut self) -> Self {
        self.traits.checks_descriptors = false;
        self
    }

    /// Give so many referrers on one page.
    #[must_use]
    pub fn referrers_page(mut self, count: usize) -> Self {
        self.referrers_page = Some(count);
        self
    }

    /// Give so many entries at most on a page of tags, repositories or images, whatever is asked for.
    #[must_use]
    pub fn list_page(mut self, count: usize) -> Self {
        self.list_page = Some(count);
        self
    }

    /// ECR: answer 405 to manifests with this `artifactType`, or config type where they have none
    /// (aws/containers-roadmap, issue 2783).
    #[must_use]
    pub fn refuse_artifacts(mut self, artifact_type: &str) -> Self {
        self.refused_artifacts.push(artifact_type.to_owned());
        self
    }

    /// ECR Public: answer a blob's `HEAD`, for clients that can't ask its API.
    #[must_use]
    pub fn answer_blob_heads(mut self) -> Self {
        self.traits.refuses_blob_head = false;
        self
    }

    /// ECR Public: answer `tags/list`, which sources disagree about.
    #[must_use]
    pub fn lists_tags(mut self) -> Self {
        self.traits.lists_tags = true;
        self
    }

    /// GHCR: end an upload so long after its beginning, instead of after ten minutes.
    #[must_use]
    pub fn upload_limit(mut self, limit: Duration) -> Self {
        self.traits.upload_limit = Some(limit);
        self
    }

    /// ECR: how long the check of manifests and the API lag behind the upload of a blob.
    #[must_use]
    pub fn validation_lag(mut self, lag: Duration) -> Self {
        self.validation_lag = lag;
        self
    }

    /// ECR: the account setting `BLOB_MOUNTING` (off by default). Elsewhere: whether mounts are granted at all.
    #[must_use]
    pub fn blob_mounting(mut self, on: bool) -> Self {
        self.blob_mounting = on;
        self
    }

    /// Whether a push makes a missing repository; personalities have their own default.
    #[must_use]
    pub fn creates_repositories(mut self, on: bool) -> Self {
        self.traits.creates_repositories = on;
        if on {
            self.traits.parents = Parents::None;
        }
        self
    }

    /// Whether `Location` of an upload is absolute.
    #[must_use]
    pub fn absolute_locations(mut self, on: bool) -> Self {
        self.traits.locations = if on { Locations::Absolute } else { Locations::Relative };
        self
    }

    /// HTTP/2: how many streams a client may have open on one connection; the default is 100.
    #[must_use]
    pub fn max_concurrent_streams(mut self, streams: u32) -> Self {
        self.max_concurrent_streams = streams;
        self
    }

    /// Speak no HTTP/2.
    #[must_use]
    pub fn http1_only(mut self) -> Self {
        self.http1_only = true;
        self
    }

    /// How long tokens hold; the default is 300 s, and 12 h for ECR.
    #[must_use]
    pub fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.token_lifetime = lifetime;
        self
    }

    /// How long refresh tokens hold; the default is ACR's 3 h.
    #[must_use]
    pub fn refresh_lifetime(mut self, lifetime: Duration) -> Self {
        self.refresh_lifetime = lifetime;
        self
    }

    /// ECR: the status for an expired token; the default is 403, and 400 at ECR Public.
    #[must_use]
    pub fn expired_status(mut self, status: u16) -> Self {
        self.expired_status = status;
        self
    }

    /// ECR: break the connection on an upload to a missing repository instead of answering 404.
    #[must_use]
    pub fn missing_repository_eof(mut self) -> Self {
        self.missing_repository_eof = true;
        self
    }

    /// Keep only digest and size of uploaded blobs larger than 64 KiB, for tests of many gigabytes.
    #[must_use]
    pub fn discard_blobs(mut self) -> Self {
        self.keep_blobs = Some(64 * 1024);
        self
    }

    /// Take manifests without looking for what they refer to.
    #[must_use]
    pub fn believe_manifests(mut self) -> Self {
        self.traits.checks_references = false;
        self
    }

    /// ECR: the request rates of its service quotas.
    #[must_use]
    pub fn rate_limits(mut self, on: bool) -> Self {
        self.buckets = if on { Buckets::quotas(self.personality) } else { Buckets::default() };
        self
    }

    /// ECR: one request rate, such as `PutImage`, in requests a second.
    #[must_use]
    pub fn rate_limit(self, operation: &'static str, per_second: u32) -> Self {
        self.buckets.limit(operation, per_second);
        self
    }

    /// Docker Hub: how many manifest reads are allowed before it answers 429.
    #[must_use]
    pub fn pull_limit(mut self, pulls: u64) -> Self {
        self.pull_limit = Some(pulls);
        self
    }

    /// Harbor: how many bytes of blobs its repositories may hold before uploads are refused with 412.
    #[must_use]
    pub fn quota(mut self, bytes: u64) -> Self {
        self.quota = Some(bytes);
        self
    }

    /// Harbor: answer 500 where a project is full, as version 1.9 did (goharbor/harbor, issue 11647).
    #[must_use]
    pub fn quota_answers_500(mut self) -> Self {
        self.quota_status = 500;
        self
    }

    /// ACR: break the connection at a body that is too large, instead of answering 413 (goharbor/harbor, issue 23015).
    #[must_use]
    pub fn breaks_off_large_bodies(mut self) -> Self {
        self.traits.breaks_off_large_bodies = true;
        self
    }

    /// Say `OCI-Chunk-Min-Length`, and refuse smaller chunks but the last.
    #[must_use]
    pub fn least_chunk(mut self, bytes: u64) -> Self {
        self.traits.least_chunk = Some(bytes);
        self
    }

    /// Refuse larger `PATCH`es: what ECR's quotas say of parts is not known of these.
    #[must_use]
    pub fn largest_part(mut self, bytes: u64) -> Self {
        self.traits.largest_part = Some(bytes);
        self
    }

    /// Whether a `GET` of an upload is answered: no source says that ECR does.
    #[must_use]
    pub fn answers_upload_status(mut self, on: bool) -> Self {
        self.traits.upload_status = on;
        self
    }
}
