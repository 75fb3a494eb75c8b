//! One plain-HTTP port for all the AWS APIs: reads the signature, finds the service, records the call, answers.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Barrier,
    task::{JoinHandle, JoinSet},
};

use super::{
    Api, ApiError, Call, Parameters, Secrets, Sqs, Sts,
    protocol::Protocol,
    signature::{self, Signed},
};
use crate::{
    ledger,
    tripwire::{Moment, Tripwire},
};

/// The AWS APIs, listening. Everything stops when this is dropped.
pub struct Aws {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// One call as the server saw it.
#[derive(Debug, Clone)]
pub struct RecordedCall {
    /// The service of the signature's scope, such as `ecr`, `ecr-public`, `sqs`, `secretsmanager`, `ssm`, `sts`.
    pub service: String,
    /// The operation, such as `GetAuthorizationToken`.
    pub operation: String,
    /// The region of the signature's scope.
    pub region: String,
    /// The access key that signed it.
    pub access_key: String,
    /// What was asked: the JSON body, or the form as an object of strings.
    pub request: Value,
    /// When the answer was ready.
    pub at: Instant,
    /// Whether it was answered with a 200.
    pub ok: bool,
}

struct Shared {
    apis: HashMap<&'static str, Arc<dyn Api>>,
    sqs: Arc<Sqs>,
    secrets: Arc<Secrets>,
    parameters: Arc<Parameters>,
    sts: Arc<Sts>,
    calls: Mutex<Vec<RecordedCall>>,
    faults: Mutex<Vec<Fault>>,
    request_ids: AtomicU64,
    panicked: AtomicBool,
    wire: OnceLock<Tripwire>,
}

struct Fault {
    operation: String,
    turn: Turn,
    left: usize,
}

/// What becomes of a call.
#[derive(Clone)]
enum Turn {
    Fails(ApiError),
    /// It is never answered.
    Silence,
    /// It waits until as many have come as are awaited.
    Meets(Arc<Barrier>),
}

/// A batch of 1 MiB messages is the largest body there is; JSON escapes may make it six times as long.
const MAX_BODY: usize = 8 << 20;

impl Aws {
    /// Starts on a free port of the loopback address: the given services, plus SQS, Secrets Manager, SSM and STS.
    pub async fn start(apis: Vec<Arc<dyn Api>>) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), apis).await
    }

    /// Starts on this address.
    pub async fn start_at(address: SocketAddr, apis: Vec<Arc<dyn Api>>) -> Self {
        let listener = TcpListener::bind(address).await.expect("the address of the AWS APIs is free");
        let address = listener.local_addr().expect("a bound listener has an address");
        let sqs = Arc::new(Sqs::new(&format!("http://{address}")));
        let secrets = Arc::new(Secrets::default());
        let parameters = Arc::new(Parameters::default());
        let builtin: [Arc<dyn Api>; 3] = [sqs.clone(), secrets.clone(), parameters.clone()];
        let shared = Arc::new(Shared {
            // Given services come last, so that a test may put its own in the place of a built-in one.
            apis: builtin.into_iter().chain(apis).map(|api| (api.target(), api)).collect(),
            sqs,
            secrets,
            parameters,
            sts: Arc::default(),
            calls: Mutex::default(),
            faults: Mutex::default(),
            request_ids: AtomicU64::new(1),
            panicked: AtomicBool::new(false),
            wire: OnceLock::new(),
        });
        let task = tokio::spawn(accept(listener, shared.clone()));
        Self { address, shared, task }
    }

    /// The value for `AWS_ENDPOINT_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every call so far, in the order of their answers.
    pub fn calls(&self) -> Vec<RecordedCall> {
        lock(&self.shared.calls).clone()
    }

    /// How many calls of this operation there were.
    pub fn count(&self, service: &str, operation: &str) -> usize {
        lock(&self.shared.calls).iter().filter(|c| c.service == service && c.operation == operation).count()
    }

    /// Forgets the calls so far.
    pub fn clear_calls(&self) {
        lock(&self.shared.calls).clear();
    }

    /// The queues.
    pub fn sqs(&self) -> &Sqs {
        &self.shared.sqs
    }

    /// Secrets Manager's secrets.
    pub fn secrets(&self) -> &Secrets {
        &self.shared.secrets
    }

    /// SSM's parameters.
    pub fn ssm(&self) -> &Parameters {
        &self.shared.parameters
    }

    /// The roles.
    pub fn sts(&self) -> &Sts {
        &self.shared.sts
    }

    /// Answers the next `times` calls of this operation, of whatever service, with this error.
    pub fn fail_next(&self, operation: &str, error: ApiError, times: usize) {
        self.shared.plan(operation, Turn::Fails(error), times);
    }

    /// Holds the next `calls` of this operation until all of them have come, so that they are served together.
    pub fn serve_together(&self, operation: &str, calls: usize) {
        self.shared.plan(operation, Turn::Meets(Arc::new(Barrier::new(calls))), calls);
    }

    /// Counts its calls on this wire.
    pub fn string(&self, wire: &Tripwire) {
        self.shared.wire.get_or_init(|| wire.clone());
    }

    /// Takes every further call of this operation and never answers.
    pub fn silence(&self, operation: &str) {
        self.shared.plan(operation, Turn::Silence, usize::MAX);
    }
}

