//! ECR's authorization tokens: one for each registry, kept until they expire, one refresh in flight.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures::future::BoxFuture;

use super::{EcrApi, EcrPublicApi};
use crate::{
    aws::{CountCalls, failure},
    error::{Error, ErrorType},
    registry::{KeptLogin, Login, LoginIssued, LoginRequest, LoginSource, Secret},
    transport::Meter,
};

/// What a token lives (ECR API, `AuthorizationData`).
const LIFE: Duration = Duration::from_secs(12 * 3600);

/// Tokens live 12 hours; one that has less left than this is replaced, so that no sync outlives it.
const RENEW_BEFORE: Duration = Duration::from_secs(20 * 60);

/// The login of a private ECR registry.
#[derive(Debug)]
pub struct EcrLogin {
    api: Arc<EcrApi>,
    kept: KeptLogin,
}

impl EcrLogin {
    /// The login for the registry of `api`.
    #[must_use]
    pub fn new(api: Arc<EcrApi>) -> Self {
        Self { api, kept: KeptLogin::renewed(RENEW_BEFORE) }
    }

    async fn fetch(&self, meter: &Meter) -> Result<LoginIssued, Error> {
        let doing = format!("getting an ECR authorization token ({})", self.api.place());
        let call = self.api.client().await.get_authorization_token();
        let answer = call.customize().interceptor(CountCalls::on(meter)).send().await;
        let answer = answer.map_err(|error| failure(&doing, &error))?;
        let data = answer.authorization_data().first();
        let data = data.ok_or_else(|| Error::new(ErrorType::Unavailable, format!("{doing}: the answer is empty")))?;
        issued(&doing, data.authorization_token(), data.expires_at().map(|end| end.secs()))
    }
}

impl LoginSource for EcrLogin {
    fn login<'a>(&'a self, asked: LoginRequest<'a>) -> BoxFuture<'a, Result<LoginIssued, Error>> {
        Box::pin(self.kept.login(asked.refused, self.fetch(&asked.run.meter)))
    }
}

/// The login of ECR Public: the same kind of token, to be exchanged at its token service.
#[derive(Debug)]
pub struct EcrPublicLogin {
    api: Arc<EcrPublicApi>,
    kept: KeptLogin,
}

impl EcrPublicLogin {
    /// The login of whoever speaks to `api`.
    #[must_use]
    pub fn new(api: Arc<EcrPublicApi>) -> Self {
        Self { api, kept: KeptLogin::renewed(RENEW_BEFORE) }
    }

    async fn fetch(&self, meter: &Meter) -> Result<LoginIssued, Error> {
        let doing = "getting an ECR Public authorization token";
        let call = self.api.client().await.get_authorization_token();
        let answer = call.customize().interceptor(CountCalls::on(meter)).send().await;
        let answer = answer.map_err(|error| failure(doing, &error))?;
        let data = answer.authorization_data();
        let data = data.ok_or_else(|| Error::new(ErrorType::Unavailable, format!("{doing}: the answer is empty")))?;
        issued(doing, data.authorization_token(), data.expires_at().map(|end| end.secs()))
    }
}

impl LoginSource for EcrPublicLogin {
    fn login<'a>(&'a self, asked: LoginRequest<'a>) -> BoxFuture<'a, Result<LoginIssued, Error>> {
        Box::pin(self.kept.login(asked.refused, self.fetch(&asked.run.meter)))
    }
}

/// Reads a token: base64 of `AWS:PASSWORD`. Its text is in no error.
fn issued(doing: &str, token: Option<&str>, expires: Option<i64>) -> Result<LoginIssued, Error> {
    let wrong = || Error::new(ErrorType::Unavailable, format!("{doing}: the token is not of the documented form"));
    let decoded = BASE64_STANDARD.decode(token.ok_or_else(wrong)?).map_err(|_| wrong())?;
    let text = String::from_utf8(decoded).map_err(|_| wrong())?;
    let (user, password) = text.split_once(':').ok_or_else(wrong)?;
    let expires = expires
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map_or_else(|| SystemTime::now() + LIFE, |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    Ok(LoginIssued {
        login: Login::Password { user: user.to_owned(), password: Secret::new(password) },
        expires: Some(expires),
    })
}
