//! One request to a cloud's token service: by our own transport, bounded, its refusals typed and without secrets.

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header::CONTENT_TYPE};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::{Url, form_urlencoded};

use crate::{
    error::{Error, ErrorType},
    oci::ErrorEnvelope,
    registry::{Run, Secret},
    retry::{RetryPolicy, retry_after},
    transport::{Attempts, Failure, Request, RequestBody, Transport, TransportError, redact},
};

/// The largest known answers, JSON web tokens, are some kilobytes.
const MAX_ANSWER_BYTES: u64 = 256 * 1024;

/// What is told of a foreign text, in characters.
const MAX_SAID: usize = 300;

/// One exchange of what somebody has for a token.
pub(crate) struct Exchange<'e> {
    /// The way to the service. Redirects are not followed.
    pub(crate) transport: &'e Transport,
    /// How often it is tried.
    pub(crate) policy: RetryPolicy,
    /// Counts and the deadline.
    pub(crate) run: &'e Run,
    /// What is done, for errors: `exchanging X for Y (at Z)`.
    pub(crate) doing: &'e str,
    /// What to do about a refusal.
    pub(crate) advice: &'e str,
    /// What was sent and must be in no error, whatever the service repeats.
    pub(crate) hidden: &'e [&'e Secret],
}

impl Exchange<'_> {
    /// Sends a request and reads the answer's JSON.
    ///
    /// # Errors
    /// `Unauthorized` or `Denied` (403) for a refusal; else what the transport met.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, request: Request) -> Result<T, Error> {
        let url = redact(&request.url);
        let under = Attempts {
            policy: self.policy,
            window: None,
            meter: &self.run.meter,
            counted: false,
            deadline: &self.run.deadline,
        };
        let response = self.transport.send(request, under).await.map_err(|error| self.unanswered(&error))?;
        if response.status != StatusCode::OK {
            let (status, asked) = (response.status, retry_after(&response.headers, SystemTime::now()));
            let said = said(&response.excerpt().await, self.hidden);
            return Err(self.refused(&url, status, &said).retry_after(asked));
        }
        let answer = response.collect(MAX_ANSWER_BYTES).await;
        let answer = answer.map_err(|_| self.useless(&url, "could not be read"))?;
        // The parser's own text may hold what it stumbled over.
        serde_json::from_slice(&answer).map_err(|_| self.useless(&url, "is not of the documented form"))
    }

    fn useless(&self, url: &str, how: &str) -> Error {
        Error::new(ErrorType::Unavailable, format!("{}: the answer of {url} {how}", self.doing))
    }

    fn refused(&self, url: &str, status: StatusCode, said: &str) -> Error {
        let (error_type, advice) = match status.as_u16() {
            408 => (ErrorType::Timeout, ""),
            429 => (ErrorType::Throttled, ""),
            500.. => (ErrorType::Unavailable, ""),
            // A redirect would take what is exchanged elsewhere.
            300..=399 => (ErrorType::UnsafeRedirect, "; redirects are not followed"),
            403 => (ErrorType::Denied, self.advice),
            _ => (ErrorType::Unauthorized, self.advice),
        };
        Error::new(error_type, format!("{}: {url} answered {}{said}{advice}", self.doing, status.as_u16()))
    }

    fn unanswered(&self, error: &TransportError) -> Error {
        let error_type = match &error.failure {
            Failure::Untrusted(_) | Failure::NotTls(_) => ErrorType::InvalidConfig,
            Failure::Forbidden(_) => ErrorType::UnsafeRedirect,
            Failure::Shut(_) => ErrorType::Throttled,
            Failure::Stalled(_) => ErrorType::Timeout,
            Failure::Deadline => ErrorType::DeadlineExceeded,
            Failure::Connect(_) | Failure::Broken(_) => ErrorType::Unavailable,
        };
        Error::new(error_type, format!("{}: {error}", self.doing))
    }
}

/// What the service says is wrong: OAuth's `{"error","error_description"}`, Google's `{"error":{"status","message"}}`,
/// a registry's envelope. Anything else is not repeated, nor is what is `hidden`.
fn said(body: &Bytes, hidden: &[&Secret]) -> String {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (code, message) = match &json["error"] {
        Value::String(code) => (code.clone(), text(&json["error_description"])),
        Value::Object(error) => {
            (text(error.get("status").unwrap_or(&Value::Null)), text(error.get("message").unwrap_or(&Value::Null)))
        }
        _ if json["errors"].is_array() => {
            let envelope = ErrorEnvelope::parse(body);
            (envelope.code, envelope.message)
        }
        _ => return String::new(),
    };
    let said = format!(" {code} \"{message}\"");
    let said = hidden.iter().fold(said, |said, secret| secret.hide_in(&said));
    // A control character could forge a line of a log.
    said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_SAID).collect()
}

/// A request that posts a form.
pub(crate) fn form(url: Url, fields: &[(&str, &str)]) -> Request {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    post(url, "application/x-www-form-urlencoded", body.into())
}

/// A request that posts JSON.
pub(crate) fn json(url: Url, body: &Value) -> Request {
    post(url, "application/json", body.to_string().into())
}

fn post(url: Url, content_type: &'static str, body: Bytes) -> Request {
    let mut request = Request::new(Method::POST, url);
    request.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    request.body = RequestBody::Pieces(vec![body]);
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_not_repeated_however_it_is_spelt() {
        let (secret, other) = (Secret::new("s3cr~t+/=="), Secret::new("eyJassertion"));
        let sent = form_urlencoded::Serializer::new(String::new()).append_pair("client_secret", "s3cr~t+/==").finish();
        assert!(!sent.contains("s3cr~t+/=="), "{sent}");
        for text in [
            sent.as_str(),
            "client_secret=s3cr~t%2b%2f%3d%3D",
            "client_secret=s3cr~t+/==",
            "no eyJassertion&client_secret=s3cr~t+/==",
        ] {
            let answers = [
                serde_json::json!({"error": "invalid_client", "error_description": text}),
                serde_json::json!({"error": {"status": "invalid_client", "message": text}}),
                serde_json::json!({"errors": [{"code": "invalid_client", "message": text}]}),
            ];
            for answer in answers {
                let said = said(&answer.to_string().into(), &[&secret, &other]);
                assert!(said.contains("invalid_client") && said.contains("client_secret=***"), "{said}");
                assert!(!said.contains("s3cr") && !said.contains("eyJ"), "{said}");
            }
        }
        assert_eq!(said(&Bytes::from_static(b"s3cr~t+/=="), &[&secret]), "");
    }
}
