//! How the registries of the world differ, as data.

use std::{str::FromStr, time::Duration};

/// Which registry to be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Personality {
    /// The specification to the letter.
    Plain,
    /// Amazon ECR, private.
    Ecr,
    /// Amazon ECR Public.
    EcrPublic,
    /// GitHub's container registry.
    Ghcr,
    /// Google Artifact Registry.
    Gar,
    /// Azure Container Registry.
    Acr,
    /// Docker Hub.
    DockerHub,
    /// Quay.io.
    Quay,
    /// Harbor.
    Harbor,
}

impl Personality {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Plain,
        Self::Ecr,
        Self::EcrPublic,
        Self::Ghcr,
        Self::Gar,
        Self::Acr,
        Self::DockerHub,
        Self::Quay,
        Self::Harbor,
    ];

    /// The name that [`FromStr`] takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Ecr => "ecr",
            Self::EcrPublic => "ecr-public",
            Self::Ghcr => "ghcr",
            Self::Gar => "gar",
            Self::Acr => "acr",
            Self::DockerHub => "docker-hub",
            Self::Quay => "quay",
            Self::Harbor => "harbor",
        }
    }
}

impl FromStr for Personality {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|personality| personality.name() == text);
        found.ok_or_else(|| format!("{text:?} is none of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// The artifact manifest of OCI 1.1's release candidates.
pub(crate) const OCI_ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";
/// ORAS's artifact manifest.
pub(crate) const ORAS_ARTIFACT: &str = "application/vnd.cncf.oras.artifact.manifest.v1+json";

/// What becomes of `POST ?mount=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mounting {
    /// Any blob of the registry, `from` or not.
    Anonymous,
    /// Needs `from`; without it an ordinary upload begins.
    NeedsFrom,
    /// Needs `from`; without it an error.
    RefusesWithoutFrom,
    /// ECR: needs the account setting and a committed manifest that refers to the blob.
    EcrRules,
    /// Needs `from`, which must be of the same owner: the first part of the name.
    SameOwner,
    /// Never.
    Never,
}

/// What must be there before a push, as it is no push that makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parents {
    /// Nothing.
    None,
    /// Harbor: the project, the first part of a name.
    Project,
    /// GAR: the repository, the first two parts of a name, which has three or more.
    Repository,
    /// Docker Hub: no name is without a namespace.
    Namespace,
}

/// What `DELETE …/manifests/<tag>` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TagDeletion {
    /// Removes the tag alone.
    Untags,
    /// Removes the image with all its tags.
    WholeImage,
    /// Manifests are deleted by digest alone.
    DigestsOnly,
    /// Nothing is deleted at all.
    Never,
}

/// Where `Location` of an upload leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Locations {
    /// Relative, with a state token good for one use.
    Relative,
    /// Absolute, likewise.
    Absolute,
    /// Absolute, without a state token.
    Stateless,
    /// Relative, on GAR's path for uploads.
    Artifacts,
    /// Relative, with ACR's query.
    NoUploadCache,
}

/// The traits of a personality.
#[derive(Debug, Clone)]
pub(crate) struct Traits {
    /// ECR's error texts, token and statuses.
    pub(crate) ecr: bool,
    /// A push makes a missing repository.
    pub(crate) creates_repositories: bool,
    pub(crate) mounting: Mounting,
    pub(crate) locations: Locations,
    /// `POST ?digest=` takes the blob at once.
    pub(crate) single_post: bool,
    pub(crate) referrers: bool,
    /// A put of what refers to something is answered with `OCI-Subject`.
    pub(crate) names_subjects: bool,
    /// Lists of referrers are answered, and never name anything; `OCI-Subject` is not.
    pub(crate) lists_nothing: bool,
    /// The type that lists of referrers are answered with.
    pub(crate) referrers_type: &'static str,
    /// Descriptors in an index are checked.
    pub(crate) checks_descriptors: bool,
    /// `HEAD` of a blob is always refused.
    pub(crate) refuses_blob_head: bool,
    /// PATCH is refused.
    pub(crate) refuses_patch: bool,
    /// A later PATCH replaces what earlier ones sent.
    pub(crate) patch_overwrites: bool,
    /// The largest body of a PATCH with `Content-Range`.
    pub(crate) ranged_patch_limit: Option<u64>,
    /// The largest request body at all (an HTML answer from the proxy in front).
    pub(crate) body_limit: Option<u64>,
    /// A larger one breaks the connection instead of being answered.
    pub(crate) breaks_off_large_bodies: bool,
    /// Blob bodies need `Content-Length`.
    pub(crate) needs_length: bool,
    /// Blob bodies after the first need `Content-Range`.
    pub(crate) needs_range: bool,
    /// Blob reads are redirected to the blob origin.
    pub(crate) redirects_blobs: bool,
    /// Manifest reads are counted and told in headers.
    pub(crate) hub_limits: bool,
    /// The path of the token service where it shares the registry's host.
    pub(crate) token_path: Option<&'static str>,
    /// The member of the token service's answer; none: both.
    pub(crate) token_member: Option<&'static str>,
    /// The largest body of a PUT that carries a blob (a bare 400).
    pub(crate) put_limit: Option<u64>,
    /// What `OCI-Chunk-Min-Length` says, and what a chunk that is not the last has at least.
    pub(crate) least_chunk: Option<u64>,
    /// The largest body of a PATCH.
    pub(crate) largest_part: Option<u64>,
    /// `GET` of an upload tells how far it has come.
    pub(crate) upload_status: bool,
    pub(crate) parents: Parents,
    pub(crate) tag_deletion: TagDeletion,
    /// Digests of SHA-512 are taken.
    pub(crate) sha512: bool,
    /// `PUT …/manifests/<digest>?tag=` sets tags (draft of the specification's 1.2).
    pub(crate) tag_param: bool,
    /// The artifact manifests of before OCI 1.1 are taken: ORAS's, or both kinds.
    pub(crate) artifacts: &'static [&'static str],
    /// An index may list blobs, as the caches that BuildKit writes do.
    pub(crate) indexes_of_blobs: bool,
    /// How long after its beginning an upload is ended.
    pub(crate) upload_limit: Option<Duration>,
    /// `tags/list` is answered.
    pub(crate) lists_tags: bool,
    /// A manifest is refused whose blobs or children are missing.
    pub(crate) checks_references: bool,
}

