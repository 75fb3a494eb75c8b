//! What kind of registry stands behind a host, and what is known of that kind. Pure data.

mod names;
mod removal;

use std::time::Duration;

pub use names::unfit_name;
pub use removal::TagRemoval;
use schemars::JsonSchema;
use serde::Deserialize;

const MIB: u64 = 1024 * 1024;

/// A kind of registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// Amazon ECR, private.
    Ecr,
    /// Amazon ECR Public.
    EcrPublic,
    /// GitHub's container registry.
    Ghcr,
    /// Google Artifact Registry, and `gcr.io`, which it serves.
    Gar,
    /// Azure Container Registry.
    Acr,
    /// Docker Hub.
    DockerHub,
    /// Quay.io.
    Quay,
    /// Any other registry that follows the OCI distribution specification.
    Generic,
}

/// What is asked of a registry, as registries count it: quotas are cut by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Whether there is a manifest.
    HeadManifest,
    /// A manifest is read: a pull, where pulls are counted.
    GetManifest,
    /// A manifest is put.
    PutManifest,
    /// Whether there is a blob.
    HeadBlob,
    /// A blob is read.
    GetBlob,
    /// An upload is started, or a mount asked for.
    StartUpload,
    /// The bytes of an upload, and its end.
    Upload,
    /// A page of tags or repositories.
    List,
    /// A tag is removed.
    RemoveTag,
}

/// How a blob's bytes are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadStrategy {
    /// `POST`, then one `PUT` that carries the whole blob, streamed with its exact `Content-Length`.
    StreamedPut,
    /// `POST`, one `PATCH` without `Content-Range` that carries the whole blob, an empty `PUT`.
    SinglePatch,
    /// `POST`, `PATCH`es of this many bytes with `Content-Range`, an empty `PUT`.
    Chunked {
        /// Bytes of each chunk but the last.
        chunk: u64,
    },
}

impl Provider {
    /// Tells the provider from a registry's host, as [`crate::oci::normalize_host`] gives it.
    #[must_use]
    pub fn of_host(host: &str) -> Self {
        if EcrHost::parse(host).is_some() {
            return Self::Ecr;
        }
        let name = host.split(':').next().unwrap_or(host);
        match name {
            "public.ecr.aws" => Self::EcrPublic,
            "ghcr.io" => Self::Ghcr,
            "docker.io" => Self::DockerHub,
            "quay.io" => Self::Quay,
            "gcr.io" => Self::Gar,
            _ if name.ends_with("-docker.pkg.dev") || name.ends_with(".gcr.io") => Self::Gar,
            _ if [".azurecr.io", ".azurecr.cn", ".azurecr.us"].iter().any(|suffix| name.ends_with(suffix)) => Self::Acr,
            _ => Self::Generic,
        }
    }

    /// The way of sending blobs that this provider takes for every size.
    ///
    /// Sources: `docs/registries/`. A new provider doesn't compile until it is decided.
    #[must_use]
    pub fn upload_strategy(self) -> UploadStrategy {
        match self {
            // ECR reports a stuck `Range` for PATCHes and wants parts of 5 MiB at least; one PUT of any size works.
            // Artifact Registry documents chunked uploads as unsupported.
            Self::Ecr | Self::EcrPublic | Self::Gar | Self::Quay | Self::Generic => UploadStrategy::StreamedPut,
            // GHCR answers ranged PATCHes over 4 MiB with 416; Docker Hub has refused a large single PUT with 400.
            Self::Ghcr | Self::DockerHub => UploadStrategy::SinglePatch,
            // A body over about 20 MB is answered with 413.
            Self::Acr => UploadStrategy::Chunked { chunk: 16 * MIB },
        }
    }

