//! What can go wrong between sending a request and having its answer.

use std::{error::Error as StdError, fmt, time::Duration};

use http::Method;

use super::guard::ForbiddenAddress;
use crate::{deadline::DeadlinePassed, limits::NotAdmitted};

/// A request that got no answer, or whose answer could not be read to its end.
#[derive(Debug)]
pub struct TransportError {
    /// The request's method.
    pub method: Method,
    /// The request's URL, as it may be shown.
    pub url: String,
    /// What happened.
    pub failure: Failure,
}

/// What happened to a request.
#[derive(Debug)]
pub enum Failure {
    /// No connection. Tried again.
    Connect(Box<dyn StdError + Send + Sync>),
    /// The server's certificate is not trusted. Never tried again: it needs `ca_certificate`, or another host.
    Untrusted(String),
    /// The server did not speak TLS. Never tried again.
    NotTls(String),
    /// The host's name leads to an address inside the machine. Never tried again.
    Forbidden(String),
    /// The connection broke, or the protocol was violated. Tried again where the request can be sent again.
    Broken(Box<dyn StdError + Send + Sync>),
    /// Nothing moved for this long. Tried again like a broken connection.
    Stalled(Duration),
    /// It was not sent: the registry asked for a pause that is too long to be waited out. Not tried again here.
    Shut(NotAdmitted),
    /// The invocation's time ran out.
    Deadline,
}

impl Failure {
    /// Reads what the HTTP crate says.
    pub(super) fn of(error: hyper_util::client::legacy::Error) -> Self {
        if let Some(forbidden) = find::<ForbiddenAddress>(&error) {
            return Self::Forbidden(forbidden.to_string());
        }
        match find_tls(&error) {
            Some(rustls::Error::InvalidCertificate(reason)) => return Self::Untrusted(format!("{reason:?}")),
            Some(rustls::Error::InvalidMessage(reason)) => return Self::NotTls(format!("{reason:?}")),
            _ => {}
        }
        if error.is_connect() { Self::Connect(Box::new(error)) } else { Self::Broken(Box::new(error)) }
    }

    /// Whether the same request may be sent again, if it can be.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Broken(_) | Self::Stalled(_))
    }
}

/// Looks for a `T` among the causes of `error`.
fn find<'e, T: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e T> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// A TLS error hides inside `io::Error`s, whose inner error is not among the causes that `source` gives.
fn find_tls<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e rustls::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && let Some(inner) = io.get_ref()
            && let Some(tls) = find_tls(inner)
        {
            return Some(tls);
        }
        cause = error.source();
    }
    None
}

impl From<DeadlinePassed> for Failure {
    fn from(_: DeadlinePassed) -> Self {
        Self::Deadline
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.method, self.url)?;
        match &self.failure {
            Failure::Connect(error) => write!(f, "no connection: {}", crate::error::chain(error.as_ref())),
            Failure::Untrusted(reason) => write!(f, "the server's certificate is not trusted ({reason})"),
            Failure::NotTls(reason) => write!(f, "the server does not speak TLS ({reason})"),
            Failure::Forbidden(text) => f.write_str(text),
            Failure::Broken(error) => write!(f, "the exchange broke: {}", crate::error::chain(error.as_ref())),
            Failure::Stalled(limit) => write!(f, "nothing moved for {} ms", limit.as_millis()),
            Failure::Shut(reason) => write!(f, "the registry is not asked: {reason}"),
            Failure::Deadline => f.write_str("the invocation's time ran out"),
        }
    }
}

impl StdError for TransportError {}
