//! Registry credentials from Secrets Manager or the environment, fetched once and again when they are refused.

mod form;
mod store;

use std::{sync::Arc, time::Duration};

use form::{Wanted, identity, parse};
use futures::future::BoxFuture;
pub use store::SecretStore;
use store::place;
use tokio::{sync::Mutex, time::Instant};

use crate::{
    aws::{Identity, IdentitySource},
    config::CredentialSource,
    error::{Error, ErrorType},
    provider::Provider,
    registry::{Login, LoginIssued, LoginRequest, LoginSource, Secret},
    transport::Meter,
};

/// The login that a configured secret holds for one registry.
#[derive(Debug)]
pub struct SecretLogin {
    store: Arc<SecretStore>,
    source: CredentialSource,
    host: String,
    provider: Provider,
    /// The text that an identity was read from last, and when.
    read: Mutex<Option<(Secret, Instant)>>,
}

/// What a secret holds.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Held {
    Login(Login),
    /// ECR: who asks its API, for a login among other things.
    Identity(Identity),
}

/// How long an identity that was read for one use is good for another one that comes next. Asked for later, it has ended
/// or was refused.
const JUST_READ: Duration = Duration::from_secs(60);

impl SecretLogin {
    /// The login of `source` for the registry at `host`; nothing is fetched yet.
    #[must_use]
    pub fn new(store: Arc<SecretStore>, source: CredentialSource, host: &str, provider: Provider) -> Self {
        Self { store, source, host: host.to_owned(), provider, read: Mutex::default() }
    }

    fn doing(&self) -> String {
        format!("reading the credentials of {} from {}", self.host, place(&self.source))
    }

    /// What the secret holds, and not the login that was refused if another one can be had.
    async fn held(&self, asked: LoginRequest<'_>) -> Result<Held, Error> {
        let (doing, meter) = (self.doing(), &asked.run.meter);
        let wanted = Wanted { host: &self.host, provider: self.provider, repository: asked.repository };
        let read = |text: &Secret| match identity(text.reveal()) {
            Some(identity) => Ok(Held::Identity(identity)),
            None => parse(text.reveal(), wanted).map(Held::Login),
        };
        let fetched = self.store.text(&self.source, None, &doing, meter).await?;
        let held = match read(&fetched.text) {
            Ok(held) if !held.is(asked.refused) => Ok(held),
            // What was fetched just now won't be another one.
            found if fetched.fresh => found,
            _ => read(&self.store.text(&self.source, Some(&fetched.text), &doing, meter).await?.text),
        };
        held.map_err(|reason| Error::new(ErrorType::Unauthorized, format!("{doing}: {reason}")))
    }
}

impl Held {
    fn is(&self, login: Option<&Login>) -> bool {
        matches!(self, Self::Login(held) if Some(held) == login)
    }
}

impl LoginSource for SecretLogin {
    fn login<'a>(&'a self, asked: LoginRequest<'a>) -> BoxFuture<'a, Result<LoginIssued, Error>> {
        Box::pin(async move {
            match self.held(asked).await? {
                Held::Login(login) => Ok(LoginIssued { login, expires: None }),
                Held::Identity(_) => Err(Error::new(
                    ErrorType::Unauthorized,
                    format!("{} holds an AWS identity, which private ECR registries alone take", place(&self.source)),
                )),
            }
        })
    }
}

impl IdentitySource for SecretLogin {
    fn identity(&self) -> BoxFuture<'_, Result<Option<Identity>, Error>> {
        Box::pin(async {
            let mut read = self.read.lock().await;
            let old = read.as_ref().filter(|(_, at)| at.elapsed() >= JUST_READ).map(|(text, _)| text);
            // Asked for inside a call of the API, which is what is counted.
            let text = self.store.text(&self.source, old, &self.doing(), &Meter::default()).await?.text;
            let Some(identity) = identity(text.reveal()) else { return Ok(None) };
            *read = Some((text, Instant::now()));
            Ok(Some(identity))
        })
    }
}

/// The login of an ECR registry whose secret may hold a login, or the identity to ask its API for one.
pub struct IdentityLogin {
    secret: Arc<SecretLogin>,
    api: Box<dyn LoginSource>,
}

impl IdentityLogin {
    /// What `secret` holds, or what `api` gives to the identity that it holds.
    #[must_use]
    pub fn new(secret: Arc<SecretLogin>, api: Box<dyn LoginSource>) -> Self {
        Self { secret, api }
    }
}

impl LoginSource for IdentityLogin {
    fn login<'a>(&'a self, asked: LoginRequest<'a>) -> BoxFuture<'a, Result<LoginIssued, Error>> {
        Box::pin(async move {
            match self.secret.held(asked).await? {
                Held::Login(login) => Ok(LoginIssued { login, expires: None }),
                Held::Identity(_) => self.api.login(asked).await,
            }
        })
    }
}
