//! The forms of a secret: which login a text holds for one registry.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;

use crate::{
    aws::Identity,
    oci::normalize_host,
    provider::Provider,
    registry::{Login, Secret, ServicePrincipal},
};

/// For whom a text is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'w> {
    /// The registry's host: a docker `config.json` has entries for several.
    pub(super) host: &'w str,
    /// Its kind: what belongs to one cloud is given to no other registry.
    pub(super) provider: Provider,
    /// The repository: an entry of a `config.json` may be for a part of a registry.
    pub(super) repository: &'w str,
}

#[derive(Deserialize)]
struct Pair {
    username: String,
    password: String,
}

#[derive(Deserialize)]
struct Principal {
    tenant: String,
    client_id: String,
    client_secret: String,
}

#[derive(Deserialize)]
struct Typed {
    r#type: String,
}

#[derive(Deserialize)]
struct DockerConfig {
    /// Sorted, so that of two keys for one place always the same one is taken.
    auths: BTreeMap<String, DockerEntry>,
}

#[derive(Deserialize)]
struct DockerEntry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

/// Reads `USER:PASSWORD`, `{"username","password"}`, a docker `config.json`, a key file of a Google service account, or
/// `{"tenant","client_id","client_secret"}` of Microsoft Entra ID. The text is in no error.
pub(super) fn parse(text: &str, wanted: Wanted<'_>) -> Result<Login, String> {
    let text = text.trim();
    if !text.starts_with('{') {
        let (user, pass) = text.split_once(':').ok_or("expected USER:PASSWORD or JSON")?;
        return Ok(password(user, pass));
    }
    if let Ok(pair) = serde_json::from_str::<Pair>(text) {
        return Ok(password(&pair.username, &pair.password));
    }
    if serde_json::from_str::<Typed>(text).is_ok_and(|typed| typed.r#type == "service_account") {
        return only(wanted, Provider::Gar, "a key of a Google service account", "gar", password("_json_key", text));
    }
    if let Ok(Principal { tenant, client_id, client_secret }) = serde_json::from_str(text) {
        let principal = ServicePrincipal { tenant, client_id, client_secret: Secret::new(client_secret) };
        let what = "an application of Microsoft Entra ID";
        return only(wanted, Provider::Acr, what, "acr", Login::ServicePrincipal(principal));
    }
    let config: DockerConfig = serde_json::from_str(text).map_err(|_| {
        "the JSON is neither {\"username\":…,\"password\":…} nor a docker config.json, a service account's key file or \
         {\"tenant\":…,\"client_id\":…,\"client_secret\":…}"
            .to_owned()
    })?;
    let entry =
        entry_for(&config, wanted).ok_or_else(|| format!("the docker config.json has no entry for {}", wanted.host))?;
    of_entry(entry, wanted.host)
}

/// Reads `{"access_key_id","secret_access_key","session_token"}`, an AWS identity.
pub(super) fn identity(text: &str) -> Option<Identity> {
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

fn password(user: &str, password: &str) -> Login {
    Login::Password { user: user.to_owned(), password: Secret::new(password) }
}

/// What one cloud gave is a secret from all others.
fn only(wanted: Wanted<'_>, provider: Provider, what: &str, name: &str, login: Login) -> Result<Login, String> {
    if wanted.provider == provider {
        return Ok(login);
    }
    Err(format!(
        "it is {what}, which is not given to another kind of registry; if this is one, set `provider` to {name}"
    ))
}

fn of_entry(entry: &DockerEntry, host: &str) -> Result<Login, String> {
    if let Some(token) = entry.identitytoken.as_deref().filter(|token| !token.is_empty()) {
        return Ok(Login::IdentityToken(Secret::new(token)));
    }
    if let (Some(user), Some(pass)) = (&entry.username, &entry.password) {
        return Ok(password(user, pass));
    }
    let wrong = || format!("the docker config.json's entry for {host} is not base64 of USER:PASSWORD");
    let decoded = BASE64_STANDARD.decode(entry.auth.as_deref().unwrap_or_default()).map_err(|_| wrong())?;
    let decoded = String::from_utf8(decoded).map_err(|_| wrong())?;
    let (user, pass) = decoded.split_once(':').ok_or_else(wrong)?;
    Ok(password(user, pass))
}

/// The entry for a repository: of those that it lies in, the one with the longest path; of two keys for one place, the
/// one that is the host itself, else the first in order.
///
/// Source: containers/image, `containers-auth.json(5)`.
fn entry_for<'c>(config: &'c DockerConfig, wanted: Wanted<'_>) -> Option<&'c DockerEntry> {
    let rank = |key: &str| {
        let (host, path) = place(key)?;
        let inside = |rest: &str| rest.is_empty() || rest.starts_with('/');
        let fits = path.is_empty() || wanted.repository.strip_prefix(path).is_some_and(inside);
        (host == wanted.host && fits).then_some((path.len(), key == wanted.host))
    };
    let mut best = None;
    for (key, entry) in &config.auths {
        if let Some(rank) = rank(key)
            && best.is_none_or(|(held, _)| rank > held)
        {
            best = Some((rank, entry));
        }
    }
    best.map(|(_, entry)| entry)
}

/// The host of a `config.json` key, and the path that it is limited to. Docker writes URLs, whose path is that of an
/// API (`https://index.docker.io/v1/`) and limits nothing.
fn place(key: &str) -> Option<(String, &str)> {
    let (is_url, rest) = match key.split_once("://") {
        Some((_, rest)) => (true, rest),
        None => (false, key),
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.trim_end_matches('/');
    let path = if is_url || matches!(path, "v1" | "v2") { "" } else { path };
    Some((normalize_host(host)?, path))
}

#[cfg(test)]
#[path = "form_tests.rs"]
mod tests;
