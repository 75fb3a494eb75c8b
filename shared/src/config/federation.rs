//! Where logins are had that no secret holds, or not alone: Google's token service, Entra's authorities.

use std::sync::Arc;

use url::Url;

use super::RegistryConfig;
use crate::{provider::Provider, settings::WorkloadIdentitySettings};

/// Google's Security Token Service.
const GOOGLE_TOKENS: &str = "https://sts.googleapis.com";

/// Google's IAM Service Account Credentials API.
const GOOGLE_IAM: &str = "https://iamcredentials.googleapis.com";

/// Who the function is at Google.
#[derive(Debug, Clone)]
pub struct WorkloadIdentity {
    /// The provider of the pool, by its full resource name.
    pub audience: String,
    /// The service account to become; `None`: the pool's principal has rights of its own.
    pub service_account: Option<String>,
    /// Where the pool's tokens are had.
    pub token_endpoint: Url,
    /// Where the service account's tokens are had.
    pub iam_endpoint: Url,
    /// Extra trust, PEM: the registry's own, for endpoints that were configured.
    pub ca_certificate: Option<Arc<str>>,
}

/// Where applications of Microsoft Entra ID sign in.
#[derive(Debug, Clone)]
pub struct EntraAuthority {
    /// Where it answers.
    pub endpoint: Url,
    /// Extra trust, PEM: the registry's own, for an authority that was configured.
    pub ca_certificate: Option<Arc<str>>,
}

/// Fills in and checks what of one registry's settings is about other services' logins; `known` has the rest already.
pub(super) fn fill_in(
    known: &mut RegistryConfig,
    identity: Option<WorkloadIdentitySettings>,
    authority: Option<String>,
    plain_http: bool,
    path: &str,
    mistakes: &mut Vec<String>,
) {
    let checked = |text: &str, key: &str, mistakes: &mut Vec<String>| {
        let url = super::validate::checked_endpoint(text, plain_http && text.starts_with("http://"));
        url.inspect_err(|reason| mistakes.push(format!("{path}.{key}: {reason}"))).ok()
    };
    let own_trust = |configured: bool| known.ca_certificate.clone().filter(|_| configured);
    if known.provider == Provider::Acr {
        let ca_certificate = own_trust(authority.is_some());
        let text = authority.as_deref().unwrap_or(authority_of(&known.host));
        known.authority =
            checked(text, "authority", mistakes).map(|endpoint| EntraAuthority { endpoint, ca_certificate });
    } else if authority.is_some() {
        mistakes.push(format!("{path}.authority: only Azure registries have it; set `provider` if this is one"));
    }
    let Some(identity) = identity else { return };
    let ca_certificate = own_trust(identity.token_endpoint.is_some() || identity.iam_endpoint.is_some());
    let token_endpoint = identity.token_endpoint.as_deref().unwrap_or(GOOGLE_TOKENS);
    let token_endpoint = checked(token_endpoint, "workload_identity.token_endpoint", mistakes);
    let iam_endpoint = identity.iam_endpoint.as_deref().unwrap_or(GOOGLE_IAM);
    let iam_endpoint = checked(iam_endpoint, "workload_identity.iam_endpoint", mistakes);
    let path = format!("{path}.workload_identity");
    if known.provider != Provider::Gar {
        mistakes.push(format!("{path}: only Google Artifact Registry has it; set `provider` if this is one"));
    }
    if known.credentials.is_some() {
        mistakes.push(format!("{path}: goes without credentials; drop one of the two"));
    }
    if !is_provider_name(&identity.audience) {
        mistakes.push(format!(
            "{path}.audience: expected //iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/\
             providers/PROVIDER"
        ));
    }
    let is_account = |text: &str| {
        // It stands in a URL's path.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'@');
        text.contains('@') && text.bytes().all(plain)
    };
    if identity.service_account.as_deref().is_some_and(|text| !is_account(text)) {
        mistakes.push(format!("{path}.service_account: expected NAME@PROJECT.iam.gserviceaccount.com"));
    }
    if let (Some(token_endpoint), Some(iam_endpoint)) = (token_endpoint, iam_endpoint) {
        let WorkloadIdentitySettings { audience, service_account, .. } = identity;
        known.workload_identity =
            Some(WorkloadIdentity { audience, service_account, token_endpoint, iam_endpoint, ca_certificate });
    }
}

/// Source: Google Cloud, "Configure Workload Identity Federation with AWS or Azure".
fn is_provider_name(text: &str) -> bool {
    let Some(name) = text.strip_prefix("//iam.googleapis.com/") else { return false };
    let parts: Vec<&str> = name.split('/').collect();
    let known = matches!(parts[..], ["projects", _, "locations", _, "workloadIdentityPools", _, "providers", _]);
    // It stands in a header.
    known && parts.iter().all(|part| !part.is_empty()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The authority of a registry's cloud.
///
/// Source: Microsoft Entra, "National clouds".
fn authority_of(host: &str) -> &'static str {
    let name = host.split(':').next().unwrap_or(host);
    match name.rsplit_once('.') {
        Some((rest, "cn")) if rest.ends_with(".azurecr") => "https://login.partner.microsoftonline.cn",
        Some((rest, "us")) if rest.ends_with(".azurecr") => "https://login.microsoftonline.us",
        _ => "https://login.microsoftonline.com",
    }
}

#[cfg(test)]
#[path = "federation_tests.rs"]
mod tests;
