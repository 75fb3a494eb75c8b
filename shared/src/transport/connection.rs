//! How connections are made, and how what they take in is counted.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::future::BoxFuture;
use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{
    client::legacy::connect::{Connected, Connection, HttpConnector},
    rt::TokioIo,
};
use rustls::ClientConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tower_service::Service;

use super::{frames::DataBytes, guard::Resolver, unread::Unread};
use crate::limits::Receiving;

/// For a connection, TLS included. Chosen: far over any real one within a continent, well under a short deadline.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Between the probes of an idle connection, and how many may go unanswered. Chosen: a peer that is gone is noticed in a
/// minute, well before the 350 s after which NAT gateways forget a connection
/// (<https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-troubleshooting.html>).
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const KEEP_ALIVE_PROBES: u32 = 3;

/// How long sent bytes may go without acknowledgement. Chosen.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// Makes connections: TCP, and TLS where the URL says https.
#[derive(Clone)]
pub(super) struct Connector {
    https: HttpsConnector<HttpConnector<Resolver>>,
    receiving: Receiving,
}

impl Connector {
    pub(super) fn new(tls: ClientConfig, resolver: Resolver, receiving: Receiving) -> Self {
        let mut http = HttpConnector::new_with_resolver(resolver);
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_keepalive(Some(KEEP_ALIVE));
        http.set_keepalive_interval(Some(KEEP_ALIVE));
        http.set_keepalive_retries(Some(KEEP_ALIVE_PROBES));
        #[cfg(target_os = "linux")]
        http.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        Self { https: HttpsConnector::from((http, tls)), receiving }
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Counted>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, self.https.call(to));
        let receiving = self.receiving.clone();
        Box::pin(async move {
            let stream = connecting.await.map_err(|_| TooSlow)??;
            let h2 = stream.connected().is_negotiated_h2();
            let unread = Arc::new(Unread::new(h2, receiving));
            Ok(TokioIo::new(Counted { stream: TokioIo::new(stream), unread, data: DataBytes::default() }))
        })
    }
}

/// No connection in time.
#[derive(Debug, thiserror::Error)]
#[error("it took longer than {} ms", CONNECT_TIMEOUT.as_millis())]
struct TooSlow;

/// A connection, whose unread bytes are counted: over h2 those of bodies, over HTTP/1.1 all.
pub(super) struct Counted {
    stream: TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>,
    unread: Arc<Unread>,
    data: DataBytes,
}

impl Connection for Counted {
    fn connected(&self) -> Connected {
        // Whoever has an answer finds there on which connection it came.
        self.stream.connected().extra(Arc::clone(&self.unread))
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let had = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        let came = &buffer.filled()[had..];
        this.unread.came(if this.unread.is_h2() { this.data.among(came) } else { came.len() as u64 });
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
