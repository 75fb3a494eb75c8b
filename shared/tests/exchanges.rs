//! Single exchanges with a registry: what is sent, and what an answer means.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use serde_json::json;
use transfer::{
    deadline::Deadline,
    error::{Error, ErrorType},
    limits::{Admitted, ByteBudget, CopyLimits, Pulls, StreamCap},
    oci::{Blob, Digest},
    provider::{Action, Provider},
    registry::{
        AnonymousLogin, Authenticator, BlobsAt, Lacks, LastTags, Login, LoginIssued, LoginRequest, LoginSource, Quotas,
        RegistryClient, Repository, Run, Secret, SentLately, Started, UploadLimit,
    },
    retry::RetryPolicy,
    transport::{Clients, Meter, ReceiveWindow, StreamBody, Transport, TransportSettings},
};
use url::Url;
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{basic_auth, body_string_contains, header, method, path, query_param},
};

/// A user and a password, whoever asks.
struct Fixed;

impl LoginSource for Fixed {
    fn login<'a>(&'a self, _: LoginRequest<'a>) -> BoxFuture<'a, Result<LoginIssued, Error>> {
        let login = Login::Password { user: "robot".to_owned(), password: Secret::new("pass") };
        Box::pin(async { Ok(LoginIssued { login, expires: None }) })
    }
}

fn run() -> Run {
    Run { meter: Arc::new(Meter::default()), deadline: Deadline::after(Duration::from_secs(20)) }
}

/// The repository `team/app` of `server`, to write to.
fn repository(server: &MockServer, provider: Provider, auth: Authenticator) -> Repository {
    let settings = TransportSettings {
        endpoint: Url::parse(&server.uri()).unwrap(),
        ca_certificate: None,
        configured: Vec::new(),
        redirects: Vec::new(),
        stall: Duration::from_secs(5),
    };
    let receiving = ByteBudget::new(64 << 20).receiving();
    let clients = Clients::new(ReceiveWindow::Adaptive, receiving, 1, Duration::from_secs(5));
    let client = RegistryClient {
        host: "registry.example.test".to_owned(),
        provider,
        transport: Transport::new(Arc::new(clients), settings).unwrap(),
        auth,
        streams: StreamCap::new(4),
        policy: RetryPolicy { max_attempts: 3 },
        quotas: Quotas::new(provider, 4),
        pulls: Pulls::default(),
        sent: SentLately::default(),
        lacks: Lacks::default(),
        last_tags: LastTags::default(),
        blobs_at: BlobsAt::default(),
        least_chunk: std::sync::atomic::AtomicU64::new(0),
        upload_limit: UploadLimit(provider.upload_limit()),
    };
    Repository::destination(Arc::new(client), "team/app", None, run())
}

fn anonymous(server: &MockServer, provider: Provider) -> Repository {
    repository(server, provider, Authenticator::challenged(Box::new(AnonymousLogin)))
}

fn body(content: &'static [u8]) -> StreamBody {
    let body = Full::new(Bytes::from_static(content)).map_err(|never| match never {}).boxed();
    StreamBody { body, progress: Arc::default() }
}

fn blob(content: &[u8]) -> Blob {
    Blob { digest: Digest::of(content), size: content.len() as u64, foreign: false }
}

/// Leave for a copy within the registry of `repository`.
async fn leave(repository: &Repository, blob: &Blob) -> Admitted {
    let (client, budget) = (repository.client(), ByteBudget::new(64 * 1024 * 1024));
    let limits = CopyLimits {
        reads: client.quotas.of(Action::GetBlob),
        starts: client.quotas.of(Action::StartUpload),
        uploads: client.quotas.of(Action::Upload),
        source: &client.streams,
        destination: &client.streams,
        budget: &budget,
    };
    limits
        .admit(repository.copy_bytes(blob, client.provider.upload_strategy()), &repository.run().deadline)
        .await
        .unwrap()
}

/// Opens a session and sends `content` into it.
async fn upload(repository: &Repository, content: &'static [u8]) -> Result<(), Error> {
    let blob = blob(content);
    let leave = leave(repository, &blob).await;
    let strategy = repository.client().provider.upload_strategy();
    let window = repository.copy_window(&blob, leave.lease().bytes(), strategy);
    match repository.start_upload(&leave, &blob.digest, None).await? {
        Started::Session(mut session) => {
            repository.upload(&mut session, &blob, body(content), window, strategy, &|_, _| {}).await
        }
        Started::Mounted => Ok(()),
    }
}

