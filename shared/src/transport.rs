//! One request, one response. Knows HTTP, knows no OCI; the HTTP crate is fenced in here.

mod body;
mod client;
mod connection;
mod error;
mod frames;
mod guard;
mod meter;
mod origin;
mod redact;
mod retrying;
mod tls;
mod unread;

pub use body::{RequestBody, Response, StreamBody};
pub use client::{Clients, ReceiveWindow, Transport, TransportSettings};
pub use error::{Failure, TransportError};
pub use meter::{Meter, MeterReading, Progress};
pub use origin::Origin;
pub use redact::redact;
pub use retrying::Attempts;
pub use tls::check_pem;

use std::time::Duration;

use http::{HeaderMap, Method};
use url::Url;

/// What is to be sent.
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Where to, query included.
    pub url: Url,
    /// Headers, credentials included where the receiver may have them.
    pub headers: HeaderMap,
    /// The body.
    pub body: RequestBody,
    /// How long the answer may take once all has been sent, where that is more than a stall: a registry that closes an
    /// upload may have gigabytes to hash or to move.
    pub patience: Option<Duration>,
    /// Whether a redirect led here: then only a place that was configured may be inside the machine, which the
    /// registry's own host on another port is not.
    pub redirected: bool,
}

impl Request {
    /// A request without a body.
    #[must_use]
    pub fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: RequestBody::Empty, patience: None, redirected: false }
    }

    /// The same request again; `None` where a streamed body can't be sent twice.
    pub fn replay(&self) -> Option<Self> {
        let body = match &self.body {
            RequestBody::Empty => RequestBody::Empty,
            RequestBody::Pieces(pieces) => RequestBody::Pieces(pieces.clone()),
            RequestBody::Stream(_) => return None,
        };
        let (method, url, headers) = (self.method.clone(), self.url.clone(), self.headers.clone());
        Some(Self { method, url, headers, body, patience: self.patience, redirected: self.redirected })
    }
}
