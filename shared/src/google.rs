//! Artifact Registry without a key: Google gives a token for what AWS says of the function's role.
//!
//! Source: Google Cloud, "Configure Workload Identity Federation with AWS or Azure" and "Method: token" of the Security
//! Token Service; IAM Service Account Credentials API, `generateAccessToken`.

mod caller_identity;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use caller_identity::signed_request;
use futures::future::BoxFuture;
use http::{HeaderValue, header::AUTHORIZATION};
use serde::Deserialize;
use serde_json::json;

use crate::{
    aws::Aws,
    config::WorkloadIdentity,
    error::{Error, ErrorType},
    exchange::{self, Exchange},
    registry::{KeptLogin, Login, LoginIssued, LoginRequest, LoginSource, Run, Secret},
    retry::RetryPolicy,
    transport::Transport,
};

/// The user that goes with an access token (Artifact Registry, "Configure authentication to Artifact Registry for
/// Docker").
const USER: &str = "oauth2accesstoken";

/// What the token may be used for; what it really may do, the roles of its account say.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// Tokens live an hour; one that has less left than this is replaced.
const RENEW_BEFORE: Duration = Duration::from_secs(5 * 60);

/// No token is believed to live longer, whatever its service says.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// The login of Artifact Registry by workload identity federation.
#[derive(Debug)]
pub struct GoogleLogin {
    aws: Arc<Aws>,
    identity: WorkloadIdentity,
    transport: Transport,
    policy: RetryPolicy,
    kept: KeptLogin,
}

#[derive(Deserialize)]
struct Federated {
    access_token: String,
    expires_in: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Impersonated {
    access_token: String,
    expire_time: Option<String>,
}

impl GoogleLogin {
    /// The login as `identity`; `transport` is the way to its endpoints. Nothing is asked yet.
    #[must_use]
    pub fn new(aws: Arc<Aws>, identity: WorkloadIdentity, transport: Transport, policy: RetryPolicy) -> Self {
        Self { aws, identity, transport, policy, kept: KeptLogin::renewed(RENEW_BEFORE) }
    }

    async fn fetch(&self, run: &Run) -> Result<LoginIssued, Error> {
        let federated = self.federated(run).await?;
        let (token, expires) = match &self.identity.service_account {
            None => {
                let life = federated.expires_in.map(|seconds| Duration::from_secs(seconds).min(LONGEST_LIFE));
                (Secret::new(federated.access_token), life.map(|life| SystemTime::now() + life))
            }
            Some(account) => self.impersonated(account, Secret::new(federated.access_token), run).await?,
        };
        let login = Login::Password { user: USER.to_owned(), password: token };
        Ok(LoginIssued { login, expires })
    }

    /// A token of the pool, for a request that AWS will know as the function's.
    async fn federated(&self, run: &Run) -> Result<Federated, Error> {
        let audience = &self.identity.audience;
        let account = self.identity.service_account.as_ref();
        let account = account.map(|account| format!(", for the service account {account}")).unwrap_or_default();
        let doing = format!("exchanging the function's AWS role for a Google token (audience {audience}{account})");
        let (credentials, region) = self.aws.signer(&doing).await?;
        let (subject, signature) = signed_request(&credentials, &region, audience, SystemTime::now())
            .map_err(|reason| Error::new(ErrorType::InvalidConfig, format!("{doing}: it can't be signed: {reason}")))?;
        let session = Secret::new(credentials.session_token().unwrap_or_default());
        let mut url = self.identity.token_endpoint.clone();
        url.set_path("/v1/token");
        let request = exchange::form(
            url,
            &[
                ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                ("audience", audience),
                ("scope", SCOPE),
                ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
                ("subject_token_type", "urn:ietf:params:aws:token-type:aws4_request"),
                ("subject_token", subject.reveal()),
            ],
        );
        let exchange = Exchange {
            transport: &self.transport,
            policy: self.policy,
            run,
            doing: &doing,
            advice: "; check workload_identity.audience, and that the pool's provider takes this function's AWS account \
                     and role",
            hidden: &[&subject, &signature, &session],
        };
        exchange.ask(request).await
    }

    /// A token of the service account, for one of the pool.
    async fn impersonated(
        &self,
        account: &str,
        federated: Secret,
        run: &Run,
    ) -> Result<(Secret, Option<SystemTime>), Error> {
        let audience = &self.identity.audience;
        let doing = format!("getting a token of the service account {account} (audience {audience})");
        let mut url = self.identity.iam_endpoint.clone();
        url.set_path(&format!("/v1/projects/-/serviceAccounts/{account}:generateAccessToken"));
        let mut request = exchange::json(url, &json!({ "scope": [SCOPE], "lifetime": "3600s" }));
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", federated.reveal())).map_err(|_| {
            Error::new(ErrorType::Unavailable, format!("{doing}: the pool's token holds characters that no header can"))
        })?;
        bearer.set_sensitive(true);
        request.headers.insert(AUTHORIZATION, bearer);
        let exchange = Exchange {
            transport: &self.transport,
            policy: self.policy,
            run,
            doing: &doing,
            advice: "; grant roles/iam.workloadIdentityUser on the service account to the pool's principal",
            hidden: &[&federated],
        };
        let answer: Impersonated = exchange.ask(request).await?;
        let expires = answer.expire_time.as_deref().and_then(|time| chrono::DateTime::parse_from_rfc3339(time).ok());
        Ok((Secret::new(answer.access_token), expires.map(SystemTime::from)))
    }
}

impl LoginSource for GoogleLogin {
    fn login<'a>(&'a self, asked: LoginRequest<'a>) -> BoxFuture<'a, Result<LoginIssued, Error>> {
        Box::pin(self.kept.login(asked.refused, self.fetch(asked.run)))
    }
}
