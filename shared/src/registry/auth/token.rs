//! Tokens from a token service: fetched once for each scope, kept, renewed early.
//!
//! Source: distribution, "Token Authentication Specification" and "OAuth2 Token Authentication".

use std::{collections::HashMap, time::Duration};

use http::{
    HeaderValue, Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};
use url::{Url, form_urlencoded};

use super::{Authenticator, Login, Secret, challenge::Bearer};
use crate::{
    error::{Error, ErrorType},
    oci::ErrorEnvelope,
    provider::Provider,
    registry::Repository,
    transport::{Attempts, Origin, Request, RequestBody, Response, redact},
};

/// What a token without `expires_in` lives (the token specification's default).
const DEFAULT_LIFE: Duration = Duration::from_secs(60);

/// A token service's answer is some kilobytes; Docker Hub's and ACR's tokens are the largest known.
const MAX_ANSWER_BYTES: u64 = 256 * 1024;

/// Tokens by scope. The lock is held while one is fetched, so that there is one fetch in flight.
#[derive(Default)]
pub(super) struct TokenCache {
    tokens: Mutex<HashMap<String, Token>>,
}

struct Token {
    text: Secret,
    /// When it is renewed: at four fifths of its life, so that no request leaves with a token that ends under way.
    renew: Instant,
}

#[derive(Deserialize)]
struct Wire {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<f64>,
}

impl TokenCache {
    /// A token for what `repository` does, and not `refused`.
    pub(super) async fn token(
        &self,
        bearer: &Bearer,
        repository: &Repository,
        asking: &Authenticator,
        refused: Option<&Secret>,
    ) -> Result<Secret, Error> {
        let scopes = scopes(bearer, repository);
        let key = format!("{} {} {}", bearer.realm, bearer.service.as_deref().unwrap_or_default(), scopes.join(" "));
        let mut tokens = self.tokens.lock().await;
        if let Some(token) = tokens.get(&key)
            && refused != Some(&token.text)
            && Instant::now() < token.renew
        {
            return Ok(token.text.clone());
        }
        // Boxed: it is rare, and would be part of every future that sends a request.
        let token = Box::pin(fetch(bearer, &scopes, repository, asking)).await?;
        let text = token.text.clone();
        tokens.insert(key, token);
        Ok(text)
    }

    /// Drops all tokens.
    pub(super) async fn clear(&self) {
        self.tokens.lock().await.clear();
    }
}

/// What this run needs, and what the registry asked for besides (a catalog, say).
fn scopes(bearer: &Bearer, repository: &Repository) -> Vec<String> {
    let mut scopes = repository.scopes.clone();
    let own = |scope: &str| scope.starts_with(&format!("repository:{}:", repository.name));
    let asked = bearer.scope.iter().flat_map(|scope| scope.split(' ')).filter(|scope| {
        // Some services name a scope that is none of `type:name:actions` (ECR Public's `aws`).
        !scope.is_empty() && !own(scope) && !scope.starts_with("repository:")
    });
    scopes.extend(asked.map(str::to_owned));
    scopes
}

async fn fetch(
    bearer: &Bearer,
    scopes: &[String],
    repository: &Repository,
    asking: &Authenticator,
) -> Result<Token, Error> {
    let realm = trusted_realm(bearer, repository)?;
    let login = asking.login(repository, None).await?;
    match ask(&realm, bearer, scopes, &login, repository).await {
        // A secret may have been rotated since it was fetched.
        // GHCR answers bad credentials with 403.
        Err(error) if matches!(error.error_type, ErrorType::Unauthorized | ErrorType::Denied) => {
            let again = asking.login(repository, Some(&login)).await?;
            if again == login {
                return Err(error);
            }
            repository.run.meter.retry();
            ask(&realm, bearer, scopes, &again, repository).await
        }
        answer => answer,
    }
}

/// The realm, if credentials may go there: over https (or the registry's own scheme), to the registry's own domain or
/// a host that is known to serve this kind of registry.
fn trusted_realm(bearer: &Bearer, repository: &Repository) -> Result<Url, Error> {
    let refuse = |reason: String| {
        Error::new(ErrorType::UnsafeRedirect, format!("the token service of {repository} is not used: {reason}"))
    };
    let url = Url::parse(&bearer.realm).map_err(|error| refuse(format!("its realm is no URL ({error})")))?;
    let own = repository.client.transport.origin();
    let realm = Origin::of(&url).ok_or_else(|| refuse("its realm is no http or https URL".to_owned()))?;
    if realm.scheme == "http" && own.scheme != "http" {
        return Err(refuse(format!("{} is not https", redact(&url))));
    }
    let inside = is_own_service(&realm, own, &repository.client.host, repository.client.provider);
    if inside { Ok(url) } else { Err(refuse(format!("{} is outside the registry's own domain", redact(&url)))) }
}

