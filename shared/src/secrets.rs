//! Registry credentials from Secrets Manager or the environment, fetched once and again when they are refused.

use std::{collections::HashMap, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures::future::BoxFuture;
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};

use crate::{
    aws::{Aws, CountCalls, Identity, IdentitySource, failure},
    config::CredentialSource,
    error::{Error, ErrorType},
    oci::normalize_host,
    registry::{Login, LoginIssued, LoginSource, Secret},
    settings::variable,
    transport::Meter,
};

/// The login that a configured secret holds for one registry.
#[derive(Debug)]
pub struct SecretLogin {
    aws: Arc<Aws>,
    source: CredentialSource,
    /// The registry's host: a docker `config.json` has entries for several.
    host: String,
    /// The lock is held while the secret is fetched, so that there is one fetch in flight.
    kept: Mutex<Option<(Held, Instant)>>,
}

/// What a secret holds.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Held {
    Login(Login),
    /// ECR: who asks its API, for a login among other things.
    Identity(Identity),
}

/// How long an identity that was read for one use is good for another one that comes next.
const JUST_READ: Duration = Duration::from_secs(60);

impl SecretLogin {
    /// The login of `source` for `host`; nothing is fetched yet.
    #[must_use]
    pub fn new(aws: Arc<Aws>, source: CredentialSource, host: &str) -> Self {
        Self { aws, source, host: host.to_owned(), kept: Mutex::default() }
    }

    async fn fetch(&self, meter: &Meter) -> Result<Held, Error> {
        let doing = format!("reading the credentials of {} from {}", self.host, self.place());
        let text = match &self.source {
            CredentialSource::Environment(name) => variable(name)
                .ok_or_else(|| Error::new(ErrorType::Unauthorized, format!("{doing}: the variable is not set")))?,
            CredentialSource::SecretsManager(id) => {
                let client = aws_sdk_secretsmanager::Client::new(&self.aws.config_in(arn_region(id)).await);
                let answer = client.get_secret_value().secret_id(id);
                let answer = answer.customize().interceptor(CountCalls::on(meter)).send().await;
                let answer = answer.map_err(|error| failure(&doing, &error))?;
                let text = answer.secret_string().map(str::to_owned);
                text.ok_or_else(|| Error::new(ErrorType::Unauthorized, format!("{doing}: the secret holds no text")))?
            }
        };
        if let Some(identity) = identity(&text) {
            return Ok(Held::Identity(identity));
        }
        let login = parse(&text, &self.host);
        login.map(Held::Login).map_err(|reason| Error::new(ErrorType::Unauthorized, format!("{doing}: {reason}")))
    }

    /// What the secret holds, fetched unless it was already and what is kept is `good`.
    async fn held(&self, good: impl Fn(&Held, Instant) -> bool, meter: &Meter) -> Result<Held, Error> {
        let mut kept = self.kept.lock().await;
        if let Some((held, _)) = kept.as_ref().filter(|(held, since)| good(held, *since)) {
            return Ok(held.clone());
        }
        let held = self.fetch(meter).await?;
        *kept = Some((held.clone(), Instant::now()));
        Ok(held)
    }

    fn place(&self) -> String {
        match &self.source {
            CredentialSource::Environment(name) => format!("the environment variable {name}"),
            CredentialSource::SecretsManager(id) => format!("the secret {id}"),
        }
    }
}

impl LoginSource for SecretLogin {
    fn login<'a>(&'a self, refused: Option<&'a Login>, meter: &'a Meter) -> BoxFuture<'a, Result<LoginIssued, Error>> {
        Box::pin(async move {
            match self.held(|held, _| !is_login(held, refused), meter).await? {
                Held::Login(login) => Ok(LoginIssued { login, expires: None }),
                Held::Identity(_) => Err(Error::new(
                    ErrorType::Unauthorized,
                    format!("{} holds an AWS identity, which private ECR registries alone take", self.place()),
                )),
            }
        })
    }
}

fn is_login(held: &Held, login: Option<&Login>) -> bool {
    matches!(held, Held::Login(kept) if Some(kept) == login)
}

impl IdentitySource for SecretLogin {
    fn identity(&self) -> BoxFuture<'_, Result<Option<Identity>, Error>> {
        Box::pin(async {
            let fresh = |held: &Held, since: Instant| matches!(held, Held::Login(_)) || since.elapsed() < JUST_READ;
            // Asked for inside a call of the API, which is what is counted.
            match self.held(fresh, &Meter::default()).await? {
                Held::Identity(identity) => Ok(Some(identity)),
                Held::Login(_) => Ok(None),
            }
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
    fn login<'a>(&'a self, refused: Option<&'a Login>, meter: &'a Meter) -> BoxFuture<'a, Result<LoginIssued, Error>> {
        Box::pin(async move {
            match self.secret.held(|held, _| !is_login(held, refused), meter).await? {
                Held::Login(login) => Ok(LoginIssued { login, expires: None }),
                Held::Identity(_) => self.api.login(refused, meter).await,
            }
        })
    }
}

