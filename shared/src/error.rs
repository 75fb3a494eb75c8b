//! The names of failures, and which of them may succeed later. Every layer's error carries one.

use std::{fmt, time::Duration};

/// What kind of failure it is: the `error_type` of results, Lambda errors and dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorType {
    /// The configuration can't be used, or doesn't allow what was asked.
    InvalidConfig,
    /// The event or message is none that a function takes.
    InvalidEvent,
    /// A text is no image reference.
    InvalidReference,
    /// Credentials are missing, wrong, or can't be had.
    Unauthorized,
    /// The registry knows who asks and says no.
    Denied,
    /// The source has no such image, child or blob.
    SourceNotFound,
    /// The destination has no such repository, and none may be created.
    RepositoryNotFound,
    /// The tag exists, holds another digest, and can't be moved.
    TagImmutable,
    /// None of the wanted platforms is in the image.
    PlatformNotFound,
    /// What must be attached to an image is not.
    ReferrerNotFound,
    /// Bytes are not those that their digest or size promises.
    DigestMismatch,
    /// A manifest does not parse, or breaks a limit, or the destination calls it invalid.
    ManifestInvalid,
    /// A manifest is over 4 MiB.
    ManifestTooLarge,
    /// A kind of manifest that is not copied.
    UnsupportedMediaType,
    /// A redirect, an upload location or a token realm leads where it must not.
    UnsafeRedirect,
    /// ECR's scan of the image found what its rule refuses, or there is none and will be none.
    ScanRefused,
    /// The commit gate ran out: blobs were sent and the destination does not show them yet.
    BlobUnavailable,
    /// ECR's scan of the image has not finished, and its rule waits for it.
    ScanPending,
    /// The registry asks to slow down.
    Throttled,
    /// The registry is out of reach or answers with a server's error.
    Unavailable,
    /// Nothing moved for the stall limit.
    Timeout,
    /// The invocation's time ran out.
    DeadlineExceeded,
}

/// Whether another try, without any change, may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It may succeed later.
    Later,
    /// It never can without a change of the configuration, the image or the registry.
    Never,
}

impl ErrorType {
    /// Whether another try may do. The one place that decides it.
    #[must_use]
    pub fn class(self) -> Class {
        match self {
            Self::BlobUnavailable
            | Self::ScanPending
            | Self::Throttled
            | Self::Unavailable
            | Self::Timeout
            | Self::DeadlineExceeded => Class::Later,
            Self::InvalidConfig
            | Self::InvalidEvent
            | Self::InvalidReference
            | Self::Unauthorized
            | Self::Denied
            | Self::SourceNotFound
            | Self::RepositoryNotFound
            | Self::TagImmutable
            | Self::PlatformNotFound
            | Self::ReferrerNotFound
            | Self::DigestMismatch
            | Self::ManifestInvalid
            | Self::ManifestTooLarge
            | Self::UnsupportedMediaType
            | Self::UnsafeRedirect
            | Self::ScanRefused => Class::Never,
        }
    }

    /// The name, as results and dead letters carry it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidConfig => "InvalidConfig",
            Self::InvalidEvent => "InvalidEvent",
            Self::InvalidReference => "InvalidReference",
            Self::Unauthorized => "Unauthorized",
            Self::Denied => "Denied",
            Self::SourceNotFound => "SourceNotFound",
            Self::RepositoryNotFound => "RepositoryNotFound",
            Self::TagImmutable => "TagImmutable",
            Self::PlatformNotFound => "PlatformNotFound",
            Self::ReferrerNotFound => "ReferrerNotFound",
            Self::DigestMismatch => "DigestMismatch",
            Self::ManifestInvalid => "ManifestInvalid",
            Self::ManifestTooLarge => "ManifestTooLarge",
            Self::UnsupportedMediaType => "UnsupportedMediaType",
            Self::UnsafeRedirect => "UnsafeRedirect",
            Self::ScanRefused => "ScanRefused",
            Self::BlobUnavailable => "BlobUnavailable",
            Self::ScanPending => "ScanPending",
            Self::Throttled => "Throttled",
            Self::Unavailable => "Unavailable",
            Self::Timeout => "Timeout",
            Self::DeadlineExceeded => "DeadlineExceeded",
        }
    }
}

impl fmt::Display for ErrorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Any error of this crate, as a caller outside sees it: its kind, and a text that says what was tried, where,
/// and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What kind of failure.
    pub error_type: ErrorType,
    /// What was tried, where, what came of it, and what to do.
    pub message: String,
    /// How long the registry asked to wait before another try.
    pub retry_after: Option<Duration>,
    /// Whether whoever began it may try again: nobody below has. Each failure has one owner of its tries
    /// (`docs/architecture.md`), so that tries never multiply.
    pub retry_above: bool,
    /// Whether no other try will do, although it is of a kind that may pass.
    pub for_good: bool,
}

impl Error {
    /// An error with its text.
    #[must_use]
    pub fn new(error_type: ErrorType, message: impl Into<String>) -> Self {
        Self { error_type, message: message.into(), retry_after: None, retry_above: false, for_good: false }
    }

    /// The same, with what the registry said of another try.
    #[must_use]
    pub fn retry_after(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..self }
    }

    /// The same, of a request that nobody below has tried again.
    #[must_use]
    pub fn retry_above(self) -> Self {
        Self { retry_above: true, ..self }
    }

    /// The same, when all tries that it is worth have been made.
    #[must_use]
    pub fn for_good(self) -> Self {
        Self { for_good: true, ..self }
    }

    /// Whether another try may do.
    #[must_use]
    pub fn class(&self) -> Class {
        if self.for_good { Class::Never } else { self.error_type.class() }
    }
}

/// The texts of an error and of all that caused it, each once, from the outermost in.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}
