//! How a registry is told who asks: basic credentials, or a token that its token service gives for them.

mod challenge;
mod kept;
mod secret;
mod token;

use std::{sync::Mutex, time::SystemTime};

use base64::{Engine, prelude::BASE64_STANDARD};
use challenge::{Bearer, Challenge};
use futures::future::BoxFuture;
use http::HeaderValue;
pub use kept::KeptLogin;
pub use secret::Secret;
use token::TokenCache;

use super::{Repository, Run};
use crate::error::{Error, ErrorType};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// Nobody in particular.
    Anonymous,
    /// A user with a password, a token or a key for one.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A refresh token, to be exchanged at the token service (`identitytoken` of a docker `config.json`).
    IdentityToken(Secret),
    /// An application of Microsoft Entra ID: to be exchanged for an identity token before a registry can take it.
    ServicePrincipal(ServicePrincipal),
}

impl Login {
    /// A foreign text without this login's secret, should it repeat it.
    fn hide(&self, text: String) -> String {
        match self {
            Self::Anonymous => text,
            Self::Password { password, .. } => password.hide_in(&text),
            Self::IdentityToken(token) => token.hide_in(&text),
            Self::ServicePrincipal(principal) => principal.client_secret.hide_in(&text),
        }
    }
}

/// An application of Microsoft Entra ID that signs in by a secret of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePrincipal {
    /// The directory that it is in: an ID or a domain.
    pub tenant: String,
    /// Which application.
    pub client_id: String,
    /// Its secret, for the authority of its cloud alone.
    pub client_secret: Secret,
}

/// A login, and until when it is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginIssued {
    /// The login.
    pub login: Login,
    /// When it ends, where that is known.
    pub expires: Option<SystemTime>,
}

/// For what a login is asked.
#[derive(Debug, Clone, Copy)]
pub struct LoginRequest<'r> {
    /// The repository, without its registry: a docker `config.json` may tell them apart.
    pub repository: &'r str,
    /// The login that was not taken.
    pub refused: Option<&'r Login>,
    /// Counts what is sent, and ends it in time.
    pub run: &'r Run,
}

/// Where a registry's login comes from: a secret, ECR's API, or a cloud's token service.
pub trait LoginSource: Send + Sync {
    /// The login, and not the refused one, if another one can be had: of many who were refused at once, one fetches.
    fn login<'a>(&'a self, asked: LoginRequest<'a>) -> BoxFuture<'a, Result<LoginIssued, Error>>;
}

impl<S: LoginSource + ?Sized> LoginSource for std::sync::Arc<S> {
    fn login<'a>(&'a self, asked: LoginRequest<'a>) -> BoxFuture<'a, Result<LoginIssued, Error>> {
        S::login(self, asked)
    }
}

/// Nobody in particular.
#[derive(Debug, Clone, Copy)]
pub struct AnonymousLogin;

impl LoginSource for AnonymousLogin {
    fn login<'a>(&'a self, _: LoginRequest<'a>) -> BoxFuture<'a, Result<LoginIssued, Error>> {
        Box::pin(async { Ok(LoginIssued { login: Login::Anonymous, expires: None }) })
    }
}

/// What one registry asks for, learnt from its first refusal, and the tokens that it was given since.
pub struct Authenticator {
    source: Box<dyn LoginSource>,
    /// The scheme, once it is known. ECR's is known from the start, which spares a refusal.
    scheme: Mutex<Option<Scheme>>,
    tokens: TokenCache,
    /// Whether the scheme is the registry kind's own and not to be learnt.
    fixed: bool,
}

/// What is sent to show who asks.
enum Grant {
    Login(Login),
    Token(Secret),
}

