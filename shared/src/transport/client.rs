//! The HTTP clients, made when they are first needed, and which of them a URL gets.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, header};
use http_body_util::combinators::BoxBody;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::Instant;
use url::{Host, Url};

use super::{
    Failure, Origin, Request, Response,
    connection::Connector,
    guard::{Resolver, forbidden_address},
    tls::Trust,
};
use crate::{deadline::Deadline, limits::Receiving};

/// Between pings on an h2 connection that has streams open, and the least time for their answers. Chosen.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// What one h2 frame may bring at most, in bytes. Servers that send larger ones than the 16 KiB of the specification's default
/// (Go's do) take less of both ends' time for a byte (`docs/benchmarks.md`, "Frames"). Chosen: what a copy's pipe holds, and
/// less than a copy's lease has for one frame.
const FRAME_BYTES: u32 = 256 * 1024;

const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("transship/", env!("CARGO_PKG_VERSION")));

/// How much an h2 connection may take in before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiveWindow {
    /// It grows with what the connection carries, up to [`crate::limits::ADAPTIVE_WINDOW_BYTES`].
    Adaptive,
    /// This many bytes, for a connection and for each of its streams.
    Fixed(u32),
}

/// All HTTP clients of a process. Registries that trust the same roots share connections' settings and the roots.
#[derive(Debug)]
pub struct Clients {
    trust: Trust,
    window: ReceiveWindow,
    /// h2 connections to one host.
    connections: u32,
    /// How long a connection's peer may leave a ping unanswered.
    silence: Duration,
    receiving: Receiving,
    made: Mutex<HashMap<ClientKind, HttpClient>>,
}

type HttpClient = Client<Connector, BoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>>;

/// What makes one client different from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ClientKind {
    ca_certificate: Option<Arc<str>>,
    /// Names that lead inside the machine are refused: for places that a registry names, not the configuration.
    guarded: bool,
    /// Which of the connections to a host it has: a client keeps one h2 connection for each.
    connection: u32,
}

impl Clients {
    /// Clients whose h2 connections take in as much as `window`, which they count in `receiving`, `connections` of them to
    /// one host; one whose peer is silent for longer than `stall` is given up.
    #[must_use]
    pub fn new(window: ReceiveWindow, receiving: Receiving, connections: u32, stall: Duration) -> Self {
        let silence = stall.max(KEEP_ALIVE);
        Self { trust: Trust::default(), window, connections, silence, receiving, made: Mutex::default() }
    }

    fn client(&self, kind: &ClientKind) -> Result<HttpClient, Failure> {
        // Held for a look-up, or once for a client's making; a poisoned map still holds good clients.
        let mut made = self.made.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(client) = made.get(kind) {
            return Ok(client.clone());
        }
        let tls = self.trust.client_config(kind.ca_certificate.as_deref()).map_err(Failure::Untrusted)?;
        let resolver = if kind.guarded { Resolver::Guarded } else { Resolver::Plain };
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            // A connection that died without a word would be used by every further try.
            .http2_keep_alive_interval(KEEP_ALIVE)
            .http2_keep_alive_timeout(self.silence)
            .http2_max_frame_size(FRAME_BYTES);
        match self.window {
            ReceiveWindow::Adaptive => builder.http2_adaptive_window(true),
            ReceiveWindow::Fixed(bytes) => {
                builder.http2_initial_connection_window_size(bytes).http2_initial_stream_window_size(bytes)
            }
        };
        let client = builder.build(Connector::new(tls, resolver, self.receiving.clone()));
        made.insert(kind.clone(), client.clone());
        Ok(client)
    }
}

/// What the configuration says of talking to one registry.
#[derive(Debug, Clone)]
pub struct TransportSettings {
    /// Where the registry answers.
    pub endpoint: Url,
    /// Extra trust, PEM.
    pub ca_certificate: Option<Arc<str>>,
    /// Origins that were configured, so that a redirect may lead there although they are not public.
    pub configured: Vec<Origin>,
    /// `HOST:PORT`s that a blob read may be redirected to although they are not public.
    pub redirects: Vec<String>,
    /// How long nothing may move before an exchange is given up.
    pub stall: Duration,
}

/// The way to one registry, and to where it may send us.
pub struct Transport {
    clients: Arc<Clients>,
    settings: TransportSettings,
    origin: Origin,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transport({})", self.origin)
    }
}

impl Transport {
    /// The way to the registry of `settings`; connects to nothing. `None` where the endpoint has no origin.
    #[must_use]
    pub fn new(clients: Arc<Clients>, settings: TransportSettings) -> Option<Self> {
        let origin = Origin::of(&settings.endpoint)?;
        Some(Self { clients, settings, origin })
    }