impl Drop for Aws {
    fn drop(&mut self) {
        self.task.abort();
        let panicked = self.shared.panicked.load(Ordering::Relaxed);
        assert!(!panicked || std::thread::panicking(), "the AWS emulator panicked while it served a call, see above");
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(serve(stream, shared.clone()));
                }
            }
            Some(ended) = connections.join_next() => {
                if ended.is_err_and(|error| error.is_panic()) {
                    shared.panicked.store(true, Ordering::Relaxed);
                }
            }
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(shared.handle(request).await) }
    });
    // A client that goes away is no event.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

impl Shared {
    fn plan(&self, operation: &str, turn: Turn, left: usize) {
        lock(&self.faults).push(Fault { operation: operation.to_owned(), turn, left });
    }

    async fn handle(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let number = self.request_ids.fetch_add(1, Ordering::Relaxed);
        let request_id = format!("00000000-0000-4000-8000-{number:012x}");
        let header = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let content_type = header("content-type").unwrap_or_default();
        let target = header("x-amz-target").unwrap_or_default();
        let protocol = if content_type.starts_with("application/x-www-form-urlencoded") {
            Protocol::Query
        } else {
            Protocol::of_target(target.split('.').next().unwrap_or_default())
        };
        let wire = self.wire.get().and_then(|wire| Some((wire, wire.pass()?)));
        if let Some((wire, Moment::Arrived)) = wire {
            wire.trip(Moment::Arrived, &target).await;
        }
        let answer = if protocol == Protocol::Query {
            self.query(request, &request_id).await
        } else {
            self.json(request, &target, &content_type).await
        };
        if let Some((wire, moment @ (Moment::Done | Moment::Answered))) = wire {
            wire.trip(moment, &target).await;
        }
        let mut response = match answer {
            Ok(body) => protocol.answer(body),
            Err(error) => protocol.error(&error, &request_id),
        };
        if let Ok(value) = request_id.parse() {
            response.headers_mut().insert("x-amzn-requestid", value);
        }
        response
    }

    async fn json(&self, request: Request<Incoming>, target: &str, content_type: &str) -> Result<Bytes, ApiError> {
        let signed = signature::parse(request.headers())?;
        let unknown = || ApiError::client("UnknownOperationException", "");
        let (prefix, operation) = target.rsplit_once('.').ok_or_else(unknown)?;
        let api = self.apis.get(prefix).cloned().ok_or_else(unknown)?;
        if request.method() != Method::POST || request.uri().path() != "/" {
            return Err(unknown());
        }
        if content_type != Protocol::of_target(prefix).content_type() {
            return Err(ApiError::client("SerializationException", format!("unexpected content type {content_type}")));
        }
        check_service(prefix, &signed)?;
        let app = app(request.headers());
        let body = read(request).await?;
        let body: Value = serde_json::from_slice(&body)
            .map_err(|error| ApiError::client("SerializationException", error.to_string()))?;
        let answer = match self.admit(operation, &signed).await {
            Ok(()) => {
                let call = Call {
                    operation: operation.to_owned(),
                    region: signed.region.clone(),
                    access_key: signed.access_key.clone(),
                    body: body.clone(),
                };
                api.call(call).await
            }
            Err(error) => Err(error),
        };
        note(&app, operation, &signed, &body, answer.as_ref().ok());
        self.record(operation, signed, body, answer.is_ok());
        answer.map(|value| value.to_string().into())
    }

