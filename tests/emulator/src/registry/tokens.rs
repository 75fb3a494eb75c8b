//! The token service: who asks for which scopes, and what of them is granted.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use serde_json::{Map, Value};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    entra, google, lock,
    registry::{
        Credentials, Personality, Shared,
        body::Upstream,
        reply::{Answer, Halt, Reply, refuse},
        route::Query,
        server::Head,
    },
    token::{self, BearerClaims, EcrClaims, Scope},
};

/// The one scope of ECR Public, which its challenge names: none of `type:name:actions`.
pub(super) const PUBLIC_SCOPE: &str = "aws";

/// The path where ACR exchanges tokens of Microsoft Entra ID.
pub(super) const EXCHANGE: &str = "/oauth2/exchange";

pub(super) async fn serve(shared: &Shared, head: &Head, body: &mut Upstream) -> Answer {
    if !matches!(shared.credentials, Credentials::Tokens { .. }) {
        return Err(Reply::new(404).into());
    }
    let (query, user) = match head.method {
        Method::GET => (head.query.clone(), by_header(shared, head)?),
        Method::POST => {
            let form = read_form(shared, body).await?;
            let user = by_form(shared, &form)?;
            (form, user)
        }
        _ => return Err(refuse(405, "UNSUPPORTED", "the operation is unsupported")),
    };
    let service = query.get("service").unwrap_or_default();
    if service != shared.service() {
        return Err(refuse(400, "UNSUPPORTED", "the service is unknown"));
    }
    if user.is_none() && !shared.anonymous_pull && shared.personality != Personality::DockerHub {
        return Err(unauthorized());
    }
    // Several scopes come as several members, or as one with spaces.
    let named: Vec<&str> = query.all("scope").flat_map(str::split_whitespace).collect();
    let scopes = named.iter().filter_map(|scope| Scope::parse(scope));
    let mut granted: Vec<Scope> = scopes.filter_map(|scope| grant(shared, user.as_deref(), scope)).collect();
    if shared.personality == Personality::EcrPublic && named.contains(&PUBLIC_SCOPE) {
        granted.push(Scope { kind: PUBLIC_SCOPE.to_owned(), name: String::new(), actions: Vec::new() });
    }
    Ok(answer(shared, &query, user.as_deref(), granted))
}

async fn read_form(shared: &Shared, body: &mut Upstream) -> Result<Query, Halt> {
    let bytes = body.collect(64 * 1024).await?;
    let text = String::from_utf8_lossy(&bytes);
    lock(&shared.forms).push(text.clone().into_owned());
    Ok(Query::parse(&text))
}

/// ACR: a refresh token for a token of Microsoft Entra ID (Azure/acr, `docs/AAD-OAuth.md`).
pub(super) async fn exchange(shared: &Shared, head: &Head, body: &mut Upstream) -> Answer {
    if head.method != Method::POST || !matches!(shared.credentials, Credentials::Tokens { .. }) {
        return Err(Reply::new(404).into());
    }
    let form = read_form(shared, body).await?;
    let field = |name: &str| form.get(name).unwrap_or_default();
    if field("grant_type") != "access_token" || field("service") != shared.service() {
        return Err(refuse(400, "UNSUPPORTED", "the grant type or the service is unknown"));
    }
    let who = entra::who(field("access_token")).ok_or_else(unauthorized)?;
    if who.split('/').next() != Some(field("tenant")) {
        return Err(unauthorized());
    }
    let refresh = token::bearer(&shared.service(), Some(&who), Vec::new(), true, shared.refresh_lifetime);
    Ok(Reply::new(200).json(&serde_json::json!({ "refresh_token": refresh })))
}

fn by_header(shared: &Shared, head: &Head) -> Result<Option<String>, Halt> {
    let Some(header) = head.text("authorization") else { return Ok(None) };
    let (user, password) = token::basic(header).ok_or_else(unauthorized)?;
    check(shared, &user, &password).map(Some)
}

