//! The execution environment, over a fake function: warm and cold, crash, deadline, memory, logs, queue.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{path::PathBuf, time::Duration};

use emulator::aws::Aws;
use scenarios::{EventSource, Function, Outcome, Settings, watchdog::watch};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

async fn fake(settings: Settings, env: &[(&str, &str)]) -> Function {
    let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/fake-function.py");
    Function::start_program(&program, settings, env).await
}

#[tokio::test]
async fn a_process_stays_warm_and_sees_lambdas_environment() {
    watch("a_process_stays_warm_and_sees_lambdas_environment", LIMIT, |_| async {
        let settings = Settings { memory_mb: 1769, region: "eu-west-1".into(), account: "222233334444".into() };
        let mut function = fake(settings, &[("TRANSSHIP_CONFIG", "{}"), ("TZ", "UTC")]).await;
        assert!(function.ready().await.unwrap() > Duration::ZERO);
        let first = function.invoke(json!({}), 5 * SECOND).await.ok().unwrap();
        let second = function.invoke(json!({}), 5 * SECOND).await.ok().unwrap();
        assert_eq!((first["served"].as_u64(), second["served"].as_u64()), (Some(1), Some(2)));
        let environment = &first["environment"];
        for (name, value) in [
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769"),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "AKIA222233334444"),
            ("TRANSSHIP_CONFIG", "{}"),
            ("TZ", "UTC"),
        ] {
            assert_eq!(environment[name], value, "{name}");
        }
        assert!(environment["HOME"].is_null(), "nothing of the test's own environment leaks in");
        assert_eq!(first["folder"], function.task_root().to_str().unwrap());
        let left = first["left_ms"].as_f64().unwrap();
        assert!((3000.0..=5000.0).contains(&left), "{left}");
        assert_eq!(function.records()[1]["served"], 2);
        assert!(function.lines().contains(&"not json".to_owned()));
        assert_eq!(function.starts(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_process_that_ends_is_started_anew() {
    watch("a_process_that_ends_is_started_anew", LIMIT, |_| async {
        let mut function = fake(Settings::default(), &[]).await;
        assert_eq!(function.invoke(json!({ "exit": 3 }), 5 * SECOND).await, Outcome::Crashed { status: Some(3) });
        let answer = function.invoke(json!({}), 5 * SECOND).await.ok().unwrap();
        assert_eq!((answer["served"].as_u64(), function.starts()), (Some(1), 2));
        assert_eq!(function.invoke(json!({ "sleep": 60 }), SECOND / 5).await, Outcome::TimedOut);
        assert!(function.pid().is_none(), "past its deadline the process is killed");
        assert!(function.invoke(json!({}), 5 * SECOND).await.ok().is_some());
        assert_eq!(function.starts(), 3);
        let mut broken = fake(Settings::default(), &[("FAIL_INIT", "1")]).await;
        assert_eq!(broken.ready().await, Err(Outcome::Crashed { status: Some(7) }));
    })
    .await;
}

#[tokio::test]
async fn peak_memory_is_read() {
    watch("peak_memory_is_read", LIMIT, |_| async {
        let mut function = fake(Settings::default(), &[]).await;
        function.invoke(json!({}), 5 * SECOND).await;
        let before = function.peak_rss();
        function.invoke(json!({ "grow": 64 << 20 }), 5 * SECOND).await;
        function.kill().await;
        assert!(before > 1 << 20 && function.peak_rss() >= before + (60 << 20), "{before} {}", function.peak_rss());
    })
    .await;
}

#[tokio::test]
async fn the_event_source_deletes_what_did_not_fail() {
    watch("the_event_source_deletes_what_did_not_fail", LIMIT, |_| async {
        let aws = Aws::start(Vec::new()).await;
        let url = aws.sqs().create("work", 30 * SECOND);
        let mut function = fake(Settings::default(), &[]).await;
        let source = EventSource::new(aws.sqs(), &url);
        assert!(source.deliver(&mut function).await.is_none());
        aws.sqs().send(&url, r#"{"batchItemFailures":[]}"#);
        aws.sqs().send(&url, r#"{"batchItemFailures":[{"itemIdentifier":"unknown"}]}"#);
        let deliveries = source.drain(&mut function, 10).await;
        assert_eq!(deliveries.len(), 2);
        assert!(deliveries[0].kept.is_empty());
        let left = aws.sqs().messages(&url);
        assert_eq!((left.len(), &left[0].id, left[0].in_flight), (1, &deliveries[1].kept[0], true));
    })
    .await;
}