impl Grant {
    fn header(&self) -> Result<HeaderValue, Error> {
        match self {
            Self::Token(token) => header(&format!("Bearer {}", token.reveal())),
            Self::Login(Login::Password { user, password }) => basic(user, password),
            Self::Login(Login::Anonymous | Login::IdentityToken(_) | Login::ServicePrincipal(_)) => Err(Error::new(
                ErrorType::Unauthorized,
                "the registry takes a user and a password, and the configured credentials hold none",
            )),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Scheme {
    Basic,
    Bearer(Bearer),
}

impl Authenticator {
    /// For a registry whose way of asking is not known yet.
    #[must_use]
    pub fn challenged(source: Box<dyn LoginSource>) -> Self {
        Self { source, scheme: Mutex::new(None), tokens: TokenCache::default(), fixed: false }
    }

    /// For a registry that takes basic credentials from the first request on.
    #[must_use]
    pub fn basic(source: Box<dyn LoginSource>) -> Self {
        Self { source, scheme: Mutex::new(Some(Scheme::Basic)), tokens: TokenCache::default(), fixed: true }
    }

    /// The `Authorization` to send with a request of `repository`, as far as is known now.
    pub(super) async fn authorization(&self, repository: &Repository) -> Result<Option<HeaderValue>, Error> {
        let Some(scheme) = self.scheme() else { return Ok(None) };
        let granted = self.grant(&scheme, repository, None).await.and_then(|grant| grant.header());
        if granted.is_err() {
            self.forget(&scheme).await;
        }
        granted.map(Some)
    }

    /// The `Authorization` to send after a 401 with these challenges, when `used` was sent before.
    pub(super) async fn renewed(
        &self,
        repository: &Repository,
        challenges: &[String],
        used: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, Error> {
        let scheme = Challenge::choose(challenges)
            .map(|challenge| match challenge {
                Challenge::Basic => Scheme::Basic,
                Challenge::Bearer(bearer) => Scheme::Bearer(bearer),
            })
            .or_else(|| self.scheme())
            .ok_or_else(|| {
                Error::new(ErrorType::Unauthorized, "the registry does not say which credentials it takes")
            })?;
        *self.lock() = Some(scheme.clone());
        let renewed = self.renew(&scheme, repository, used).await;
        if renewed.is_err() {
            self.forget(&scheme).await;
        }
        renewed.map(Some)
    }

    async fn renew(
        &self,
        scheme: &Scheme,
        repository: &Repository,
        used: Option<&HeaderValue>,
    ) -> Result<HeaderValue, Error> {
        let grant = self.grant(scheme, repository, None).await?;
        let header = grant.header()?;
        if used != Some(&header) {
            // The first to be sent, or another request has renewed it in the meantime.
            return Ok(header);
        }
        self.grant(scheme, repository, Some(&grant)).await?.header()
    }

    /// Forgets a token service that gave no token, and the tokens that were to be replaced: the registry is asked
    /// anew, as one answer that named a wrong service must not stay for the life of the process.
    async fn forget(&self, scheme: &Scheme) {
        if self.fixed {
            return;
        }
        self.lock().take_if(|kept| kept == scheme);
        self.tokens.clear().await;
    }

    /// What may be sent under `scheme`, and not `refused`, if another can be had.
    async fn grant(&self, scheme: &Scheme, repository: &Repository, refused: Option<&Grant>) -> Result<Grant, Error> {
        match scheme {
            Scheme::Basic => {
                let refused = match refused {
                    Some(Grant::Login(login)) => Some(login),
                    _ => None,
                };
                Ok(Grant::Login(self.login(repository, refused).await?))
            }
            Scheme::Bearer(bearer) => {
                let refused = match refused {
                    Some(Grant::Token(token)) => Some(token),
                    _ => None,
                };
                Ok(Grant::Token(self.tokens.token(bearer, repository, self, refused).await?))
            }
        }
    }

    /// The login, fetched within the invocation's time.
    async fn login(&self, repository: &Repository, refused: Option<&Login>) -> Result<Login, Error> {
        let run = repository.run();
        let asked = LoginRequest { repository: &repository.name, refused, run };
        let issued = run.deadline.bound(self.source.login(asked)).await.map_err(|_| {
            Error::new(
                ErrorType::DeadlineExceeded,
                format!("getting the credentials of {repository}: the invocation's time ran out"),
            )
        })??;
        match issued.login {
            Login::Anonymous if self.scheme() == Some(Scheme::Basic) => Err(Error::new(
                ErrorType::Unauthorized,
                format!(
                    "the registry takes a user and a password, and none are configured; set \
                     registries.\"{}\".credentials",
                    repository.client().host
                ),
            )),
            login => Ok(login),
        }
    }

    fn scheme(&self) -> Option<Scheme> {
        self.lock().clone()
    }

    /// Held to read or replace the value, which can't panic; a poisoned lock still holds one.
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Scheme>> {
        self.scheme.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn basic(user: &str, password: &Secret) -> Result<HeaderValue, Error> {
    header(&format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{}", password.reveal()))))
}

fn header(text: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| Error::new(ErrorType::Unauthorized, "the credentials hold characters that no header can"))?;
    value.set_sensitive(true);
    Ok(value)
}