/// Reads `{"access_key_id","secret_access_key","session_token"}`.
fn identity(text: &str) -> Option<Identity> {
    #[derive(Deserialize)]
    struct Wire {
        access_key_id: String,
        secret_access_key: String,
        session_token: Option<String>,
    }
    let wire: Wire = serde_json::from_str(text).ok()?;
    Some(Identity {
        access_key_id: wire.access_key_id,
        secret_access_key: Secret::new(&wire.secret_access_key),
        session_token: wire.session_token.as_deref().map(Secret::new),
    })
}

/// The region in an ARN: a secret is found in its own region alone.
fn arn_region(id: &str) -> Option<&str> {
    id.starts_with("arn:").then(|| id.split(':').nth(3)).flatten().filter(|region| !region.is_empty())
}

#[derive(Deserialize)]
struct Pair {
    username: String,
    password: String,
}

#[derive(Deserialize)]
struct DockerConfig {
    auths: HashMap<String, DockerEntry>,
}

#[derive(Deserialize)]
struct DockerEntry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

/// Reads `USER:PASSWORD`, `{"username","password"}` or a docker `config.json`. The text is in no error.
fn parse(text: &str, host: &str) -> Result<Login, String> {
    let text = text.trim();
    let password =
        |user: &str, password: &str| Ok(Login::Password { user: user.to_owned(), password: Secret::new(password) });
    if !text.starts_with('{') {
        let (user, pass) = text.split_once(':').ok_or("expected USER:PASSWORD or JSON")?;
        return password(user, pass);
    }
    if let Ok(pair) = serde_json::from_str::<Pair>(text) {
        return password(&pair.username, &pair.password);
    }
    let config: DockerConfig = serde_json::from_str(text)
        .map_err(|_| "the JSON is neither {\"username\":…,\"password\":…} nor a docker config.json".to_owned())?;
    let entry = config
        .auths
        .iter()
        .find(|(key, _)| entry_host(key).as_deref() == Some(host))
        .map(|(_, entry)| entry)
        .ok_or_else(|| format!("the docker config.json has no entry for {host}"))?;
    if let Some(token) = entry.identitytoken.as_deref().filter(|token| !token.is_empty()) {
        return Ok(Login::IdentityToken(Secret::new(token)));
    }
    if let (Some(user), Some(pass)) = (&entry.username, &entry.password) {
        return password(user, pass);
    }
    let wrong = || format!("the docker config.json's entry for {host} is not base64 of USER:PASSWORD");
    let decoded = BASE64_STANDARD.decode(entry.auth.as_deref().unwrap_or_default()).map_err(|_| wrong())?;
    let decoded = String::from_utf8(decoded).map_err(|_| wrong())?;
    let (user, pass) = decoded.split_once(':').ok_or_else(wrong)?;
    password(user, pass)
}

/// The host of a `config.json` key, which may be a URL (`https://index.docker.io/v1/`).
fn entry_host(key: &str) -> Option<String> {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    normalize_host(rest.split('/').next().unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(login: &Login) -> (&str, &str) {
        match login {
            Login::Password { user, password } => (user, password.reveal()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_documented_form_is_read() {
        assert_eq!(user(&parse("robot$a:p:w\n", "quay.io").unwrap()), ("robot$a", "p:w"));
        assert_eq!(user(&parse(r#"{"username":"u","password":"p"}"#, "quay.io").unwrap()), ("u", "p"));
        let config = format!(
            r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{}"}},"ghcr.io":{{"username":"g","password":"h"}},
               "acme.azurecr.io":{{"identitytoken":"t"}}}}}}"#,
            BASE64_STANDARD.encode("hub:pw")
        );
        assert_eq!(user(&parse(&config, "docker.io").unwrap()), ("hub", "pw"));
        assert_eq!(user(&parse(&config, "ghcr.io").unwrap()), ("g", "h"));
        assert_eq!(parse(&config, "acme.azurecr.io").unwrap(), Login::IdentityToken(Secret::new("t")));
        assert!(parse(&config, "quay.io").unwrap_err().contains("no entry for quay.io"));
    }

    #[test]
    fn a_secret_that_cant_be_read_is_not_repeated() {
        let key =
            identity(r#"{"access_key_id":"AKIA","secret_access_key":"hunter2","session_token":"hunter2"}"#).unwrap();
        assert!(!format!("{key:?}").contains("hunter2"));
        for text in ["hunter2", r#"{"hunter2":1}"#, r#"{"auths":{"quay.io":{"auth":"hunter2"}}}"#] {
            let reason = parse(text, "quay.io").unwrap_err();
            assert!(!reason.contains("hunter2"), "{reason}");
        }
        assert_eq!(format!("{:?}", parse("u:hunter2", "x").unwrap()).matches("hunter2").count(), 0);
    }
}