/// Whether the token service at `realm` belongs to a registry that is reached at `own` and known as `host`.
fn is_own_service(realm: &Origin, own: &Origin, host: &str, provider: Provider) -> bool {
    let identity = Url::parse(&provider.default_endpoint(host)).ok();
    let identity = identity.as_ref().and_then(Origin::of);
    let identity = identity.as_ref();
    match provider.token_hosts() {
        // A registry of whoever it is: its own domain.
        None => realm.shares_domain(own) || identity.is_some_and(|identity| realm.shares_domain(identity)),
        // A service with many tenants under one domain: itself and what is known to be its own.
        Some(known) => {
            let at = |origin: &Origin| (&realm.host, realm.port) == (&origin.host, origin.port);
            // A kind that has a host for tokens alone may have a port for them where it is not the real one: at a
            // configured endpoint, or by its configured provider.
            let real = Provider::of_host(host) == provider && identity == Some(own);
            let beside = !known.is_empty() && !real && realm.host == own.host;
            at(own)
                || beside
                || identity.is_some_and(at)
                || (known.contains(&realm.host.to_string().as_str()) && realm.port == 443)
        }
    }
}

async fn ask(
    realm: &Url,
    bearer: &Bearer,
    scopes: &[String],
    login: &Login,
    repository: &Repository,
) -> Result<Token, Error> {
    let response = match login {
        Login::IdentityToken(token) => {
            let form = [("grant_type", "refresh_token"), ("refresh_token", token.reveal())];
            post(realm, bearer, scopes, &form, repository).await?
        }
        Login::Anonymous => get(realm, bearer, scopes, None, repository).await?,
        // Its secret is the authority's alone. At ACR it never gets here: it was exchanged before.
        Login::ServicePrincipal(_) => {
            let text = "the configured credentials are an application of Microsoft Entra ID, which ACR alone takes";
            return Err(Error::new(ErrorType::Unauthorized, text));
        }
        Login::Password { user, password } => {
            let response = get(realm, bearer, scopes, Some((user, password)), repository).await?;
            if matches!(response.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) {
                let form = [("grant_type", "password"), ("username", user), ("password", password.reveal())];
                post(realm, bearer, scopes, &form, repository).await?
            } else {
                response
            }
        }
    };
    read(realm, response, login).await
}

async fn get(
    realm: &Url,
    bearer: &Bearer,
    scopes: &[String],
    login: Option<(&String, &Secret)>,
    repository: &Repository,
) -> Result<Response, Error> {
    let mut url = realm.clone();
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = &bearer.service {
            query.append_pair("service", service);
        }
        for scope in scopes {
            query.append_pair("scope", scope);
        }
        if let Some((user, _)) = login {
            query.append_pair("account", user);
        }
    }
    let mut request = Request::new(Method::GET, url);
    if let Some((user, password)) = login {
        request.headers.insert(AUTHORIZATION, super::basic(user, password)?);
    }
    send(request, repository).await
}

async fn post(
    realm: &Url,
    bearer: &Bearer,
    scopes: &[String],
    grant: &[(&str, &str)],
    repository: &Repository,
) -> Result<Response, Error> {
    // In a block of its own: it is not `Send`, and what follows waits.
    let form = {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(grant).append_pair("client_id", "transship").append_pair("scope", &scopes.join(" "));
        if let Some(service) = &bearer.service {
            form.append_pair("service", service);
        }
        form.finish()
    };
    let mut request = Request::new(Method::POST, realm.clone());
    request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    request.body = RequestBody::Pieces(vec![form.into()]);
    send(request, repository).await
}

async fn send(request: Request, repository: &Repository) -> Result<Response, Error> {
    let url = redact(&request.url);
    let run = &repository.run;
    let under = Attempts {
        policy: repository.client.policy,
        window: None,
        meter: &run.meter,
        counted: false,
        deadline: &run.deadline,
    };
    let sent = repository.client.transport.send(request, under).await;
    sent.map_err(|error| {
        repository.transport_failure(&format!("asking the token service {url} for {repository}"), &error)
    })
}