    /// The way of sending a blob that one invocation's time is too short for: in parts, so that another can go on. `None`
    /// where the registry takes no parts.
    ///
    /// Sources: as above; ECR user guide, "Service quotas": a part has 10 MiB at most. Its API's model says 20 MiB, and a layer
    /// of more bytes than [`Self::least_part`] can keep at 10 MiB needs more than the quota in any case.
    #[must_use]
    pub fn upload_in_parts(self, size: u64) -> Option<UploadStrategy> {
        match self {
            Self::Ecr | Self::EcrPublic => {
                let least = self.least_part(size).unwrap_or_default();
                Some(UploadStrategy::Chunked { chunk: least.max(10 * MIB) })
            }
            Self::Acr | Self::Quay | Self::Generic => Some(UploadStrategy::Chunked { chunk: 16 * MIB }),
            // GHCR overwrites what an earlier PATCH sent, Artifact Registry takes none, Docker Hub documents nothing.
            Self::Ghcr | Self::DockerHub | Self::Gar => None,
        }
    }

    /// The least bytes of every part but the last of a blob of `size` bytes, where that is documented: ECR takes none under
    /// 5 MiB, through the distribution API too, and counts them.
    ///
    /// Sources: ECR user guide, "Service quotas" (4,200 parts); ECR Public user guide, "Service quotas" (1,000).
    #[must_use]
    pub fn least_part(self, size: u64) -> Option<u64> {
        let most_parts = match self {
            Self::Ecr => 4_200,
            Self::EcrPublic => 1_000,
            Self::Ghcr | Self::Gar | Self::Acr | Self::DockerHub | Self::Quay | Self::Generic => return None,
        };
        Some(size.div_ceil(most_parts).max(5 * MIB))
    }

    /// How long the upload of one blob may take before the registry ends it, where that is documented.
    ///
    /// Source: GitHub docs, "Working with the Container registry" (10 minutes).
    #[must_use]
    pub fn upload_limit(self) -> Option<Duration> {
        match self {
            Self::Ghcr => Some(Duration::from_secs(600)),
            Self::Ecr | Self::EcrPublic | Self::Gar | Self::Acr | Self::DockerHub | Self::Quay | Self::Generic => None,
        }
    }

    /// Whether one call tells of a hundred blobs (`BatchCheckLayerAvailability`), so that it costs less than a question
    /// for the manifest that lists them.
    #[must_use]
    pub fn tells_of_many_blobs_at_once(self) -> bool {
        matches!(self, Self::Ecr | Self::EcrPublic)
    }

    /// The scheme and host to talk to for a registry of this identity.
    #[must_use]
    pub fn default_endpoint(self, host: &str) -> String {
        match self {
            // `docker.io` is an identity; the API lives elsewhere.
            Self::DockerHub if host == "docker.io" => "https://registry-1.docker.io".to_owned(),
            _ => format!("https://{host}"),
        }
    }

