//! Sends a request again after a passing trouble: the one owner of that, for requests that can be sent again.

use std::time::SystemTime;

use http::StatusCode;

use super::{Failure, Meter, Request, Response, Transport, TransportError};
use crate::{
    deadline::Deadline,
    retry::{RetryPolicy, retry_after, retryable_status},
};

/// What a request is sent under.
#[derive(Debug, Clone, Copy)]
pub struct Attempts<'r> {
    /// How often, and how long between.
    pub policy: RetryPolicy,
    /// Counts what happens.
    pub meter: &'r Meter,
    /// Whether the requests count as the registry's; a token service's don't.
    pub counted: bool,
    /// Bounds it all.
    pub deadline: &'r Deadline,
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
        loop {
            attempt += 1;
            let again = request.replay();
            let (method, url) = (request.method.clone(), super::redact(&request.url));
            if under.counted {
                under.meter.request();
            }
            let outcome = self.send_once(request, under.deadline).await;
            let asked = match &outcome {
                Ok(response) if retryable_status(response.status) => {
                    if response.status == StatusCode::TOO_MANY_REQUESTS {
                        under.meter.throttle();
                    }
                    retry_after(&response.headers, SystemTime::now())
                }
                Err(failure) if failure.retryable() => None,
                Ok(_) | Err(_) => return outcome.map_err(|failure| TransportError { method, url, failure }),
            };
            let wait = under.policy.backoff(attempt, asked, fastrand::f64());
            let (Some(again), Some(wait)) = (again, wait) else {
                return outcome.map_err(|failure| TransportError { method, url, failure });
            };
            if under.deadline.sleep(wait).await.is_err() {
                // The trouble says more than the deadline that hid its end.
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

fn reason(outcome: &Result<Response, Failure>) -> String {
    match outcome {
        Ok(response) => response.status.as_u16().to_string(),
        Err(failure) => format!("{failure:?}"),
    }
}
