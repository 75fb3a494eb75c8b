//! Azure Container Registry for an application of Microsoft Entra ID: its secret goes to the authority of its cloud, the
//! authority's token to the registry, which gives a refresh token for its own token service.
//!
//! Source: Azure/acr, `docs/AAD-OAuth.md`; Microsoft identity platform, "OAuth 2.0 client credentials flow".

use std::time::{Duration, SystemTime};

use futures::future::BoxFuture;
use serde::Deserialize;

use crate::{
    error::{Error, ErrorType},
    exchange::{self, Exchange},
    registry::{KeptLogin, Login, LoginIssued, LoginRequest, LoginSource, Run, Secret, ServicePrincipal},
    retry::RetryPolicy,
    transport::Transport,
};

/// What the authority's token is for: the resource of all registries, in every cloud (Azure SDK for Go,
/// `azcontainerregistry`).
const SCOPE: &str = "https://containerregistry.azure.net/.default";

/// What a registry's refresh token lives (`AAD-OAuth.md`).
const LIFE: Duration = Duration::from_secs(3 * 3600);

/// A refresh token that has less left than this is replaced.
const RENEW_BEFORE: Duration = Duration::from_secs(10 * 60);

/// The login of one ACR registry: what its secret holds, an application exchanged.
pub struct AcrLogin {
    secret: Box<dyn LoginSource>,
    host: String,
    registry: Transport,
    authority: Transport,
    policy: RetryPolicy,
    kept: KeptLogin,
}

#[derive(Deserialize)]
struct AuthorityAnswer {
    access_token: String,
}

#[derive(Deserialize)]
struct RegistryAnswer {
    refresh_token: String,
}

impl AcrLogin {
    /// The login that `secret` holds for the registry at `host`; `registry` and `authority` are the ways to it and to
    /// the authority of its cloud. Nothing is asked yet.
    #[must_use]
    pub fn new(
        secret: Box<dyn LoginSource>,
        host: &str,
        registry: Transport,
        authority: Transport,
        policy: RetryPolicy,
    ) -> Self {
        let kept = KeptLogin::renewed(RENEW_BEFORE);
        Self { secret, host: host.to_owned(), registry, authority, policy, kept }
    }

    async fn find(&self, asked: LoginRequest<'_>) -> Result<LoginIssued, Error> {
        let held = self.secret.login(asked).await?;
        let Login::ServicePrincipal(principal) = &held.login else { return Ok(held) };
        let exchanged = async {
            match self.exchanged(principal, asked.run).await {
                Err(error) if matches!(error.error_type, ErrorType::Unauthorized | ErrorType::Denied) => {
                    // The secret may have been rotated since it was fetched.
                    let again = self.secret.login(LoginRequest { refused: Some(&held.login), ..asked }).await?;
                    match &again.login {
                        Login::ServicePrincipal(fresh) if fresh != principal => self.exchanged(fresh, asked.run).await,
                        _ => Err(error),
                    }
                }
                answer => answer,
            }
        };
        self.kept.login(asked.refused, exchanged).await
    }

    async fn exchanged(&self, principal: &ServicePrincipal, run: &Run) -> Result<LoginIssued, Error> {
        let token = self.sign_in(principal, run).await?;
        let (host, ServicePrincipal { tenant, client_id, .. }) = (&self.host, principal);
        let doing = format!("exchanging the token of the application {client_id} at {host}");
        let mut url = self.registry.endpoint().clone();
        url.set_path("/oauth2/exchange");
        let fields = [
            ("grant_type", "access_token"),
            ("service", host.as_str()),
            ("tenant", tenant.as_str()),
            ("access_token", token.reveal()),
        ];
        let exchange = Exchange {
            transport: &self.registry,
            policy: self.policy,
            run,
            doing: &doing,
            advice: "; give the application a role at the registry, such as AcrPush",
            hidden: &[&token, &principal.client_secret],
        };
        let answer: RegistryAnswer = exchange.ask(exchange::form(url, &fields)).await?;
        let login = Login::IdentityToken(Secret::new(answer.refresh_token));
        Ok(LoginIssued { login, expires: Some(SystemTime::now() + LIFE) })
    }

    /// The authority's token for registries. The application's secret is sent here and nowhere else.
    async fn sign_in(&self, principal: &ServicePrincipal, run: &Run) -> Result<Secret, Error> {
        let ServicePrincipal { tenant, client_id, client_secret } = principal;
        let (host, authority) = (&self.host, self.authority.origin());
        let doing = format!("signing in the application {client_id} for {host} (at {authority}, tenant {tenant})");
        // It stands in a path: an ID or a domain, nothing that could lead elsewhere.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
        if tenant.is_empty() || tenant.starts_with('.') || !tenant.bytes().all(plain) {
            let text = format!("{doing}: `tenant` is neither an ID nor a domain");
            return Err(Error::new(ErrorType::Unauthorized, text));
        }
        let mut url = self.authority.endpoint().clone();
        url.set_path(&format!("/{tenant}/oauth2/v2.0/token"));
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", client_id.as_str()),
            ("client_secret", client_secret.reveal()),
            ("scope", SCOPE),
        ];
        let exchange = Exchange {
            transport: &self.authority,
            policy: self.policy,
            run,
            doing: &doing,
            advice: "; check tenant, client_id and client_secret, and that the secret has not expired",
            hidden: &[client_secret],
        };
        let answer: AuthorityAnswer = exchange.ask(exchange::form(url, &fields)).await?;
        Ok(Secret::new(answer.access_token))
    }
}

impl LoginSource for AcrLogin {
    fn login<'a>(&'a self, asked: LoginRequest<'a>) -> BoxFuture<'a, Result<LoginIssued, Error>> {
        Box::pin(self.find(asked))
    }
}