    /// Hosts beside the registry's own that its token service may have; `None`: any in the registry's own domain.
    ///
    /// The known services have tenants under one domain (`acme.azurecr.io`, `other.azurecr.io`), so there a neighbour is
    /// a stranger.
    #[must_use]
    pub fn token_hosts(self) -> Option<&'static [&'static str]> {
        match self {
            Self::DockerHub => Some(&["auth.docker.io"]),
            Self::Ecr | Self::EcrPublic | Self::Ghcr | Self::Gar | Self::Acr | Self::Quay => Some(&[]),
            Self::Generic => None,
        }
    }

    /// Requests of one kind that may be sent in a second, and how many at once, where that is documented: four fifths of
    /// the quota, since it is one account's in one region, over all who ask.
    ///
    /// Sources: ECR user guide, "Service quotas" (`PutImage` 10, `InitiateLayerUpload` and `CompleteLayerUpload` 100,
    /// `BatchCheckLayerAvailability` 1,000, which answers a blob's `HEAD`, `BatchGetImage` 2,000,
    /// `GetDownloadUrlForLayer` 3,000 a second); ECR Public user guide, "Service quotas" (10 uploads started, 10
    /// completed, 10 `PutImage`, 10 image pulls a second).
    #[must_use]
    pub fn pace(self, action: Action) -> Option<(u32, u32)> {
        match self {
            Self::Ecr => Some(match action {
                Action::PutManifest => (8, 8),
                Action::StartUpload | Action::Upload => (80, 20),
                Action::HeadBlob => (800, 100),
                Action::HeadManifest | Action::GetManifest | Action::List | Action::RemoveTag => (800, 100),
                Action::GetBlob => (2400, 100),
            }),
            Self::EcrPublic => match action {
                Action::PutManifest | Action::StartUpload | Action::Upload | Action::GetManifest => Some((8, 8)),
                Action::HeadBlob | Action::HeadManifest | Action::GetBlob | Action::List | Action::RemoveTag => None,
            },
            // None is documented, or none that still stands: their answers tell.
            Self::Ghcr | Self::Gar | Self::Acr | Self::DockerHub | Self::Quay | Self::Generic => None,
        }
    }

    /// Whether `HEAD` tells of a blob. ECR Public answers every one with 401 or 403
    /// (aws/containers-roadmap, issue 2671); what is not known to be there is sent.
    #[must_use]
    pub fn blob_head_tells(self) -> bool {
        self != Self::EcrPublic
    }

    /// Whether it is known to have the referrers API (`docs/registries`); of the others some have it and some haven't.
    #[must_use]
    pub fn has_referrers_api(self) -> bool {
        match self {
            Self::Ecr | Self::Gar | Self::Acr => true,
            Self::EcrPublic | Self::Ghcr | Self::DockerHub | Self::Quay | Self::Generic => false,
        }
    }

    /// Whether it lists tags: ECR Public does not, or not to everybody (`docs/registries/ecr-public.md`).
    #[must_use]
    pub fn lists_tags(self) -> bool {
        self != Self::EcrPublic
    }

    /// Whether reading a manifest counts against an allowance that looking for one does not touch
    /// (Docker Hub, "Usage and limits").
    #[must_use]
    pub fn counts_pulls(self) -> bool {
        self == Self::DockerHub
    }

    /// Whether an index that is there proves that its children are: ECR deletes no image that an index lists
    /// (`ImageReferencedByManifestList`). The specification lets registries be less strict.
    #[must_use]
    pub fn keeps_children(self) -> bool {
        self == Self::Ecr
    }
}

/// What the host of a private ECR registry tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EcrHost {
    /// The account that owns the registry, 12 digits.
    pub account: String,
    /// The registry's region.
    pub region: String,
    /// Whether the host is a FIPS endpoint, so that its API is asked at one, too.
    pub fips: bool,
    /// Whether the host answers over IPv6 as well.
    pub dual_stack: bool,
}

impl EcrHost {
    /// Reads `<account>.dkr.ecr.<region>.amazonaws.com` in all its shapes: FIPS (`ecr-fips`), dual-stack
    /// (`dkr-ecr.<region>.on.aws`), China, the EU sovereign and the isolated partitions; whatever the port.
    ///
    /// Source: amazon-ecr-credential-helper, `api/client.go`; ECR user guide, "IPv6".
    #[must_use]
    pub fn parse(host: &str) -> Option<Self> {
        const DOMAINS: [&str; 9] = [
            "amazonaws.com",
            "amazonaws.com.cn",
            "amazonaws.eu",
            "on.aws",
            "on.amazonwebservices.com.cn",
            "sc2s.sgov.gov",
            "c2s.ic.gov",
            "cloud.adc-e.uk",
            "csp.hci.ic.gov",
        ];
        const SERVICES: [(&str, bool); 4] =
            [("dkr.ecr.", false), ("dkr-ecr.", false), ("dkr.ecr-fips.", true), ("dkr-ecr-fips.", true)];
        let name = host.split(':').next().unwrap_or(host);
        let (account, rest) = name.split_once('.')?;
        let (rest, fips) = SERVICES.iter().find_map(|(prefix, fips)| Some((rest.strip_prefix(prefix)?, *fips)))?;
        let (region, domain) = rest.split_once('.')?;
        let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        let is_region = !region.is_empty() && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let dual_stack = domain.starts_with("on.");
        (is_account && is_region && DOMAINS.contains(&domain)).then(|| Self {
            account: account.to_owned(),
            region: region.to_owned(),
            fips,
            dual_stack,
        })
    }