    async fn query(&self, request: Request<Incoming>, request_id: &str) -> Result<Bytes, ApiError> {
        let signed = signature::parse(request.headers())?;
        let app = app(request.headers());
        let body = read(request).await?;
        let form: HashMap<String, String> = form_urlencoded::parse(&body).into_owned().collect();
        let operation = form.get("Action").cloned().unwrap_or_default();
        let answer = match self.admit(&operation, &signed).await {
            Ok(()) => self.sts.call(&operation, &form, &signed, request_id),
            Err(error) => Err(error),
        };
        let form = Value::Object(form.into_iter().map(|(name, value)| (name, Value::from(value))).collect());
        note(&app, &operation, &signed, &form, None);
        self.record(&operation, signed, form, answer.is_ok());
        answer.map(Bytes::from)
    }

    /// Refuses keys that STS did not issue in this form, and plays the faults of the script.
    async fn admit(&self, operation: &str, signed: &Signed) -> Result<(), ApiError> {
        self.sts.check_session(signed)?;
        let turn = {
            let mut faults = lock(&self.faults);
            let Some(fault) = faults.iter_mut().find(|fault| fault.operation == operation && fault.left > 0) else {
                return Ok(());
            };
            fault.left -= 1;
            fault.turn.clone()
        };
        match turn {
            Turn::Fails(error) => Err(error),
            Turn::Silence => std::future::pending().await,
            Turn::Meets(others) => {
                others.wait().await;
                Ok(())
            }
        }
    }

    fn record(&self, operation: &str, signed: Signed, request: Value, ok: bool) {
        lock(&self.calls).push(RecordedCall {
            service: signed.service,
            operation: operation.to_owned(),
            region: signed.region,
            access_key: signed.access_key,
            request,
            at: Instant::now(),
            ok,
        });
    }
}

/// What names the resource of a call, or asks for rights beside the call's own.
const TELLING: [&str; 10] = [
    "registryId",
    "repositoryName",
    "QueueUrl",
    "SecretId",
    "Name",
    "RoleArn",
    "resourceArn",
    "encryptionConfiguration",
    "tags",
    "repositoryNames",
];

/// Writes a call into the ledger of rights.
fn note(app: &str, operation: &str, signed: &Signed, request: &Value, answer: Option<&Value>) {
    let telling: Map<String, Value> =
        TELLING.iter().filter_map(|key| Some(((*key).to_owned(), request.get(key)?.clone()))).collect();
    let Signed { service, region, access_key, .. } = signed;
    let key = format!("{app} {service} {operation} {region} {access_key} {}", Value::Object(telling.clone()));
    ledger::note("call", &key, || {
        // A configuration that is read here is what the rights come from.
        let parameter = answer.and_then(|answer| answer.pointer("/Parameter/Value"));
        serde_json::json!({
            "function": app, "service": service, "operation": operation, "region": region, "access_key": access_key,
            "request": telling, "parameter": parameter,
        })
    });
}

/// The application that the SDK says it works for (`AWS_SDK_UA_APP_ID`).
fn app(headers: &HeaderMap) -> String {
    let agents = ["x-amz-user-agent", "user-agent"].into_iter();
    let mut words = agents.filter_map(|name| headers.get(name)?.to_str().ok()).flat_map(str::split_ascii_whitespace);
    words.find_map(|word| word.strip_prefix("app/")).unwrap_or_default().to_owned()
}

/// AWS refuses a signature that was made for another service.
fn check_service(prefix: &str, signed: &Signed) -> Result<(), ApiError> {
    let expected = match prefix {
        "AmazonEC2ContainerRegistry_V20150921" => "ecr",
        "SpencerFrontendService" => "ecr-public",
        "AmazonSQS" => "sqs",
        "AmazonSSM" => "ssm",
        "secretsmanager" => "secretsmanager",
        _ => return Ok(()),
    };
    if signed.service == expected {
        return Ok(());
    }
    let message = format!("Credential should be scoped to correct service: '{expected}'.");
    Err(ApiError::with_status(403, "InvalidSignatureException", message))
}

async fn read(request: Request<Incoming>) -> Result<Bytes, ApiError> {
    let body = Limited::new(request.into_body(), MAX_BODY).collect().await;
    body.map(http_body_util::Collected::to_bytes)
        .map_err(|_| ApiError::with_status(413, "RequestEntityTooLarge", "the body is too long or was cut short"))
}

/// Locks without minding a panic elsewhere: the test that panicked reports itself.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
