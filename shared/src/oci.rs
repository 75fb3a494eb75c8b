//! The words of the OCI specifications: digests, references, manifests, platforms, error codes. Names nothing else of ours.

mod digest;
mod error_code;
mod index;
mod manifest;
mod platform;
mod reference;
mod referrer;

pub use digest::{Digest, DigestError, Hasher};
pub use error_code::ErrorEnvelope;
pub use index::{Entry, EntryKind, cut, entries};
pub use manifest::{Blob, Child, MANIFEST_ACCEPT, Manifest, ManifestError};
pub(crate) use platform::Described;
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError, normalize_host};
pub use referrer::{
    AttachedTag, Dropped, OCI_INDEX, Referrer, ReferrersList, cosign_tags, has_unsound, merged_referrers,
    read_referrers, referrers_index, referrers_tag,
};

/// The most bytes that a manifest may have (4 MiB): what registries must take at least, and what ECR takes at most.
///
/// Source: OCI distribution-spec "Pushing Manifests"; ECR API `PutImage`, `imageManifest`.
pub const MAX_MANIFEST_BYTES: u64 = 4 * 1024 * 1024;
