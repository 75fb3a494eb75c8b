//! Lambda's Runtime API (2018-06-01) and the part of the Extensions API that an internal extension needs.

use std::{
    collections::VecDeque,
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{Notify, oneshot, watch},
    task::{JoinHandle, JoinSet},
};

/// How an invocation ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The handler's answer.
    Ok(Value),
    /// The handler's error.
    Err {
        /// `errorType` of the body.
        error_type: String,
        /// `errorMessage` of the body.
        message: String,
    },
    /// The function reported that it could not start, or did not poll in time (`Sandbox.Timedout`).
    InitError {
        /// `errorType` of the body.
        error_type: String,
        /// `errorMessage` of the body.
        message: String,
    },
    /// The process ended without an answer.
    Crashed {
        /// Its exit code; `None` after a signal.
        status: Option<i32>,
    },
    /// The deadline passed. Lambda kills the process then, and so does [`crate::Function`].
    TimedOut,
}

impl Outcome {
    /// The answer, where there is one.
    pub fn ok(self) -> Option<Value> {
        match self {
            Self::Ok(value) => Some(value),
            _ => None,
        }
    }

    /// The error type of a handler's or of an init error.
    pub fn error_type(&self) -> Option<&str> {
        match self {
            Self::Err { error_type, .. } | Self::InitError { error_type, .. } => Some(error_type),
            _ => None,
        }
    }
}

/// A Runtime API that listens on the loopback address, for one function. Stops when dropped.
pub struct RuntimeApi {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// The longest answer that Lambda takes.
pub const MAX_RESPONSE: usize = 6 * 1024 * 1024;

/// How long a function may take to its first poll. Lambda gives 10 s; a debug build on a busy machine may want more.
const INIT_LIMIT: Duration = Duration::from_secs(30);

/// Each invocation is of a trace of its own, whatever the function.
static TRACES: AtomicU64 = AtomicU64::new(1);

struct Shared {
    identity: Identity,
    state: Mutex<State>,
    offered: Notify,
    polls: watch::Sender<usize>,
}

/// What the function is told about itself.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) region: String,
    pub(crate) account: String,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Invocation>,
    running: Option<Running>,
    init_error: Option<Outcome>,
    first_poll: Option<Instant>,
    invocations: usize,
    /// How many processes were served before this one.
    generation: usize,
}

struct Invocation {
    id: String,
    event: Bytes,
    timeout: Duration,
    started: oneshot::Sender<()>,
    ended: oneshot::Sender<Outcome>,
}

struct Running {
    id: String,
    ended: oneshot::Sender<Outcome>,
}

impl RuntimeApi {
    /// Starts on a free port.
    pub async fn start() -> Self {
        let identity = Identity { name: "function".into(), region: "us-east-1".into(), account: "111122223333".into() };
        Self::start_as(identity).await
    }

