//! Registries that end an upload which takes too long: what broke by that says so, and is not begun again at once.

use std::time::Duration;

use crate::{
    error::{Error, ErrorType},
    oci::Blob,
};

/// How long the upload of one blob may take at a registry ([`crate::provider::Provider::upload_limit`]); `None`: as long
/// as it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadLimit(pub Option<Duration>);

impl UploadLimit {
    /// What `error` means for the upload of `blob`, which was asked for `age` ago.
    ///
    /// No source says how GHCR ends an upload (an answer, a connection that breaks), so the time alone tells. Such an
    /// error keeps its type: most are of those that may pass, and this one may. The blobs beside it had their share of
    /// the network; they are committed, and a later invocation has all of it for this one, or a better hour. But it is
    /// for no one in this invocation: what took all the time that the registry gives has no such time left in the 15
    /// minutes of Lambda. A queue's `maxReceiveCount` bounds the rest.
    #[must_use]
    pub fn told(self, error: Error, blob: &Blob, age: Duration) -> Error {
        let Some(limit) = self.0.filter(|limit| age >= *limit) else { return error };
        // Our own time was up, the registry asks for a pause, or it wants another login, which the next try brings.
        if matches!(error.error_type, ErrorType::DeadlineExceeded | ErrorType::Throttled | ErrorType::Unauthorized) {
            return error;
        }
        let message = format!(
            "{}; it had taken {} s for {} bytes, and the registry ends an upload after {} s: give the function more memory \
             (network comes with it), set limits.blob_concurrency to 1 so that nothing is sent beside it, make the layer \
             smaller, or send the image to another registry",
            error.message,
            age.as_secs(),
            blob.size,
            limit.as_secs()
        );
        Error { message, retry_above: false, ..error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{error::Class, oci::Digest, provider::Provider};

    fn told(provider: Provider, error: Error, seconds: u64) -> Error {
        let blob = Blob { digest: Digest::of(b"layer"), size: 9_000_000_000, foreign: false };
        UploadLimit(provider.upload_limit()).told(error, &blob, Duration::from_secs(seconds))
    }

    #[test]
    fn a_break_after_ghcrs_ten_minutes_says_so_and_is_not_tried_again_at_once() {
        for error_type in [ErrorType::Unavailable, ErrorType::Timeout, ErrorType::Denied] {
            let broken = Error::new(error_type, "sending blob: the exchange broke").retry_above();
            let class = broken.class();
            let error = told(Provider::Ghcr, broken, 601);
            assert_eq!((error.error_type, error.class(), error.retry_above), (error_type, class, false));
            for part in ["the exchange broke", "601 s", "9000000000 bytes", "after 600 s", "memory", "layer smaller"] {
                assert!(error.message.contains(part), "`{part}` is not in: {error}");
            }
        }
        assert_eq!(ErrorType::Unavailable.class(), Class::Later, "another invocation may be quicker");
    }

    #[test]
    fn a_break_before_or_elsewhere_or_of_our_own_is_what_it_was() {
        let broken = || Error::new(ErrorType::Unavailable, "the exchange broke").retry_above();
        assert_eq!(told(Provider::Ghcr, broken(), 599), broken());
        for provider in [Provider::Ecr, Provider::DockerHub, Provider::Gar, Provider::Generic] {
            assert_eq!(told(provider, broken(), 899), broken(), "{provider:?}");
        }
        for own in [ErrorType::DeadlineExceeded, ErrorType::Throttled, ErrorType::Unauthorized] {
            let error = Error::new(own, "of our own").retry_above();
            assert_eq!(told(Provider::Ghcr, error.clone(), 800), error);
        }
    }
}
