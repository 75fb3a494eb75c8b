//! An identity of AWS that was configured: the function's own means nothing in another partition (China, GovCloud).

use std::{fmt, sync::Arc, time::Duration, time::SystemTime};

use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future},
};
use futures::future::BoxFuture;

use crate::{error::Error, registry::Secret};

/// How long the SDK keeps an identity before it is read again: one that was rotated is in use by then.
const KEPT: Duration = Duration::from_secs(15 * 60);

/// An access key, and the token of its session if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The ID of the access key.
    pub access_key_id: String,
    /// The access key's secret part.
    pub secret_access_key: Secret,
    /// The session's token, for keys that don't last.
    pub session_token: Option<Secret>,
}

/// Where a configured identity comes from.
pub trait IdentitySource: fmt::Debug + Send + Sync {
    /// The identity; `None`: what is configured is none, and the function's own is to be used.
    fn identity(&self) -> BoxFuture<'_, Result<Option<Identity>, Error>>;
}

/// The SDK's view of it.
#[derive(Debug)]
pub(super) struct Configured {
    pub(super) source: Arc<dyn IdentitySource>,
    pub(super) otherwise: Option<SharedCredentialsProvider>,
}

impl ProvideCredentials for Configured {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async move {
            match (self.source.identity().await, &self.otherwise) {
                (Err(error), _) => Err(CredentialsError::provider_error(error)),
                (Ok(Some(identity)), _) => Ok(Credentials::new(
                    identity.access_key_id,
                    identity.secret_access_key.reveal(),
                    identity.session_token.map(|token| token.reveal().to_owned()),
                    Some(SystemTime::now() + KEPT),
                    "configured",
                )),
                (Ok(None), Some(otherwise)) => otherwise.provide_credentials().await,
                (Ok(None), None) => Err(CredentialsError::not_loaded("there are no credentials in the environment")),
            }
        })
    }
}