    pub(crate) async fn start_as(identity: Identity) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the loopback address has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared {
            identity,
            state: Mutex::default(),
            offered: Notify::new(),
            polls: watch::Sender::new(0),
        });
        let task = tokio::spawn(accept(listener, shared.clone()));
        Self { address, shared, task }
    }

    /// The value for `AWS_LAMBDA_RUNTIME_API`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Hands an event to the function as soon as it polls, and waits for its answer. The deadline counts from the
    /// hand-over, as Lambda's does.
    pub async fn invoke(&self, event: &Value, timeout: Duration) -> Outcome {
        self.invoke_bytes(event.to_string().into(), timeout).await
    }

    /// Likewise with bytes that need not be JSON. Lambda itself lets none through.
    pub async fn invoke_bytes(&self, event: Bytes, timeout: Duration) -> Outcome {
        let (started_tx, started) = oneshot::channel();
        let (ended_tx, mut ended) = oneshot::channel();
        {
            let mut state = self.shared.lock();
            if let Some(outcome) = &state.init_error {
                return outcome.clone();
            }
            state.invocations += 1;
            let id = format!("8476a536-e9f4-11e8-9739-{:012x}", state.invocations);
            state.waiting.push_back(Invocation { id, event, timeout, started: started_tx, ended: ended_tx });
        }
        self.shared.offered.notify_waiters();
        tokio::select! {
            biased;
            outcome = &mut ended => return outcome.unwrap_or(Outcome::Crashed { status: None }),
            _ = started => {}
            () = tokio::time::sleep(INIT_LIMIT) => {
                let message = format!("the function did not poll within {INIT_LIMIT:?}");
                return Outcome::InitError { error_type: "Sandbox.Timedout".into(), message };
            }
        }
        tokio::select! {
            biased;
            outcome = ended => outcome.unwrap_or(Outcome::Crashed { status: None }),
            () = tokio::time::sleep(timeout) => Outcome::TimedOut,
        }
    }

    /// When the function first asked for an event.
    pub fn first_poll(&self) -> Option<Instant> {
        self.shared.lock().first_poll
    }

    /// Waits until the function asks for an event, or says that it can't start.
    pub async fn polled(&self) -> Result<Instant, Outcome> {
        let mut polls = self.shared.polls.subscribe();
        loop {
            {
                let state = self.shared.lock();
                if let Some(outcome) = &state.init_error {
                    return Err(outcome.clone());
                }
                if let Some(at) = state.first_poll {
                    return Ok(at);
                }
            }
            polls.changed().await.expect("the server outlives its handle");
        }
    }

    /// Forgets the process that was served before, for a new one.
    pub(crate) fn reset(&self) {
        let mut state = self.shared.lock();
        *state = State { invocations: state.invocations, generation: state.generation + 1, ..State::default() };
        drop(state);
        self.shared.offered.notify_waiters();
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let shared = shared.clone();
                async move { Ok::<_, Infallible>(shared.handle(request).await) }
            });
            // A killed function leaves its connection behind.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

impl Shared {
    async fn handle(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let method = request.method().clone();
        let Some(path) = path.strip_prefix("/2018-06-01/runtime/") else {
            return self.extension(&method, &path).await;
        };
        let parts: Vec<&str> = path.split('/').collect();
        match (&method, parts.as_slice()) {
            (&Method::GET, ["invocation", "next"]) => self.next().await,
            (&Method::POST, ["invocation", id, "response"]) => self.response(id, request).await,
            (&Method::POST, ["invocation", id, "error"]) => self.error(id, request).await,
            (&Method::POST, ["init", "error"]) => self.init_error(request).await,
            _ => refuse(404, "InvalidPath", path),
        }
    }

    async fn next(&self) -> Response<Full<Bytes>> {
        let generation = {
            let mut state = self.lock();
            state.first_poll.get_or_insert_with(Instant::now);
            state.generation
        };
        self.polls.send_modify(|polls| *polls += 1);
        let invocation = loop {
            let offered = self.offered.notified();
            let found = {
                let mut state = self.lock();
                // A poll that a killed process left behind must not take what is meant for the next one.
                if state.generation != generation {
                    return refuse(403, "Sandbox.Gone", "this environment was reset");
                }
                state.waiting.pop_front()
            };
            match found {
                // Whoever asked may have given up meanwhile.
                Some(invocation) if invocation.ended.is_closed() => {}
                Some(invocation) => break invocation,
                None => offered.await,
            }
        };
        let deadline = SystemTime::now() + invocation.timeout;
        let deadline = deadline.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let Identity { name, region, account } = &self.identity;
        let response = Response::builder()
            .header("content-type", "application/json")
            .header("Lambda-Runtime-Aws-Request-Id", &invocation.id)
            .header("Lambda-Runtime-Invocation-Id", &invocation.id)
            .header("Lambda-Runtime-Deadline-Ms", deadline.to_string())
            .header("Lambda-Runtime-Invoked-Function-Arn", format!("arn:aws:lambda:{region}:{account}:function:{name}"))
            .header(
                "Lambda-Runtime-Trace-Id",
                format!(
                    "Root=1-67891233-{:024x};Parent=53995c3f42cd8ad8;Sampled=0",
                    TRACES.fetch_add(1, Ordering::Relaxed)
                ),
            )
            .body(Full::new(invocation.event))
            .expect("these headers are valid");
        let mut state = self.lock();
        // A function that polls without having answered has lost its invocation.
        if let Some(lost) = state.running.replace(Running { id: invocation.id, ended: invocation.ended }) {
            let message = "the function polled again without an answer".into();
            let _ = lost.ended.send(Outcome::Err { error_type: "Runtime.Unanswered".into(), message });
        }
        let _ = invocation.started.send(());
        response
    }