async fn read(realm: &Url, response: Response, login: &Login) -> Result<Token, Error> {
    let asked = Instant::now();
    let fail = |error_type, reason: String| {
        Error::new(error_type, format!("the token service {} gave no token: {reason}", redact(realm)))
    };
    if response.status != StatusCode::OK {
        let status = response.status;
        let envelope = ErrorEnvelope::parse(&response.excerpt().await);
        // A body that is no error's may be anything, a token or an echo of what was sent among it.
        let said = match envelope.code.as_str() {
            "" => status.as_u16().to_string(),
            code => login.hide(format!("{} {code} {}", status.as_u16(), envelope.message)),
        };
        let who =
            if *login == Login::Anonymous { "; no credentials are configured" } else { "; check the credentials" };
        return Err(match status.as_u16() {
            429 => fail(ErrorType::Throttled, said),
            500.. => fail(ErrorType::Unavailable, said),
            // A redirect would take the credentials elsewhere.
            300..=399 => fail(ErrorType::UnsafeRedirect, format!("{} (redirects are not followed)", status.as_u16())),
            403 => fail(ErrorType::Denied, said + who),
            _ => fail(ErrorType::Unauthorized, said + who),
        });
    }
    let body = response
        .collect(MAX_ANSWER_BYTES)
        .await
        .map_err(|_| fail(ErrorType::Unavailable, "its answer could not be read".to_owned()))?;
    let wire: Wire = serde_json::from_slice(&body)
        // Not what the parser says of it: that may repeat a token.
        .map_err(|_| fail(ErrorType::Unavailable, "its answer is no token JSON".to_owned()))?;
    let text = wire
        .token
        .or(wire.access_token)
        .filter(|text| !text.is_empty())
        .ok_or_else(|| fail(ErrorType::Unavailable, "its answer holds none".to_owned()))?;
    // Found out here, before it is kept for its life and fails every request.
    if HeaderValue::from_str(&text).is_err() {
        return Err(fail(ErrorType::Unavailable, "its answer holds characters that no header can".to_owned()));
    }
    let life = wire
        .expires_in
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|life| !life.is_zero())
        .unwrap_or(DEFAULT_LIFE)
        .min(Duration::from_secs(24 * 3600));
    Ok(Token { text: Secret::new(text), renew: asked + life.mul_f64(0.8) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the registry that is known as `host` may have its tokens from `realm`.
    fn trusts(host: &str, realm: &str) -> bool {
        let origin = |text: &str| Origin::of(&Url::parse(text).unwrap()).unwrap();
        let provider = Provider::of_host(host);
        let own = origin(&provider.default_endpoint(host));
        is_own_service(&origin(realm), &own, host, provider)
    }

    #[test]
    fn at_a_configured_endpoint_the_hub_alone_has_a_port_for_tokens() {
        let origin = |text: &str| Origin::of(&Url::parse(text).unwrap()).unwrap();
        let (own, realm) = (origin("https://127.0.0.1:5443"), origin("https://127.0.0.1:5444/token"));
        for (host, provider, trusted) in [
            ("docker.io", Provider::DockerHub, true),
            ("127.0.0.1:5443", Provider::DockerHub, true),
            ("ghcr.io", Provider::Ghcr, false),
            ("127.0.0.1:5443", Provider::Quay, false),
            ("acme.azurecr.io", Provider::Acr, false),
        ] {
            assert_eq!(is_own_service(&realm, &own, host, provider), trusted, "{host} {provider:?}");
            assert!(is_own_service(&own, &own, host, provider), "{host} {provider:?}");
        }
    }

    #[test]
    fn each_kind_of_registry_has_the_token_services_that_are_known_for_it() {
        for (host, realm) in [
            ("docker.io", "https://auth.docker.io/token"),
            ("docker.io", "https://registry-1.docker.io/token"),
            ("ghcr.io", "https://ghcr.io/token"),
            ("quay.io", "https://quay.io/v2/auth"),
            ("europe-west1-docker.pkg.dev", "https://europe-west1-docker.pkg.dev/v2/token"),
            ("gcr.io", "https://gcr.io/v2/token"),
            ("acme.azurecr.io", "https://acme.azurecr.io/oauth2/token"),
            ("public.ecr.aws", "https://public.ecr.aws/token/"),
            ("ghcr.io", "https://ghcr.io:443/token"),
            // Harbor, GitLab, and what else people run.
            ("harbor.example.com", "https://harbor.example.com/service/token"),
            ("registry.example.com", "https://gitlab.example.com/jwt/auth"),
            ("registry.example.co.uk", "https://auth.example.co.uk/token"),
        ] {
            assert!(trusts(host, realm), "{host} {realm}");
        }
    }

    #[test]
    fn a_neighbour_is_a_stranger() {
        for (host, realm) in [
            ("docker.io", "https://auth.docker.com/token"),
            ("docker.io", "https://auth.docker.io.example.test/token"),
            ("docker.io", "https://hub.docker.io/token"),
            ("ghcr.io", "https://auth.docker.io/token"),
            ("ghcr.io", "https://token.ghcr.io/token"),
            ("quay.io", "https://evil.quay.io/v2/auth"),
            ("europe-west1-docker.pkg.dev", "https://us-docker.pkg.dev/v2/token"),
            ("acme.azurecr.io", "https://other.azurecr.io/oauth2/token"),
            ("acme.azurecr.io", "https://login.microsoftonline.com/token"),
            ("public.ecr.aws", "https://evil.ecr.aws/token/"),
            ("harbor.example.com", "https://harbor.example.org/service/token"),
            ("a.co.uk", "https://b.co.uk/token"),
            ("registry.example.com", "https://com/token"),
            // Another port of the same host is another service, where it is known that there is one alone.
            ("ghcr.io", "https://ghcr.io:8443/token"),
            ("docker.io", "https://auth.docker.io:8443/token"),
            ("docker.io", "https://registry-1.docker.io:8443/token"),
            ("acme.azurecr.io", "https://acme.azurecr.io:444/oauth2/token"),
            ("public.ecr.aws", "https://public.ecr.aws:8443/token/"),
        ] {
            assert!(!trusts(host, realm), "{host} {realm}");
        }
    }
}
