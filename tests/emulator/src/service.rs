//! A small TLS server for the token services of clouds: one request, one JSON answer.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

use crate::{lock, pki::Authority};

/// A request as a service sees it.
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// One call that a service had.
#[derive(Debug, Clone)]
pub struct ServiceCall {
    /// The path, without the query.
    pub path: String,
    /// The body, as sent.
    pub body: String,
    /// The answer's status.
    pub status: u16,
}

type Handler = dyn Fn(&Asked) -> (u16, Value) + Send + Sync;

/// A service that listens. It stops when this is dropped.
pub(crate) struct Service {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    handler: Box<Handler>,
    calls: Mutex<Vec<ServiceCall>>,
    /// Answered instead of what the service would say, first come first.
    scripted: Mutex<Vec<(u16, Option<String>)>>,
}

/// The largest request is a form with a signed request in it.
const MAX_BODY: usize = 1 << 20;

impl Service {
    pub(crate) async fn start(
        authority: &Authority,
        handler: impl Fn(&Asked) -> (u16, Value) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let address = listener.local_addr().expect("a bound listener has an address");
        let acceptor = TlsAcceptor::from(authority.server(&["127.0.0.1", "localhost"]).server_config());
        let shared =
            Arc::new(Shared { handler: Box::new(handler), calls: Mutex::default(), scripted: Mutex::default() });
        let task = tokio::spawn(accept(listener, acceptor, Arc::clone(&shared)));
        Self { address, shared, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub(crate) fn calls(&self) -> Vec<ServiceCall> {
        lock(&self.shared.calls).clone()
    }

    /// Answers the next request with this status, and `location` where there is one.
    pub(crate) fn answer_next(&self, status: u16, location: Option<&str>) {
        lock(&self.shared.scripted).push((status, location.map(str::to_owned)));
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request| {
                let shared = Arc::clone(&shared);
                async move { Ok::<_, Infallible>(shared.answer(request).await) }
            });
            // A client that goes away is no event.
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let asked = Asked {
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            headers: parts.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        };
        let scripted = {
            let mut scripted = lock(&self.scripted);
            if scripted.is_empty() { None } else { Some(scripted.remove(0)) }
        };
        let (status, location, json) = match scripted {
            Some((status, location)) => (status, location, Value::Null),
            None => {
                let (status, json) = (self.handler)(&asked);
                (status, None, json)
            }
        };
        lock(&self.calls).push(ServiceCall { path: asked.path, body: asked.body, status });
        let mut response = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
        if let Some(location) = location {
            response = response.header(header::LOCATION, location);
        }
        response.body(Full::new(json.to_string().into())).expect("a status and plain headers")
    }
}
