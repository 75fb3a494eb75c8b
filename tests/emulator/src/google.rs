//! Google's Security Token Service and IAM credentials API, as far as workload identity federation with AWS goes.
//!
//! The real service sends the signed request to AWS to be told who signed it; this one knows the secret and checks the
//! signature itself.

mod signed;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use self::signed::check;
use crate::{
    lock,
    pki::Authority,
    registry::form_of,
    service::{Asked, Service, ServiceCall},
    token::{self, BearerClaims},
};

/// What tokens are called that Artifact Registry takes.
pub(crate) const ACCESS: &str = "google-access";

/// A pool's token that is good for becoming a service account, and for nothing else.
const FEDERATED: &str = "google-federated";

/// The scope of all tokens here.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// Google, listening. It stops when this is dropped.
pub struct Google {
    service: Service,
    state: Arc<Mutex<State>>,
}

struct State {
    audience: String,
    /// The service account that the pool's principal may become; none: the principal has rights itself.
    service_account: Option<String>,
    access_key: String,
    secret: String,
    lifetime: Duration,
}

impl Google {
    /// Starts with one pool's provider, known as `audience`, which takes what `access_key` signs with `secret`.
    pub async fn start(authority: &Authority, audience: &str, access_key: &str, secret: &str) -> Self {
        let state = Arc::new(Mutex::new(State {
            audience: audience.to_owned(),
            service_account: None,
            access_key: access_key.to_owned(),
            secret: secret.to_owned(),
            lifetime: Duration::from_secs(3600),
        }));
        let shared = Arc::clone(&state);
        let service = Service::start(authority, move |asked| lock(&shared).answer(asked)).await;
        Self { service, state }
    }

    /// The URL of both services.
    #[must_use]
    pub fn url(&self) -> String {
        self.service.url()
    }

    /// Only this service account has rights; the pool's principal may become it.
    pub fn require_service_account(&self, email: &str) {
        lock(&self.state).service_account = Some(email.to_owned());
    }

    /// How long tokens live from now on; the default is an hour.
    pub fn set_lifetime(&self, lifetime: Duration) {
        lock(&self.state).lifetime = lifetime;
    }

    /// Answers the next request with this status instead, and `location` where there is one.
    pub fn answer_next(&self, status: u16, location: Option<&str>) {
        self.service.answer_next(status, location);
    }

    /// Every call so far.
    #[must_use]
    pub fn calls(&self) -> Vec<ServiceCall> {
        self.service.calls()
    }

    /// An access token that Artifact Registry takes.
    #[must_use]
    pub fn access_token(lifetime: Duration) -> String {
        token::bearer(ACCESS, Some("somebody"), Vec::new(), false, lifetime)
    }
}

/// Whether Artifact Registry takes this access token, issued after `since`.
pub(crate) fn is_access_token(text: &str, since: u64) -> bool {
    token::open::<BearerClaims>(text, since).is_ok_and(|claims| claims.service == ACCESS)
}

impl State {
    fn answer(&self, asked: &Asked) -> (u16, Value) {
        match (asked.method.as_str(), asked.path.as_str()) {
            ("POST", "/v1/token") => self.exchange(asked),
            ("POST", path) => match path.strip_prefix("/v1/projects/-/serviceAccounts/") {
                Some(rest) => self.impersonate(asked, rest),
                None => (404, Value::Null),
            },
            _ => (404, Value::Null),
        }
    }

    fn exchange(&self, asked: &Asked) -> (u16, Value) {
        let refuse = |code: &str, text: &str| (400, json!({ "error": code, "error_description": text }));
        if asked.header("authorization").is_some() {
            return refuse("invalid_request", "The Authorization header is not expected.");
        }
        let form = form_of(&asked.body);
        let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        for (name, expected) in [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("subject_token_type", "urn:ietf:params:aws:token-type:aws4_request"),
            ("scope", SCOPE),
        ] {
            if field(name) != expected {
                return refuse("invalid_request", &format!("Invalid value for \"{name}\"."));
            }
        }
        if field("audience") != self.audience {
            let text = "The target service indicated by the \"audience\" parameters is invalid. This might either be \
                        because the pool or provider is disabled or deleted or because it doesn't exist.";
            return refuse("invalid_target", text);
        }
        if let Err(reason) = check(field("subject_token"), &self.audience, &self.access_key, &self.secret) {
            return refuse("invalid_grant", &reason);
        }
        let name = if self.service_account.is_some() { FEDERATED } else { ACCESS };
        let answer = json!({
            "access_token": token::bearer(name, Some("principal"), Vec::new(), false, self.lifetime),
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "token_type": "Bearer",
            "expires_in": self.lifetime.as_secs(),
        });
        (200, answer)
    }

    fn impersonate(&self, asked: &Asked, rest: &str) -> (u16, Value) {
        let refuse = |code: u16, status: &str, text: &str| {
            (code, json!({ "error": { "code": code, "message": text, "status": status } }))
        };
        let bearer = asked.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let federated = bearer
            .is_some_and(|text| token::open::<BearerClaims>(text, 0).is_ok_and(|claims| claims.service == FEDERATED));
        if !federated {
            return refuse(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.");
        }
        let account = rest.strip_suffix(":generateAccessToken");
        if account.is_none() || account != self.service_account.as_deref() {
            let text = "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).";
            return refuse(403, "PERMISSION_DENIED", text);
        }
        let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
        if body["scope"] != json!([SCOPE]) {
            return refuse(400, "INVALID_ARGUMENT", "Invalid scope.");
        }
        let end = OffsetDateTime::now_utc() + self.lifetime;
        let end = end.replace_nanosecond(0).unwrap_or(end).format(&Rfc3339).expect("a year of four digits");
        let access = token::bearer(ACCESS, account, Vec::new(), false, self.lifetime);
        (200, json!({ "accessToken": access, "expireTime": end }))
    }
}