fn challenge(server: &MockServer) -> ResponseTemplate {
    let text =
        format!(r#"Bearer realm="{}/token",service="the-service",scope="repository:team/app:pull""#, server.uri());
    ResponseTemplate::new(401).insert_header("WWW-Authenticate", text)
}

/// Answers 401 until `Bearer TOKEN` comes.
async fn guarded_by(server: &MockServer, token: &'static str) {
    let expected = format!("Bearer {token}");
    Mock::given(method("HEAD"))
        .and(path("/v2/team/app/manifests/v1"))
        .and(header("authorization", expected.as_str()))
        .respond_with(ResponseTemplate::new(404))
        .with_priority(1)
        .mount(server)
        .await;
    Mock::given(method("HEAD")).respond_with(challenge(server)).with_priority(2).mount(server).await;
}

#[tokio::test]
async fn a_token_is_asked_for_with_the_scope_of_what_is_done_and_kept() {
    let server = MockServer::start().await;
    guarded_by(&server, "fresh").await;
    Mock::given(method("GET"))
        .and(path("/token"))
        .and(query_param("service", "the-service"))
        .and(query_param("scope", "repository:team/app:pull,push"))
        .and(basic_auth("robot", "pass"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"access_token": "fresh", "expires_in": 300})))
        .expect(1)
        .mount(&server)
        .await;
    let repository = repository(&server, Provider::Generic, Authenticator::challenged(Box::new(Fixed)));
    for _ in 0..3 {
        assert_eq!(repository.head_manifest("v1").await.unwrap(), None);
    }
    assert_eq!(repository.run().meter.read().requests, 4, "one refusal, three answers; the token service aside");
}

#[tokio::test]
async fn a_token_service_that_takes_no_get_is_asked_by_post() {
    let server = MockServer::start().await;
    guarded_by(&server, "posted").await;
    Mock::given(method("GET")).and(path("/token")).respond_with(ResponseTemplate::new(405)).mount(&server).await;
    Mock::given(method("POST"))
        .and(path("/token"))
        .and(body_string_contains("grant_type=password"))
        .and(body_string_contains("username=robot"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"token": "posted"})))
        .expect(1)
        .mount(&server)
        .await;
    let repository = repository(&server, Provider::Generic, Authenticator::challenged(Box::new(Fixed)));
    assert_eq!(repository.head_manifest("v1").await.unwrap(), None);
}

#[tokio::test]
async fn a_401_is_answered_with_one_fresh_token_and_once() {
    let server = MockServer::start().await;
    Mock::given(method("HEAD")).respond_with(challenge(&server)).expect(2).mount(&server).await;
    Mock::given(method("GET"))
        .and(path("/token"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"token": "useless"})))
        .expect(1)
        .mount(&server)
        .await;
    let error = anonymous(&server, Provider::Generic).head_manifest("v1").await.unwrap_err();
    assert_eq!(error.error_type, ErrorType::Unauthorized);
    assert!(error.message.contains("registry.example.test/team/app"), "{error}");
}

