//! A login that is kept until shortly before its end, or until it is refused.

use std::time::{Duration, SystemTime};

use tokio::sync::Mutex;

use super::{Login, LoginIssued};
use crate::error::Error;

/// A login and its end. The lock is held while one is fetched, so that there is one fetch in flight.
#[derive(Debug)]
pub struct KeptLogin {
    early: Duration,
    kept: Mutex<Option<Kept>>,
}

#[derive(Debug)]
struct Kept {
    issued: LoginIssued,
    /// From when it is replaced.
    renew: Option<SystemTime>,
}

impl KeptLogin {
    /// Keeps nothing yet. A login is replaced when it has less left than `early`, or less than a fifth of its life where
    /// it is so short that it would be replaced at every use.
    #[must_use]
    pub fn renewed(early: Duration) -> Self {
        Self { early, kept: Mutex::default() }
    }

    /// The login that is kept, if it is not `refused` and good for a while; else what `fetch` gives.
    ///
    /// # Errors
    /// Those of `fetch`; nothing is kept of it then.
    pub async fn login(
        &self,
        refused: Option<&Login>,
        fetch: impl Future<Output = Result<LoginIssued, Error>>,
    ) -> Result<LoginIssued, Error> {
        let mut kept = self.kept.lock().await;
        let good = |kept: &&Kept| {
            refused != Some(&kept.issued.login) && kept.renew.is_none_or(|renew| SystemTime::now() < renew)
        };
        if let Some(kept) = kept.as_ref().filter(good) {
            return Ok(kept.issued.clone());
        }
        let issued = fetch.await?;
        let renew = issued.expires.map(|end| {
            let life = end.duration_since(SystemTime::now()).unwrap_or_default();
            end - self.early.min(life / 5)
        });
        *kept = Some(Kept { issued: issued.clone(), renew });
        Ok(issued)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Secret;

    const EARLY: Duration = Duration::from_secs(300);

    fn token(name: &str, life: Option<Duration>) -> LoginIssued {
        let expires = life.map(|life| SystemTime::now() + life);
        LoginIssued { login: Login::IdentityToken(Secret::new(name)), expires }
    }

    /// Whether a second request finds the first one's login.
    async fn is_kept(life: Option<Duration>, refused: bool) -> bool {
        let kept = KeptLogin::renewed(EARLY);
        let first = kept.login(None, async { Ok(token("first", life)) }).await.unwrap();
        let refused = refused.then_some(&first.login);
        let second = kept.login(refused, async { Ok(token("second", life)) }).await.unwrap();
        second.login == first.login
    }

    #[tokio::test]
    async fn a_login_is_kept_until_it_ends_or_is_refused() {
        assert!(is_kept(Some(Duration::from_secs(3600)), false).await);
        assert!(is_kept(None, false).await, "one without an end is good until it is refused");
        assert!(!is_kept(Some(Duration::from_secs(3600)), true).await);
        assert!(!is_kept(None, true).await);
        assert!(!is_kept(Some(Duration::ZERO), false).await);
        assert!(is_kept(Some(EARLY), false).await, "a short one is used, too");
    }

    #[tokio::test]
    async fn of_many_who_were_refused_one_fetches() {
        let kept = KeptLogin::renewed(EARLY);
        let old = kept.login(None, async { Ok(token("old", None)) }).await.unwrap().login;
        let fetched = std::sync::atomic::AtomicU32::new(0);
        let again = || {
            kept.login(Some(&old), async {
                let number = fetched.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok(token(&format!("new {number}"), None))
            })
        };
        let (one, two, three) = tokio::join!(again(), again(), again());
        assert_eq!(one, two);
        assert_eq!(two, three);
        assert_eq!(fetched.into_inner(), 1);
    }

    #[tokio::test]
    async fn a_failed_fetch_keeps_nothing_and_breaks_nothing() {
        let kept = KeptLogin::renewed(EARLY);
        let broken = Error::new(crate::error::ErrorType::Unavailable, "no");
        assert!(kept.login(None, async { Err(broken) }).await.is_err());
        assert!(kept.login(None, async { Ok(token("good", None)) }).await.is_ok());
    }
}