    /// The host that events imply for the registry with this host: ECR's have several names.
    #[must_use]
    pub fn plain(host: &str) -> String {
        Self::parse(host).map_or_else(|| host.to_owned(), |home| Self::of_event(&home.account, &home.region))
    }

    /// The partition of its region, as ARNs name it: identities of one mean nothing in another.
    ///
    /// Source: AWS General Reference, "Amazon Resource Names"; botocore, `partitions.json`.
    #[must_use]
    pub fn partition(&self) -> &'static str {
        match self.region.split('-').next().unwrap_or_default() {
            "cn" => "aws-cn",
            "eusc" => "aws-eusc",
            _ if self.region.starts_with("us-gov-") => "aws-us-gov",
            _ if self.region.starts_with("us-isob-") => "aws-iso-b",
            _ if self.region.starts_with("us-isof-") => "aws-iso-f",
            _ if self.region.starts_with("us-iso-") => "aws-iso",
            _ if self.region.starts_with("eu-isoe-") => "aws-iso-e",
            _ => "aws",
        }
    }

    /// The commercial, GovCloud or China host of an account's registry in a region, as ECR's events imply it:
    /// they carry the account and the region, never the host.
    #[must_use]
    pub fn of_event(account: &str, region: &str) -> String {
        format!("{account}.dkr.ecr.{region}.{}", aws_domain(region))
    }
}