#[tokio::test]
async fn a_realm_outside_the_registrys_domain_gets_nothing() {
    let (server, stranger) = (MockServer::start().await, MockServer::start().await);
    let realm = format!(r#"Bearer realm="http://localhost:{}/token""#, stranger.address().port());
    let refusal = ResponseTemplate::new(401).insert_header("WWW-Authenticate", realm);
    Mock::given(method("HEAD")).respond_with(refusal).mount(&server).await;
    let repository = repository(&server, Provider::Generic, Authenticator::challenged(Box::new(Fixed)));
    let error = repository.head_manifest("v1").await.unwrap_err();
    assert_eq!(error.error_type, ErrorType::UnsafeRedirect);
    assert!(stranger.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_locations_query_stays_and_the_digest_is_added() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/v2/team/app/blobs/uploads/"))
        .respond_with(ResponseTemplate::new(202).insert_header("Location", "/v2/elsewhere/7?_state=a%2Fb%3D&x"))
        .mount(&server)
        .await;
    Mock::given(method("PUT"))
        .and(path("/v2/elsewhere/7"))
        .and(header("content-length", "5"))
        .and(header("content-type", "application/octet-stream"))
        .respond_with(ResponseTemplate::new(201))
        .expect(1)
        .mount(&server)
        .await;
    upload(&anonymous(&server, Provider::Generic), b"hello").await.unwrap();
    let requests = server.received_requests().await.unwrap();
    let put = requests.iter().find(|request| request.method.as_str() == "PUT").unwrap();
    let digest = Digest::of(b"hello").to_string().replace(':', "%3A");
    assert_eq!(put.url.query().unwrap(), format!("_state=a%2Fb%3D&x&digest={digest}"));
}

#[tokio::test]
async fn an_upload_is_not_led_to_another_origin() {
    let (server, stranger) = (MockServer::start().await, MockServer::start().await);
    for location in [format!("{}/v2/x", stranger.uri()), server.uri().replace("http:", "https:") + "/v2/x"] {
        server.reset().await;
        Mock::given(method("POST"))
            .respond_with(ResponseTemplate::new(202).insert_header("Location", location.as_str()))
            .mount(&server)
            .await;
        let error = upload(&anonymous(&server, Provider::Generic), b"hello").await.unwrap_err();
        assert_eq!(error.error_type, ErrorType::UnsafeRedirect, "{location}");
    }
    assert!(stranger.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn chunks_go_to_the_location_of_the_answer_before_with_our_own_offsets() {
    const SIZE: usize = 40 * 1024 * 1024;
    static CONTENT: [u8; SIZE] = [7; SIZE];
    let server = MockServer::start().await;
    let next = |at: &str| ResponseTemplate::new(202).insert_header("Location", format!("/up/{at}?_state={at}"));
    Mock::given(method("POST")).respond_with(next("0")).mount(&server).await;
    for (at, range, then) in
        [("0", "0-16777215", "1"), ("1", "16777216-33554431", "2"), ("2", "33554432-41943039", "3")]
    {
        Mock::given(method("PATCH"))
            .and(path(format!("/up/{at}")))
            .and(query_param("_state", at))
            .and(header("content-range", range))
            // A `Range` that is stuck, as ECR's.
            .respond_with(next(then).insert_header("Range", "0-16777215"))
            .expect(1)
            .mount(&server)
            .await;
    }
    Mock::given(method("PUT"))
        .and(path("/up/3"))
        .and(header("content-length", "0"))
        .respond_with(ResponseTemplate::new(201))
        .expect(1)
        .mount(&server)
        .await;
    upload(&anonymous(&server, Provider::Acr), &CONTENT).await.unwrap();
}

#[tokio::test]
async fn a_session_that_reports_no_progress_is_given_up_to_a_new_one() {
    let server = MockServer::start().await;
    let begun =
        ResponseTemplate::new(202).insert_header("Location", "/up/0").insert_header("OCI-Chunk-Min-Length", "1048576");
    Mock::given(method("POST")).respond_with(begun).mount(&server).await;
    // Broken once, then refused for ever, and the registry's `Range` is stuck.
    let broken = Mock::given(method("PATCH")).respond_with(ResponseTemplate::new(503));
    broken.up_to_n_times(1).with_priority(1).mount(&server).await;
    Mock::given(method("PATCH")).respond_with(ResponseTemplate::new(416)).with_priority(2).mount(&server).await;
    let stuck = ResponseTemplate::new(204).insert_header("Location", "/up/0").insert_header("Range", "0-0");
    Mock::given(method("GET")).respond_with(stuck).mount(&server).await;
    let error = upload(&anonymous(&server, Provider::Acr), b"hello").await.unwrap_err();
    assert_eq!((error.error_type, error.retry_above), (ErrorType::Unavailable, true), "{error}");
    assert!(error.message.contains("416"), "{error}");
    let requests = server.received_requests().await.unwrap();
    let patches = requests.iter().filter(|request| request.method.as_str() == "PATCH").count();
    assert_eq!(
        patches, 3,
        "a byte was progress once; no chunk is sent for ever, nor refused for being small and alone"
    );
}

#[tokio::test]
async fn one_patch_carries_all_where_ranges_are_not_taken() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(202).insert_header("Location", "/up/0"))
        .mount(&server)
        .await;
    Mock::given(method("PATCH"))
        .respond_with(ResponseTemplate::new(202).insert_header("Location", "/up/1"))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(method("PUT"))
        .and(path("/up/1"))
        .respond_with(ResponseTemplate::new(201))
        .expect(1)
        .mount(&server)
        .await;
    upload(&anonymous(&server, Provider::Ghcr), b"hello").await.unwrap();
    let requests = server.received_requests().await.unwrap();
    let patch = requests.iter().find(|request| request.method.as_str() == "PATCH").unwrap();
    assert!(!patch.headers.contains_key("content-range"));
}

#[tokio::test]
async fn what_asks_to_wait_is_waited_for_and_counted() {
    let server = MockServer::start().await;
    let throttled = ResponseTemplate::new(429).insert_header("Retry-After", "1");
    Mock::given(method("HEAD")).respond_with(throttled).up_to_n_times(1).with_priority(1).mount(&server).await;
    Mock::given(method("HEAD")).respond_with(ResponseTemplate::new(404)).with_priority(2).mount(&server).await;
    let repository = anonymous(&server, Provider::Generic);
    let begun = tokio::time::Instant::now();
    assert!(!repository.has_blob(&Digest::of(b"x")).await.unwrap());
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let reading = repository.run().meter.read();
    assert_eq!((reading.requests, reading.retries, reading.throttled), (2, 1, 1));
}

#[tokio::test]
async fn a_no_of_the_registry_says_what_was_tried_where_and_what_to_do() {
    for (status, code, message, error_type, part) in [
        (403, "DENIED", "no right", ErrorType::Denied, "right to do it"),
        (404, "NAME_UNKNOWN", "no such repository", ErrorType::RepositoryNotFound, "create the repository"),
        (404, "BLOB_UPLOAD_UNKNOWN", "gone", ErrorType::RepositoryNotFound, "create the repository"),
        (400, "UNSUPPORTED", "odd", ErrorType::Denied, "as it is"),
        (503, "UNKNOWN", "down", ErrorType::Unavailable, "503"),
        (429, "TOOMANYREQUESTS", "Rate exceeded", ErrorType::Throttled, "Rate exceeded"),
    ] {
        let server = MockServer::start().await;
        let answer = move |_: &Request| {
            ResponseTemplate::new(status).set_body_json(json!({"errors": [{"code": code, "message": message}]}))
        };
        Mock::given(method("POST")).respond_with(answer).mount(&server).await;
        let error = upload(&anonymous(&server, Provider::Generic), b"hello").await.unwrap_err();
        assert_eq!(error.error_type, error_type, "{status} {code}: {error}");
        for expected in ["registry.example.test/team/app", Digest::of(b"hello").as_str(), message, part] {
            assert!(error.message.contains(expected), "`{expected}` is missing in: {error}");
        }
    }
}

#[tokio::test]
async fn what_a_token_service_says_instead_of_a_token_is_not_repeated() {
    let told = "eyJtoken-that-nobody-may-see";
    for answer in [
        ResponseTemplate::new(200).set_body_string(format!("\"{told}\"")),
        ResponseTemplate::new(203).set_body_json(json!({ "token": told })),
        ResponseTemplate::new(400).set_body_string(format!("you sent robot:pass and {told}")),
        ResponseTemplate::new(401)
            .set_body_json(json!({ "errors": [{ "code": "DENIED", "message": "not with `pass`" }] })),
    ] {
        let server = MockServer::start().await;
        let challenge = format!(r#"Bearer realm="{}/token",service="registry""#, server.uri());
        Mock::given(path("/token")).respond_with(answer).mount(&server).await;
        Mock::given(method("HEAD"))
            .respond_with(ResponseTemplate::new(401).insert_header("www-authenticate", challenge.as_str()))
            .mount(&server)
            .await;
        let repository = repository(&server, Provider::Generic, Authenticator::challenged(Box::new(Fixed)));
        let error = repository.has_blob(&Digest::of(b"x")).await.unwrap_err();
        assert!(error.message.contains("token service"), "{error}");
        assert!(!error.message.contains(told) && !error.message.contains("pass"), "{error}");
    }
}
