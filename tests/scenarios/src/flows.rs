//! What scenarios do and look at: a time limit, invocations and their answers, waiting for what can be seen.

use std::{future::Future, thread, time::Duration};

use serde_json::{Value, json};

use crate::{Function, Outcome, watchdog::watch, world::push_event};

/// Runs a scenario under the watchdog, by the name of its thread: the test harness names it after the test.
pub async fn watched<T>(limit: Duration, body: impl Future<Output = T>) -> T {
    let name = thread::current().name().unwrap_or("a scenario").to_owned();
    watch(&name, limit, |_| body).await
}

/// Hands an event to `on-push`, which must succeed, and answers its results.
pub async fn results(function: &mut Function, event: Value, timeout: Duration) -> Vec<Value> {
    match function.invoke(event, timeout).await {
        Outcome::Ok(answer) => answer["results"].as_array().expect("results are a list").clone(),
        other => panic!("the invocation failed: {other:?}"),
    }
}

/// Tells `on-push` of a push to the source; it must succeed with one result.
pub async fn pushed(function: &mut Function, repository: &str, tag: &str, digest: &str, timeout: Duration) -> Value {
    let mut results = results(function, push_event(repository, tag, digest), timeout).await;
    assert_eq!(results.len(), 1, "{results:?}");
    results.remove(0)
}

/// The error type and the message of an invocation that must fail.
pub async fn failed(function: &mut Function, event: Value, timeout: Duration) -> (String, String) {
    match function.invoke(event, timeout).await {
        Outcome::Err { error_type, message } | Outcome::InitError { error_type, message } => (error_type, message),
        other => panic!("the invocation should have failed: {other:?}"),
    }
}

/// A message body that names both ends.
pub fn image_message(source: impl Into<String>, destination: impl Into<String>) -> String {
    json!({ "source": source.into(), "destination": destination.into() }).to_string()
}

/// The results that a function logged so far.
pub fn logged_results(function: &Function) -> Vec<Value> {
    let records = function.records().into_iter();
    records.filter_map(|mut record| record.get_mut("result").map(Value::take)).collect()
}

/// The digits of a digest: an object store's paths have no colon.
pub fn digits(digest: &str) -> &str {
    digest.split_once(':').expect("a digest names its algorithm").1
}

/// Waits for what another process, or a server's task, makes true.
pub async fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    for _ in 0..5_000 {
        if is() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    panic!("it never came about that {what}");
}