    async fn response(&self, id: &str, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let running = match self.take_running(id, request.headers()) {
            Ok(running) => running,
            Err(refusal) => return refuse(400, refusal, "the answer is to another invocation"),
        };
        let body = collect(request).await;
        if body.len() > MAX_RESPONSE {
            let message =
                format!("Response payload size exceeded maximum allowed payload size ({MAX_RESPONSE} bytes).");
            let error_type = "Function.ResponseSizeTooLarge".to_owned();
            let _ = running.ended.send(Outcome::Err { error_type: error_type.clone(), message: message.clone() });
            return refuse(413, &error_type, &message);
        }
        let outcome = match serde_json::from_slice(&body) {
            Ok(value) => Outcome::Ok(value),
            Err(error) => Outcome::Err { error_type: "Runtime.InvalidJson".into(), message: error.to_string() },
        };
        let _ = running.ended.send(outcome);
        accepted()
    }

    async fn error(&self, id: &str, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let running = match self.take_running(id, request.headers()) {
            Ok(running) => running,
            Err(refusal) => return refuse(400, refusal, "the answer is to another invocation"),
        };
        let (error_type, message) = read_error(request).await;
        let _ = running.ended.send(Outcome::Err { error_type, message });
        accepted()
    }

    async fn init_error(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (error_type, message) = read_error(request).await;
        let outcome = Outcome::InitError { error_type, message };
        let mut state = self.lock();
        state.init_error = Some(outcome.clone());
        for invocation in state.waiting.drain(..) {
            let _ = invocation.ended.send(outcome.clone());
        }
        drop(state);
        self.polls.send_modify(|polls| *polls += 1);
        accepted()
    }

    /// The invocation that this answer belongs to, if it is the one that runs.
    fn take_running(&self, id: &str, headers: &HeaderMap) -> Result<Running, &'static str> {
        let mut state = self.lock();
        if state.running.as_ref().is_none_or(|running| running.id != id) {
            return Err("InvalidRequestID");
        }
        let echoed = headers.get("Lambda-Runtime-Invocation-Id");
        if echoed.is_some_and(|echoed| echoed != id) {
            return Err("InvalidInvocationId");
        }
        state.running.take().ok_or("InvalidRequestID")
    }

    /// An internal extension registers, then waits for events that never come: the process is killed instead.
    async fn extension(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        match (method, path) {
            (&Method::POST, "/2020-01-01/extension/register") => {
                let body = json!({
                    "functionName": self.identity.name, "functionVersion": "$LATEST", "handler": "bootstrap",
                });
                Response::builder()
                    .header("Lambda-Extension-Identifier", "00000000-0000-4000-8000-000000000001")
                    .body(Full::new(body.to_string().into()))
                    .expect("these headers are valid")
            }
            (&Method::GET, "/2020-01-01/extension/event/next") => std::future::pending().await,
            _ => refuse(404, "InvalidPath", path),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn collect(request: Request<Incoming>) -> Bytes {
    request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default()
}

async fn read_error(request: Request<Incoming>) -> (String, String) {
    let header = request.headers().get("Lambda-Runtime-Function-Error-Type").cloned();
    let body: Value = serde_json::from_slice(&collect(request).await).unwrap_or_default();
    let in_header = header.as_ref().and_then(|value| value.to_str().ok()).unwrap_or("Unknown");
    let error_type = body["errorType"].as_str().unwrap_or(in_header);
    (error_type.to_owned(), body["errorMessage"].as_str().unwrap_or_default().to_owned())
}

fn accepted() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"{\"status\":\"OK\"}\n")));
    *response.status_mut() = http::StatusCode::ACCEPTED;
    response
}

fn refuse(status: u16, error_type: &str, message: &str) -> Response<Full<Bytes>> {
    let body = json!({ "errorType": error_type, "errorMessage": message }).to_string();
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = http::StatusCode::from_u16(status).expect("a valid status");
    response
}
