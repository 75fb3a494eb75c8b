//! Connections and requests: accept, write the journal, play the script, answer.

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use http::{HeaderMap, Method, Request, Response, Version, header};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    fault::{Action, Asked},
    journal::{Authorization, Connected, Entry, Kind, Origin},
    registry::{
        Personality, Shared, api,
        body::{Downstream, Upstream},
        calm::Calmed,
        objects,
        reply::{Halt, Payload, Reply},
        route::{Query, Target},
        tokens,
    },
    tripwire::Moment,
};

/// After an early answer this much of the request is still read: chosen, twice a manifest.
const LINGER: u64 = 8 * 1024 * 1024;

/// One of a registry's servers.
pub(crate) struct Server {
    pub(crate) shared: Arc<Shared>,
    pub(crate) origin: Origin,
    pub(crate) acceptor: Option<TlsAcceptor>,
    pub(crate) max_concurrent_streams: u32,
    pub(crate) http1_only: bool,
}

/// A connection, as its requests see it.
struct Line {
    connected: Connected,
    leave: Notify,
    calm: Arc<AtomicBool>,
    tls: bool,
}

/// The head of a request.
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) target: Target,
    pub(crate) kind: Kind,
    /// Host and port as the client named them.
    pub(crate) authority: String,
}

impl Head {
    pub(crate) fn text(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Ends the connection (HTTP/2: the stream) without an answer.
#[derive(Debug)]
struct Abort(Option<h2::Error>);

impl fmt::Display for Abort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("aborted")
    }
}

impl Error for Abort {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.as_ref().map(|error| error as _)
    }
}

/// Accepts connections until `stop` closes.
pub(crate) async fn run(server: Server, listener: TcpListener, mut stop: watch::Receiver<()>) {
    let server = Arc::new(server);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => return,
        };
        let Ok((stream, _)) = accepted else { continue };
        let server = Arc::clone(&server);
        let mut stop = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = connection(server, stream) => {}
                _ = stop.changed() => {}
            }
        });
    }
}