fn by_form(shared: &Shared, form: &Query) -> Result<Option<String>, Halt> {
    match form.get("grant_type") {
        Some("password") => {
            let user = form.get("username").unwrap_or_default();
            check(shared, user, form.get("password").unwrap_or_default()).map(Some)
        }
        Some("refresh_token") => {
            let given = form.get("refresh_token").unwrap_or_default();
            match token::open::<BearerClaims>(given, shared.tokens_since()) {
                Ok(claims) if claims.refresh => Ok(claims.user),
                _ => Err(unauthorized()),
            }
        }
        _ => Err(refuse(400, "UNSUPPORTED", "the grant type is unsupported")),
    }
}

fn check(shared: &Shared, user: &str, password: &str) -> Result<String, Halt> {
    let Credentials::Tokens { user: known, password: secret } = &shared.credentials else {
        return Err(unauthorized());
    };
    let good = if shared.personality == Personality::EcrPublic && secret.is_empty() {
        let claims = token::open::<EcrClaims>(password, shared.tokens_since());
        user == "AWS" && claims.is_ok_and(|claims| claims.service == "ecr-public")
    } else if shared.personality == Personality::Gar {
        artifact_registry(shared, user, password, (known, secret))
    } else {
        user == known && password == secret
    };
    match good {
        true => Ok(user.to_owned()),
        false if shared.personality == Personality::Ghcr => Err(refuse(403, "DENIED", "denied: denied")),
        false => Err(unauthorized()),
    }
}

/// The users of Artifact Registry, which names what the password is (Artifact Registry, "Configure authentication to
/// Artifact Registry for Docker"); `known` is the one who was configured.
fn artifact_registry(shared: &Shared, user: &str, password: &str, known: (&str, &str)) -> bool {
    match user {
        "oauth2accesstoken" => google::is_access_token(password, shared.tokens_since()) || (user, password) == known,
        "_json_key" => (user, password) == known,
        "_json_key_base64" => {
            let decoded = STANDARD.decode(password).unwrap_or_default();
            known.0 == "_json_key" && decoded == known.1.as_bytes()
        }
        _ => false,
    }
}

/// A user may do everything; anybody else may at most read.
fn grant(shared: &Shared, user: Option<&str>, mut scope: Scope) -> Option<Scope> {
    if user.is_none() {
        scope.actions.retain(|action| action == "pull" && shared.anonymous_pull);
        if scope.kind != "repository" {
            return None;
        }
    }
    (!scope.actions.is_empty()).then_some(scope)
}

fn answer(shared: &Shared, query: &Query, user: Option<&str>, scopes: Vec<Scope>) -> Reply {
    let lifetime = shared.token_lifetime;
    let service = shared.service();
    let access = token::bearer(&service, user, scopes, false, lifetime);
    let mut body = Map::new();
    for member in ["token", "access_token"] {
        if shared.traits.token_member.is_none_or(|only| only == member) {
            body.insert(member.into(), access.clone().into());
        }
    }
    body.insert("expires_in".into(), Value::from(lifetime.as_secs()));
    body.insert("issued_at".into(), rfc3339(OffsetDateTime::now_utc()).into());
    let offline = query.get("offline_token") == Some("true") || query.get("access_type") == Some("offline");
    if user.is_some() && offline {
        let refresh = token::bearer(&service, user, Vec::new(), true, shared.refresh_lifetime);
        body.insert("refresh_token".into(), refresh.into());
    }
    Reply::new(200).json(&Value::Object(body))
}

fn unauthorized() -> Halt {
    Reply::error(401, "UNAUTHORIZED", "authentication required")
        .header("www-authenticate", r#"Basic realm="token service""#)
        .into()
}

/// `2026-11-22T15:04:05Z`.
fn rfc3339(time: OffsetDateTime) -> String {
    let whole_seconds = time.replace_nanosecond(0).unwrap_or(time);
    whole_seconds.format(&Rfc3339).expect("a year of four digits")
}
