//! The harness itself: the registry that is not ours, skopeo, the Runtime API, the event source mapping.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use scenarios::{
    DockerRegistry, Layout, Outcome, RuntimeApi,
    http_client::client,
    layout::{INDEX, Shape, sha256},
    watchdog::watch,
};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_goes_through_a_registry_unchanged() {
    watch("an_image_goes_through_a_registry_unchanged", LIMIT, |steps| async move {
        let plain = steps.during("start over HTTP", DockerRegistry::start()).await;
        let settings = DockerRegistry::settings().tls().credentials("user", "pass word").in_memory();
        let locked = steps.during("start over TLS", settings.start()).await;
        let layout = Layout::generate(&Shape::default());
        for registry in [&plain, &locked] {
            let remote = registry.remote();
            steps.during("push", remote.push(&layout, "team/app:v1")).await;
            assert_eq!(remote.digest("team/app:v1").await, layout.digest());
            steps.during("read back", remote.assert_holds(&layout, "team/app:v1")).await;
            assert!(remote.try_manifest("team/app:v2").await.is_err());
            // Two platforms with a config, two layers and a manifest each; a shared layer; the index.
            assert_eq!(layout.blobs().len(), 10);
            assert_eq!(registry.requests("PUT", "/v2/team/app/manifests/"), 3);
        }
        let stranger = scenarios::Remote::new(&locked.host());
        assert!(stranger.try_manifest("team/app:v1").await.is_err(), "its certificate is not trusted");
        let index = plain.remote().manifest("team/app:v1").await;
        let index: Value = serde_json::from_slice(&index).unwrap();
        assert_eq!(index["mediaType"], INDEX);
        assert_eq!(index["manifests"][1]["platform"]["variant"], "v8");
    })
    .await;
}

#[test]
fn another_seed_makes_another_image() {
    let image = |seed| Layout::generate(&Shape { seed, ..Shape::default() }).digest();
    assert_eq!(image(1), image(1));
    assert_ne!(image(1), image(2));
    assert_eq!(sha256(b""), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

/// Polls, and answers what `answer` makes of the event: a path below `invocation/ID/` and a body.
async fn fake_function(address: String, answer: impl Fn(&Value) -> Option<(&'static str, String)>) {
    let client = client(None);
    let base = format!("http://{address}/2018-06-01/runtime/invocation");
    loop {
        let next = client.get(format!("{base}/next")).send().await.unwrap();
        assert_eq!(next.status(), 200);
        let id = next.headers()["Lambda-Runtime-Aws-Request-Id"].to_str().unwrap().to_owned();
        for name in ["Lambda-Runtime-Deadline-Ms", "Lambda-Runtime-Trace-Id", "Lambda-Runtime-Invoked-Function-Arn"] {
            assert!(next.headers().contains_key(name), "{name}");
        }
        let event: Value = next.json().await.unwrap();
        let Some((path, body)) = answer(&event) else { std::future::pending().await };
        let status = client.post(format!("{base}/{id}/{path}")).body(body).send().await.unwrap().status();
        assert!(status == 202 || status == 413, "{status}");
        let again = client.post(format!("{base}/{id}/response")).body("{}").send().await.unwrap();
        assert_eq!(again.status(), 400, "an invocation is answered once");
    }
}

#[tokio::test]
async fn the_runtime_api_serves_one_invocation_after_the_other() {
    watch("the_runtime_api_serves_one_invocation_after_the_other", LIMIT, |_| async {
        let api = RuntimeApi::start().await;
        assert!(api.first_poll().is_none());
        let function = tokio::spawn(fake_function(api.address(), |event| match event["do"].as_str() {
            Some("answer") => Some(("response", event.to_string())),
            Some("fail") => {
                let body = json!({ "errorType": "Denied", "errorMessage": "no", "stackTrace": [] });
                Some(("error", body.to_string()))
            }
            Some("flood") => Some(("response", format!("\"{}\"", "x".repeat(6 << 20)))),
            _ => None,
        }));
        api.polled().await.unwrap();
        let second = Duration::from_secs(1);
        let event = json!({ "do": "answer", "n": 1 });
        assert_eq!(api.invoke(&event, second).await, Outcome::Ok(event));
        let failed = api.invoke(&json!({ "do": "fail" }), second).await;
        assert_eq!(failed, Outcome::Err { error_type: "Denied".into(), message: "no".into() });
        let flood = api.invoke(&json!({ "do": "flood" }), 10 * second).await;
        assert_eq!(flood.error_type(), Some("Function.ResponseSizeTooLarge"));
        assert_eq!(api.invoke(&json!({ "do": "sleep" }), second / 10).await, Outcome::TimedOut);
        function.abort();
    })
    .await;
}

#[tokio::test]
async fn an_init_error_ends_every_invocation() {
    let api = RuntimeApi::start().await;
    let body = json!({ "errorType": "InvalidConfig", "errorMessage": "rules: expected a list" });
    let url = format!("http://{}/2018-06-01/runtime/init/error", api.address());
    assert_eq!(client(None).post(url).body(body.to_string()).send().await.unwrap().status(), 202);
    let expected = Outcome::InitError { error_type: "InvalidConfig".into(), message: "rules: expected a list".into() };
    assert_eq!(api.polled().await, Err(expected.clone()));
    assert_eq!(api.invoke(&json!({}), Duration::from_secs(1)).await, expected);
}
