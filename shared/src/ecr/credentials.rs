//! ECR's authorization tokens: one for each registry, kept until they expire, one refresh in flight.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures::future::BoxFuture;
use tokio::sync::Mutex;

use super::{EcrApi, EcrPublicApi};
use crate::{
    aws::{CountCalls, failure},
    error::{Error, ErrorType},
    registry::{Login, LoginIssued, LoginSource, Secret},
    transport::Meter,
};

/// What a token lives (ECR API, `AuthorizationData`).
const LIFE: Duration = Duration::from_secs(12 * 3600);

/// Tokens live 12 hours; one that has less left than this is replaced, so that no sync outlives it.
const RENEW_BEFORE: Duration = Duration::from_secs(20 * 60);

/// A token and its end. The lock is held while one is fetched, so that there is one fetch in flight.
#[derive(Debug, Default)]
struct Kept(Mutex<Option<LoginIssued>>);

impl Kept {
    async fn login(
        &self,
        refused: Option<&Login>,
        fetch: impl Future<Output = Result<LoginIssued, Error>>,
    ) -> Result<LoginIssued, Error> {
        let mut kept = self.0.lock().await;
        let good_for = |issued: &LoginIssued| match issued.expires {
            Some(end) => end.duration_since(SystemTime::now()).unwrap_or_default(),
            None => Duration::ZERO,
        };
        let good = |issued: &&LoginIssued| refused != Some(&issued.login) && good_for(issued) > RENEW_BEFORE;
        if let Some(issued) = kept.as_ref().filter(good) {
            return Ok(issued.clone());
        }
        let issued = fetch.await?;
        *kept = Some(issued.clone());
        Ok(issued)
    }
}

/// The login of a private ECR registry.
#[derive(Debug)]
pub struct EcrLogin {
    api: Arc<EcrApi>,
    kept: Kept,
}

impl EcrLogin {
    /// The login for the registry of `api`.
    #[must_use]
    pub fn new(api: Arc<EcrApi>) -> Self {
        Self { api, kept: Kept::default() }
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
    fn login<'a>(&'a self, refused: Option<&'a Login>, meter: &'a Meter) -> BoxFuture<'a, Result<LoginIssued, Error>> {
        Box::pin(self.kept.login(refused, self.fetch(meter)))
    }
}

/// The login of ECR Public: the same kind of token, to be exchanged at its token service.
#[derive(Debug)]
pub struct EcrPublicLogin {
    api: Arc<EcrPublicApi>,
    kept: Kept,
}

impl EcrPublicLogin {
    /// The login of whoever speaks to `api`.
    #[must_use]
    pub fn new(api: Arc<EcrPublicApi>) -> Self {
        Self { api, kept: Kept::default() }
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
    fn login<'a>(&'a self, refused: Option<&'a Login>, meter: &'a Meter) -> BoxFuture<'a, Result<LoginIssued, Error>> {
        Box::pin(self.kept.login(refused, self.fetch(meter)))
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
