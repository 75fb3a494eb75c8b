//! Registry credentials from Secrets Manager or the environment, fetched once and again when they are refused.

mod form;
mod store;

use std::sync::Arc;

use form::{Wanted, parse};
use futures::future::BoxFuture;
pub use store::SecretStore;
use store::place;

use crate::{
    config::CredentialSource,
    error::{Error, ErrorType},
    provider::Provider,
    registry::{LoginIssued, LoginRequest, LoginSource},
};

/// The login that a configured secret holds for one registry.
#[derive(Debug)]
pub struct SecretLogin {
    store: Arc<SecretStore>,
    source: CredentialSource,
    host: String,
    provider: Provider,
}

impl SecretLogin {
    /// The login of `source` for the registry at `host`; nothing is fetched yet.
    #[must_use]
    pub fn new(store: Arc<SecretStore>, source: CredentialSource, host: &str, provider: Provider) -> Self {
        Self { store, source, host: host.to_owned(), provider }
    }

    async fn find(&self, asked: LoginRequest<'_>) -> Result<LoginIssued, Error> {
        let doing = format!("reading the credentials of {} from {}", self.host, place(&self.source));
        let meter = &asked.run.meter;
        let wanted = Wanted { host: &self.host, provider: self.provider, repository: asked.repository };
        let fetched = self.store.text(&self.source, None, &doing, meter).await?;
        let login = match parse(fetched.text.reveal(), wanted) {
            Ok(login) if asked.refused != Some(&login) => Ok(login),
            // What was fetched just now won't be another one.
            found if fetched.fresh => found,
            _ => {
                let again = self.store.text(&self.source, Some(&fetched.text), &doing, meter).await?;
                parse(again.text.reveal(), wanted)
            }
        };
        let login = login.map_err(|reason| Error::new(ErrorType::Unauthorized, format!("{doing}: {reason}")))?;
        Ok(LoginIssued { login, expires: None })
    }
}

impl LoginSource for SecretLogin {
    fn login<'a>(&'a self, asked: LoginRequest<'a>) -> BoxFuture<'a, Result<LoginIssued, Error>> {
        Box::pin(self.find(asked))
    }
}
