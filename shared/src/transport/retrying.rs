//! Sends a request again after a passing trouble: the one owner of that, for requests that can be sent again.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use tokio::time::Instant;

use super::{Failure, Meter, Request, Response, Transport, TransportError};
use crate::{
    deadline::Deadline,
    limits::{CongestionWindow, NotAdmitted},
    retry::{RetryPolicy, allowance, congested_status, retry_after, retryable_status},
};

/// What a request is sent under.
#[derive(Debug, Clone, Copy)]
pub struct Attempts<'r> {
    /// How often, and how long between.
    pub policy: RetryPolicy,
    /// Learns from the answers, and holds back what was not sent yet.
    pub window: Option<&'r CongestionWindow>,
    /// Counts what happens.
    pub meter: &'r Meter,
    /// Whether the requests count as the registry's; a token service's don't.
    pub counted: bool,
    /// Bounds it all.
    pub deadline: &'r Deadline,
}

impl Attempts<'_> {
    /// Tells the window what came of a request, and what the answer asks to wait.
    fn learn(&self, sent: Instant, outcome: &Result<Response, Failure>) -> Option<Duration> {
        let Ok(response) = outcome else { return None };
        if response.status == StatusCode::TOO_MANY_REQUESTS {
            self.meter.throttle();
        }
        let asked = retryable_status(response.status).then(|| {
            let used_up = || allowance(&response.headers).filter(|allowance| allowance.remaining == 0);
            retry_after(&response.headers, SystemTime::now()).or_else(|| Some(used_up()?.more_in))
        });
        let asked = asked.flatten();
        if let Some(window) = self.window {
            if congested_status(response.status) {
                if let Some(size) = window.congested(sent, asked) {
                    tracing::debug!(
                        http.status = response.status.as_u16(),
                        window.requests = size,
                        window.shut_ms = u64::try_from(window.shut_for().as_millis()).unwrap_or(u64::MAX),
                        "asked to slow down"
                    );
                }
            } else if !response.status.is_server_error() {
                window.succeeded(sent);
            }
        }
        asked
    }

    /// Waits until the window is open.
    async fn opened(&self) -> Result<(), NotAdmitted> {
        match self.window {
            Some(window) => window.open(self.deadline).await,
            None => Ok(()),
        }
    }
}

impl Transport {
    /// Sends `request` until it has an answer that is worth having, within the attempts and the deadline.
    ///
    /// A streamed body is sent once. The last answer is given back as it is, a 429 or 5xx included.
    ///
    /// # Errors
    /// The last failure.
    pub async fn send(&self, request: Request, under: Attempts<'_>) -> Result<Response, TransportError> {
        let mut request = request;
        let mut attempt = 0;
        // Leave may have been had long ago: what a registry asked for since holds for this one too.
        if let Err(shut) = under.opened().await {
            let url = super::redact(&request.url);
            return Err(TransportError { method: request.method, url, failure: Failure::Shut(shut) });
        }
        loop {
            attempt += 1;
            let again = request.replay();
            let (method, url) = (request.method.clone(), super::redact(&request.url));
            if under.counted {
                under.meter.request();
            }
            let sent = Instant::now();
            let outcome = self.send_once(request, under.deadline).await;
            let asked = under.learn(sent, &outcome);
            let passing = match &outcome {
                Ok(response) => retryable_status(response.status),
                Err(failure) => failure.retryable(),
            };
            let wait = if passing { under.policy.backoff(attempt, asked, fastrand::f64()) } else { None };
            let (Some(again), Some(wait)) = (again, wait) else {
                return outcome.map_err(|failure| TransportError { method, url, failure });
            };
            // The trouble says more than a deadline that hides its end.
            if under.deadline.sleep(wait).await.is_err() || under.opened().await.is_err() {
                return outcome.map_err(|failure| TransportError { method, url, failure });
            }
            tracing::debug!(
                http.method = %method,
                http.url = %url,
                retry.attempt = attempt,
                retry.wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                retry.reason = %reason(&outcome),
                "trying again"
            );
            under.meter.retry();
            request = again;
        }
    }
}

/// What is logged of a trouble that is tried again.
fn reason(outcome: &Result<Response, Failure>) -> String {
    match outcome {
        Ok(response) => response.status.as_u16().to_string(),
        Err(failure) => format!("{failure:?}"),
    }
}