/// The domain of a region's public AWS endpoints.
#[must_use]
pub fn aws_domain(region: &str) -> &'static str {
    match region.split('-').next().unwrap_or_default() {
        "cn" => "amazonaws.com.cn",
        "eusc" => "amazonaws.eu",
        _ if region.starts_with("us-isob-") => "sc2s.sgov.gov",
        _ if region.starts_with("us-isof-") => "csp.hci.ic.gov",
        _ if region.starts_with("us-iso-") => "c2s.ic.gov",
        _ if region.starts_with("eu-isoe-") => "cloud.adc-e.uk",
        _ => "amazonaws.com",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_are_told_from_their_hosts() {
        for (host, provider) in [
            ("111122223333.dkr.ecr.us-east-1.amazonaws.com", Provider::Ecr),
            ("111122223333.dkr.ecr-fips.us-gov-west-1.amazonaws.com", Provider::Ecr),
            ("111122223333.dkr-ecr.us-east-1.on.aws", Provider::Ecr),
            ("111122223333.dkr-ecr-fips.us-east-1.on.aws", Provider::Ecr),
            ("111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn", Provider::Ecr),
            ("111122223333.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn", Provider::Ecr),
            ("111122223333.dkr.ecr.eusc-de-east-1.amazonaws.eu", Provider::Ecr),
            ("111122223333.dkr.ecr.us-iso-east-1.c2s.ic.gov", Provider::Ecr),
            ("11112222333.dkr.ecr.us-east-1.amazonaws.com", Provider::Generic),
            ("111122223333.dkr.ecr.us-east-1.amazonaws.com.evil.test", Provider::Generic),
            ("ecr.us-east-1.on.aws", Provider::Generic),
            ("public.ecr.aws", Provider::EcrPublic),
            ("ghcr.io", Provider::Ghcr),
            ("europe-west1-docker.pkg.dev", Provider::Gar),
            ("eu.gcr.io", Provider::Gar),
            ("acme.azurecr.cn", Provider::Acr),
            ("docker.io", Provider::DockerHub),
            ("quay.io", Provider::Quay),
            ("ghcr.io.evil.test", Provider::Generic),
            ("127.0.0.1:5000", Provider::Generic),
        ] {
            assert_eq!(Provider::of_host(host), provider, "{host}");
        }
    }

    #[test]
    fn parts_at_ecr_are_of_10_mib_until_there_would_be_too_many() {
        let part = |provider: Provider, size| match provider.upload_in_parts(size) {
            Some(UploadStrategy::Chunked { chunk }) => chunk,
            other => panic!("{other:?}"),
        };
        for (provider, most) in [(Provider::Ecr, 4_200), (Provider::EcrPublic, 1_000)] {
            for size in [0, 9 * MIB, most * 10 * MIB] {
                assert_eq!(part(provider, size), 10 * MIB, "{provider:?} {size}");
            }
            assert_eq!(part(provider, most * 10 * MIB + 1), 10 * MIB + 1);
            assert_eq!(provider.least_part(most * 5 * MIB), Some(5 * MIB));
        }
        let largest = 52_000 * MIB;
        assert!(largest.div_ceil(part(Provider::Ecr, largest)) <= 4_200 && part(Provider::Ecr, largest) < 13 * MIB);
        assert_eq!((part(Provider::Acr, largest), Provider::Acr.least_part(largest)), (16 * MIB, None));
    }

    #[test]
    fn an_ecr_host_tells_its_home_whatever_its_shape() {
        for (host, region, fips, dual_stack, partition) in [
            ("111122223333.dkr.ecr.us-east-1.amazonaws.com", "us-east-1", false, false, "aws"),
            ("111122223333.dkr.ecr.us-east-1.amazonaws.com:8443", "us-east-1", false, false, "aws"),
            ("111122223333.dkr.ecr-fips.us-east-1.amazonaws.com", "us-east-1", true, false, "aws"),
            ("111122223333.dkr-ecr.us-east-1.on.aws", "us-east-1", false, true, "aws"),
            ("111122223333.dkr-ecr-fips.us-east-1.on.aws", "us-east-1", true, true, "aws"),
            ("111122223333.dkr.ecr.us-gov-west-1.amazonaws.com", "us-gov-west-1", false, false, "aws-us-gov"),
            ("111122223333.dkr.ecr-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1", true, false, "aws-us-gov"),
            ("111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1", false, false, "aws-cn"),
            ("111122223333.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn", "cn-north-1", false, true, "aws-cn"),
            ("111122223333.dkr.ecr.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1", false, false, "aws-eusc"),
            ("111122223333.dkr.ecr.us-iso-east-1.c2s.ic.gov", "us-iso-east-1", false, false, "aws-iso"),
            ("111122223333.dkr.ecr.us-isob-east-1.sc2s.sgov.gov", "us-isob-east-1", false, false, "aws-iso-b"),
            ("111122223333.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk", "eu-isoe-west-1", false, false, "aws-iso-e"),
            ("111122223333.dkr.ecr.us-isof-south-1.csp.hci.ic.gov", "us-isof-south-1", false, false, "aws-iso-f"),
        ] {
            let home = EcrHost::parse(host).unwrap();
            assert_eq!((home.account.as_str(), home.region.as_str()), ("111122223333", region), "{host}");
            assert_eq!((home.fips, home.dual_stack, home.partition()), (fips, dual_stack, partition), "{host}");
        }
    }

    #[test]
    fn an_events_registry_reads_back() {
        for region in ["us-east-1", "cn-north-1", "us-gov-west-1", "eusc-de-east-1", "us-isob-east-1", "eu-isoe-west-1"]
        {
            let host = EcrHost::of_event("111122223333", region);
            let parsed = EcrHost::parse(&host).unwrap();
            assert_eq!((parsed.account.as_str(), parsed.region.as_str()), ("111122223333", region), "{host}");
        }
    }
}