impl Traits {
    pub(crate) fn of(personality: Personality) -> Self {
        let plain = Self {
            ecr: false,
            creates_repositories: true,
            mounting: Mounting::Anonymous,
            locations: Locations::Relative,
            single_post: true,
            referrers: true,
            names_subjects: true,
            lists_nothing: false,
            referrers_type: "application/vnd.oci.image.index.v1+json",
            checks_descriptors: true,
            refuses_blob_head: false,
            refuses_patch: false,
            patch_overwrites: false,
            ranged_patch_limit: None,
            body_limit: None,
            breaks_off_large_bodies: false,
            needs_length: false,
            needs_range: false,
            redirects_blobs: false,
            hub_limits: false,
            token_path: None,
            token_member: None,
            put_limit: None,
            least_chunk: None,
            largest_part: None,
            upload_status: true,
            parents: Parents::None,
            tag_deletion: TagDeletion::Untags,
            sha512: true,
            tag_param: true,
            artifacts: &[OCI_ARTIFACT, ORAS_ARTIFACT],
            indexes_of_blobs: true,
            upload_limit: None,
            lists_tags: true,
            checks_references: true,
        };
        // What most hosted registries share.
        let hosted = Self {
            single_post: false,
            mounting: Mounting::NeedsFrom,
            locations: Locations::Absolute,
            // No hosted registry is known to take these.
            sha512: false,
            tag_param: false,
            artifacts: &[],
            indexes_of_blobs: false,
            ..plain.clone()
        };
        match personality {
            Personality::Plain => plain,
            Personality::Ecr => Self {
                ecr: true,
                creates_repositories: false,
                mounting: Mounting::EcrRules,
                // Nobody has confirmed that it does.
                names_subjects: false,
                locations: Locations::Stateless,
                redirects_blobs: true,
                // Its own sample of an event names one.
                artifacts: &[ORAS_ARTIFACT],
                ..hosted
            },
            Personality::EcrPublic => Self {
                ecr: true,
                creates_repositories: false,
                mounting: Mounting::Never,
                // Not known either.
                names_subjects: false,
                locations: Locations::Stateless,
                refuses_blob_head: true,
                // "with the exception of the tags API" (ECR Public user guide); it has been seen to work.
                lists_tags: false,
                redirects_blobs: true,
                token_path: Some("/token/"),
                token_member: Some("token"),
                ..hosted
            },
            Personality::Ghcr => Self {
                mounting: Mounting::SameOwner,
                // skopeo, issue 1880.
                tag_deletion: TagDeletion::Never,
                referrers: false,
                patch_overwrites: true,
                ranged_patch_limit: Some(4 * 1024 * 1024),
                // GitHub docs, "Working with the Container registry".
                upload_limit: Some(Duration::from_secs(600)),
                redirects_blobs: true,
                token_path: Some("/token"),
                token_member: Some("token"),
                ..hosted
            },
            Personality::Gar => Self {
                parents: Parents::Repository,
                // Sources disagree; the stricter one has seen none granted.
                mounting: Mounting::Never,
                refuses_patch: true,
                needs_length: true,
                single_post: true,
                locations: Locations::Artifacts,
                token_path: Some("/v2/token"),
                ..hosted
            },
            Personality::Acr => Self {
                body_limit: Some(20 * 1024 * 1024),
                // ACR documentation, "Delete container images".
                tag_deletion: TagDeletion::WholeImage,
                needs_length: true,
                needs_range: true,
                locations: Locations::NoUploadCache,
                redirects_blobs: true,
                token_path: Some("/oauth2/token"),
                token_member: Some("access_token"),
                ..hosted
            },
            Personality::DockerHub => Self {
                hub_limits: true,
                // docker/hub-feedback, issue 2360.
                tag_deletion: TagDeletion::Never,
                redirects_blobs: true,
                parents: Parents::Namespace,
                // Seen with a layer of 100 MB (atlanhq/application-sdk, pull request 2020); where it begins is not known.
                put_limit: Some(20 * 1024 * 1024),
                ..hosted
            },
            Personality::Quay => Self {
                mounting: Mounting::RefusesWithoutFrom,
                redirects_blobs: true,
                token_path: Some("/v2/auth"),
                token_member: Some("token"),
                ..hosted
            },
            Personality::Harbor => Self {
                parents: Parents::Project,
                // goharbor/harbor, pull request 11971.
                tag_deletion: TagDeletion::DigestsOnly,
                token_path: Some("/service/token"),
                // It is made of Docker's own registry, which takes them.
                sha512: true,
                indexes_of_blobs: true,
                ..hosted
            },
        }
    }
}
