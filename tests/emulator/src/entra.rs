//! An authority of Microsoft Entra ID that knows one application, as far as signing in by its secret goes.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    lock,
    pki::Authority,
    registry::form_of,
    service::{Asked, Service, ServiceCall},
    token::{self, BearerClaims},
};

/// What tokens are called that registries exchange.
const ACCESS: &str = "entra-access";

/// The authority, listening. It stops when this is dropped.
pub struct Entra {
    service: Service,
    secret: Arc<Mutex<String>>,
}

impl Entra {
    /// Starts with one application of `tenant`.
    pub async fn start(authority: &Authority, tenant: &str, client_id: &str, secret: &str) -> Self {
        let secret = Arc::new(Mutex::new(secret.to_owned()));
        let (known, tenant, client_id) = (Arc::clone(&secret), tenant.to_owned(), client_id.to_owned());
        let service = Service::start(authority, move |asked| answer(asked, &tenant, &client_id, &lock(&known))).await;
        Self { service, secret }
    }

    /// The authority's URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.service.url()
    }

    /// Gives the application another secret.
    pub fn rotate(&self, secret: &str) {
        *lock(&self.secret) = secret.to_owned();
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
}

/// The tenant and application of a token that an authority of this process gave.
pub(crate) fn who(text: &str) -> Option<String> {
    let claims = token::open::<BearerClaims>(text, 0).ok()?;
    claims.user.filter(|_| claims.service == ACCESS)
}

fn answer(asked: &Asked, tenant: &str, client_id: &str, secret: &str) -> (u16, Value) {
    let refuse = |status: u16, code: &str, text: &str| (status, json!({ "error": code, "error_description": text }));
    let known = format!("/{tenant}/oauth2/v2.0/token");
    if asked.method != "POST" || asked.path != known {
        return refuse(400, "invalid_request", "AADSTS90002: Tenant not found.");
    }
    let form = form_of(&asked.body);
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    if field("grant_type") != "client_credentials" || field("scope") != "https://containerregistry.azure.net/.default" {
        return refuse(400, "invalid_scope", "AADSTS70011: The provided value for scope is not valid.");
    }
    if field("client_id") != client_id {
        return refuse(400, "unauthorized_client", "AADSTS700016: Application was not found in the directory.");
    }
    if field("client_secret") != secret {
        // Services have been seen to repeat what they were sent.
        let text = format!("AADSTS7000215: Invalid client secret provided: '{}'.", field("client_secret"));
        return refuse(401, "invalid_client", &text);
    }
    let life = Duration::from_secs(3599);
    let access = token::bearer(ACCESS, Some(&format!("{tenant}/{client_id}")), Vec::new(), false, life);
    (200, json!({ "token_type": "Bearer", "expires_in": life.as_secs(), "access_token": access }))
}