    /// The registry's own origin.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The URL that requests begin with.
    #[must_use]
    pub fn endpoint(&self) -> &Url {
        &self.settings.endpoint
    }

    /// How long nothing may move before an exchange is given up.
    #[must_use]
    pub fn stall(&self) -> Duration {
        self.settings.stall
    }

    /// Whether a blob read may be redirected from `from` to `to`; `Err` says why not.
    ///
    /// # Errors
    /// A sentence that names the reason.
    pub fn check_redirect(&self, from: &Url, to: &Url) -> Result<(), String> {
        let target = Origin::of(to).ok_or_else(|| format!("`{}` is no http or https URL", to.scheme()))?;
        if from.scheme() == "https" && target.scheme == "http" {
            return Err("it leads from https to http".to_owned());
        }
        if self.is_configured(&target) {
            return Ok(());
        }
        if target.scheme == "http" {
            return Err(format!(
                "it leads to plain HTTP at {}:{}, which is not among the registry's `redirects`",
                target.host, target.port
            ));
        }
        let address = match target.host {
            Host::Domain(_) => return Ok(()), // checked by the resolver, after the name is resolved
            Host::Ipv4(address) => address.into(),
            Host::Ipv6(address) => address.into(),
        };
        if forbidden_address(address) {
            return Err(format!(
                "it leads to {address}, an address inside a network; to allow it, add `{}:{}` to the registry's \
                 `redirects`",
                target.host, target.port
            ));
        }
        Ok(())
    }

    fn is_configured(&self, target: &Origin) -> bool {
        let host_port = format!("{}:{}", target.host, target.port);
        *target == self.origin
            || self.settings.configured.contains(target)
            || self.settings.redirects.iter().any(|allowed| allowed.eq_ignore_ascii_case(&host_port))
    }

    /// Sends one request, once, and waits for the answer's head.
    pub(super) async fn send_once(&self, request: Request, deadline: &Deadline) -> Result<Response, Failure> {
        let origin = Origin::of(&request.url);
        // The registry's own host was configured, however it resolves, and its token service may have another port
        // there; anything else is a place a registry named.
        let own_host = |origin: &Origin| !request.redirected && origin.host == self.origin.host;
        let trusted = origin.as_ref().is_some_and(|origin| self.is_configured(origin) || own_host(origin));
        let kind = ClientKind {
            ca_certificate: self.settings.ca_certificate.clone(),
            guarded: !trusted,
            connection: fastrand::u32(0..self.clients.connections.max(1)),
        };
        let client = self.clients.client(&kind)?;
        let (body, progress) = request.body.into_parts();
        let mut message = http::Request::new(body);
        *message.method_mut() = request.method;
        *message.uri_mut() = request.url.as_str().parse().map_err(|error| Failure::Broken(Box::new(error) as _))?;
        *message.headers_mut() = request.headers;
        message.headers_mut().entry(header::ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        message.headers_mut().insert(header::USER_AGENT, USER_AGENT);
        let sending = client.request(message);
        let stall = self.settings.stall;
        let patience = request.patience.unwrap_or(stall).max(stall);
        let response = match progress {
            None => deadline
                .bound(tokio::time::timeout(patience, sending))
                .await?
                .map_err(|_| Failure::Stalled(patience))?,
            Some(progress) => deadline.bound(watched(sending, &progress, stall, patience)).await??,
        };
        Ok(Response::new(response.map_err(Failure::of)?, stall, *deadline))
    }
}

/// Gives `sending` up when its receiver takes no byte for `stall`, however long the whole of it takes; after the last
/// byte, the answer has `patience`. A body that waits for its own source has an owner who watches that.
async fn watched<T>(
    sending: impl Future<Output = T>,
    progress: &super::Progress,
    stall: Duration,
    patience: Duration,
) -> Result<T, Failure> {
    tokio::pin!(sending);
    let state = || (progress.bytes(), progress.has_ended());
    let (mut seen, mut since) = (state(), Instant::now());
    loop {
        let limit = if progress.has_ended() { patience } else { stall };
        // Looked at often enough that a stall is told within an eighth of its limit.
        if let Ok(output) = tokio::time::timeout(limit / 8, &mut sending).await {
            return Ok(output);
        }
        let now = state();
        if now != seen || progress.is_starving() {
            (seen, since) = (now, Instant::now());
        } else if since.elapsed() >= limit {
            return Err(Failure::Stalled(limit));
        }
    }
}
