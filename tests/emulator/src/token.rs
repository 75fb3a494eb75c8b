//! Tokens: those that ECR's API hands out, and those of a Bearer token service.
//!
//! A token carries its own claims and a signature of this process, so that any registry of the process can
//! check it and none has to be told.

use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::random;

/// Who a token of ECR's `GetAuthorizationToken` stands for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EcrClaims {
    /// The account that asked.
    pub account: String,
    /// The region it is good for.
    pub region: String,
    /// `ecr` or `ecr-public`.
    pub service: String,
    /// The principal's ARN, for texts.
    pub principal: String,
    /// When it was issued, in microseconds since 1970.
    issued: u64,
    /// When it expires, in microseconds since 1970.
    expires: u64,
}

/// What a Bearer token allows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BearerClaims {
    pub(crate) service: String,
    pub(crate) user: Option<String>,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) refresh: bool,
    issued: u64,
    expires: u64,
}

/// One resource and what may be done with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scope {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) actions: Vec<String>,
}

impl Scope {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        let (name, actions) = rest.rsplit_once(':')?;
        let actions = actions.split(',').map(str::to_owned).collect();
        Some(Self { kind: kind.to_owned(), name: name.to_owned(), actions })
    }
}

/// When a token was made and until when it holds.
pub(crate) trait Dated {
    fn issued(&self) -> u64;
    fn expires(&self) -> u64;
}

impl Dated for EcrClaims {
    fn issued(&self) -> u64 {
        self.issued
    }
    fn expires(&self) -> u64 {
        self.expires
    }
}

impl Dated for BearerClaims {
    fn issued(&self) -> u64 {
        self.issued
    }
    fn expires(&self) -> u64 {
        self.expires
    }
}

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejected {
    Unknown,
    Expired,
}

/// The password of a new token for ECR (`ecr`) or ECR Public (`ecr-public`).
#[must_use]
pub fn ecr_password(service: &str, account: &str, region: &str, principal: &str, lifetime: Duration) -> String {
    let now = now();
    seal(&EcrClaims {
        account: account.to_owned(),
        region: region.to_owned(),
        service: service.to_owned(),
        principal: principal.to_owned(),
        issued: now,
        expires: now.saturating_add(micros(lifetime)),
    })
}

/// The token of a password: what follows `Basic ` in the `Authorization` header.
#[must_use]
pub fn ecr_token(password: &str) -> String {
    STANDARD.encode(format!("AWS:{password}"))
}

pub(crate) fn bearer(
    service: &str,
    user: Option<&str>,
    scopes: Vec<Scope>,
    refresh: bool,
    lifetime: Duration,
) -> String {
    let now = now();
    let user = user.map(str::to_owned);
    let expires = now.saturating_add(micros(lifetime));
    seal(&BearerClaims { service: service.to_owned(), user, scopes, refresh, issued: now, expires })
}

/// Opens a token that was issued after `since` and holds still.
pub(crate) fn open<T: DeserializeOwned + Dated>(token: &str, since: u64) -> Result<T, Rejected> {
    let (body, signature) = token.rsplit_once('.').ok_or(Rejected::Unknown)?;
    if random::sign(body) != signature {
        return Err(Rejected::Unknown);
    }
    let bytes = STANDARD.decode(body).map_err(|_| Rejected::Unknown)?;
    let claims: T = serde_json::from_slice(&bytes).map_err(|_| Rejected::Unknown)?;
    let expired = claims.expires() <= now() || claims.issued() < since;
    if expired { Err(Rejected::Expired) } else { Ok(claims) }
}

pub(crate) fn now() -> u64 {
    micros(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn seal<T: Serialize>(claims: &T) -> String {
    let body = STANDARD.encode(serde_json::to_vec(claims).expect("claims are plain data"));
    let signature = random::sign(&body);
    format!("{body}.{signature}")
}

/// User and password of a `Basic` authorization.
pub(crate) fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}