async fn connection(server: Arc<Server>, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    match server.acceptor.clone() {
        None => serve(server, stream).await,
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(server, stream).await;
            }
        }
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(server: Arc<Server>, stream: S) {
    let line = Arc::new(Line {
        connected: server.shared.journal.connect(),
        leave: Notify::new(),
        calm: Arc::default(),
        tls: server.acceptor.is_some(),
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    if server.http1_only {
        builder = builder.http1_only();
    }
    builder.http1().timer(TokioTimer::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .adaptive_window(true)
        .max_concurrent_streams(server.max_concurrent_streams);
    let service = {
        let (server, line) = (Arc::clone(&server), Arc::clone(&line));
        service_fn(move |request| answer(Arc::clone(&server), Arc::clone(&line), request))
    };
    let connection = builder.serve_connection(TokioIo::new(Calmed::new(stream, Arc::clone(&line.calm))), service);
    let mut connection = std::pin::pin!(connection);
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            () = line.leave.notified() => connection.as_mut().graceful_shutdown(),
        }
    }
}

async fn answer(
    server: Arc<Server>,
    line: Arc<Line>,
    request: Request<Incoming>,
) -> Result<Response<Downstream>, Abort> {
    let (parts, body) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default();
    let path = parts.uri.path().to_owned();
    let shared = &server.shared;
    let token_path = shared.traits.token_path.filter(|_| shared.token_address.is_none());
    let members = Query::parse(query);
    let (target, kind) = match server.origin {
        Origin::Registry => {
            let target = Target::parse(&path, token_path);
            let kind = target.kind(&parts.method, &members);
            (target, kind)
        }
        Origin::Blobs => (Target::Other, if parts.method == Method::HEAD { Kind::BlobHead } else { Kind::BlobGet }),
        Origin::Tokens => (Target::Token, Kind::Token),
    };
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = parts.uri.authority().map(ToString::to_string).or_else(|| host.map(str::to_owned));
    let entry = entry(&server, &line, &parts, &target, kind);
    let head = Head {
        method: parts.method,
        path,
        query: members,
        headers: parts.headers,
        target,
        kind,
        authority: authority.unwrap_or_else(|| shared.address.to_string()),
    };
    let full = if query.is_empty() { head.path.clone() } else { format!("{}?{query}", head.path) };
    let origin = if head.target == Target::Token { Origin::Tokens } else { server.origin };
    let asked = Asked { origin, kind, method: head.method.as_str(), path: &full };
    let open = shared.journal.open(Entry { origin, ..entry.clone() });
    let pen = open.pen();

    let wire = shared.wire.get().and_then(|wire| Some((wire, wire.pass()?)));
    let what = || format!("{} {full} at {}", head.method, shared.address);
    if let Some((wire, Moment::Arrived)) = wire {
        wire.trip(Moment::Arrived, &what()).await;
    }
    let mut actions = shared.faults.on_request(&asked);
    pen.faults(actions.len());
    let mut upstream = Upstream::new(body, pen.clone(), &actions);
    let outcome = match before(&actions, &line, entry.http2).await? {
        Some(scripted) => Err(scripted.into()),
        None => dispatch(&server, &head, &mut upstream).await,
    };
    let mut reply = match outcome {
        Ok(reply) => reply,
        Err(Halt::Refuse(reply)) => {
            // HTTP/2 can answer early; over HTTP/1.1 a client that is still sending would miss the answer.
            if !entry.http2 {
                upstream.linger(LINGER).await;
            }
            *reply
        }
        Err(Halt::Abort) => return Err(Abort(None)),
    };
    if let Some((wire, moment @ (Moment::Done | Moment::Answered))) = wire {
        wire.trip(moment, &what()).await;
    }
    if actions.iter().any(|action| matches!(action, Action::DoThenReset)) {
        return Err(Abort(None));
    }
    let head_only = head.method == Method::HEAD;
    let with_body = reply.status.is_success() && reply.payload.size() > 0 && !head_only;
    let late = shared.faults.on_answer(&asked, with_body);
    pen.faults(late.len());
    actions.extend(late);
    after(&mut reply, &actions);
    pen.status(reply.status.as_u16());
    let length = match &reply.payload {
        Payload::Empty => None,
        payload => Some(payload.size()),
    };
    let payload = if head_only { Payload::Empty } else { reply.payload };
    let body = Downstream::new(payload, open, &actions);
    let length = if head_only { length } else { Some(body.length()) };
    let mut response = Response::new(body);
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    let wants_length = reply.status.as_u16() != 204 && !actions.iter().any(|a| matches!(a, Action::NoContentLength));
    if let Some(length) = length.filter(|_| wants_length) {
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    Ok(response)
}

/// The part of the script that comes before the work; perhaps an answer instead of it.
async fn before(actions: &[Action], line: &Line, http2: bool) -> Result<Option<Reply>, Abort> {
    let mut reply = None;
    for action in actions {
        match action {
            Action::Delay(time) => tokio::time::sleep(*time).await,
            Action::Stall => match pending::<Infallible>().await {},
            Action::Reset => return Err(Abort(None)),
            Action::RefuseStream => return Err(Abort(Some(h2::Reason::REFUSED_STREAM.into()))),
            // The stream's own end is what makes the connection write.
            Action::EnhanceYourCalm if http2 => {
                line.calm.store(true, Ordering::SeqCst);
                return Err(Abort(Some(h2::Reason::ENHANCE_YOUR_CALM.into())));
            }
            Action::EnhanceYourCalm => return Err(Abort(None)),
            Action::GoAway => line.leave.notify_one(),
            Action::Status { code, headers, body } if reply.is_none() => {
                let mut scripted = Reply::new(*code);
                for (name, value) in headers {
                    scripted = scripted.header(name, value);
                }
                scripted.payload = Payload::Bytes(body.clone().into());
                reply = Some(scripted);
            }
            _ => {}
        }
    }
    Ok(reply)
}

/// The part of the script that changes the head of the answer.
fn after(reply: &mut Reply, actions: &[Action]) {
    for action in actions {
        let headers = &mut reply.headers;
        match action {
            Action::Location(value) => {
                if let Ok(value) = value.parse() {
                    headers.insert(header::LOCATION, value);
                }
            }
            Action::Header { name, value } => {
                if let (Ok(name), Ok(value)) = (name.parse::<header::HeaderName>(), value.parse()) {
                    headers.insert(name, value);
                }
            }
            Action::DropHeader(name) => {
                headers.remove(name.as_str());
            }
            Action::AnswerAs(status) if reply.status.is_success() => {
                reply.status = http::StatusCode::from_u16(*status).unwrap_or(reply.status);
            }
            _ => {}
        }
    }
}

async fn dispatch(server: &Server, head: &Head, body: &mut Upstream) -> Result<Reply, Halt> {
    match server.origin {
        Origin::Blobs => Ok(objects::serve(&server.shared, head)),
        Origin::Tokens => tokens::serve(&server.shared, head, body).await,
        Origin::Registry if exchanges(server, head) => tokens::exchange(&server.shared, head, body).await,
        Origin::Registry if head.target == Target::Token => tokens::serve(&server.shared, head, body).await,
        Origin::Registry => api::serve(&server.shared, head, body).await,
    }
}

fn exchanges(server: &Server, head: &Head) -> bool {
    server.shared.personality == Personality::Acr && head.path == tokens::EXCHANGE
}

fn entry(server: &Server, line: &Line, parts: &http::request::Parts, target: &Target, kind: Kind) -> Entry {
    let text = |name: header::HeaderName| {
        let values: Vec<&str> = parts.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        (!values.is_empty()).then(|| values.join(","))
    };
    let authorization = match text(header::AUTHORIZATION).map(|value| value.to_ascii_lowercase()) {
        None => Authorization::None,
        Some(value) if value.starts_with("basic ") => Authorization::Basic,
        Some(value) if value.starts_with("bearer ") => Authorization::Bearer,
        Some(_) => Authorization::Other,
    };
    Entry {
        number: 0,
        at: Instant::now(),
        finished: None,
        origin: server.origin,
        connection: line.connected.number,
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        repository: target.repository().map(str::to_owned).or_else(|| {
            let object = (server.origin == Origin::Blobs).then(|| objects::parse(parts.uri.path()))?;
            object.map(|(name, _)| name)
        }),
        kind,
        status: 0,
        request_bytes: 0,
        response_bytes: 0,
        content_length: text(header::CONTENT_LENGTH).and_then(|value| value.parse().ok()),
        content_type: text(header::CONTENT_TYPE),
        accept: text(header::ACCEPT),
        authorization,
        http2: parts.version == Version::HTTP_2,
        tls: line.tls,
        range: text(header::RANGE),
        content_range: text(header::CONTENT_RANGE),
        user_agent: text(header::USER_AGENT),
        faults: 0,
    }
}
