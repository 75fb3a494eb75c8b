//! What the scenarios share: the time limit, invocations and their answers, waiting for what can be seen.

use std::{future::Future, thread, time::Duration};

use emulator::{Index, Kind, Registry, Store};
use scenarios::{EventSource, Function, Outcome, World, event_source::Delivery, watchdog::watch, world::push_event};
use serde_json::{Value, json};

/// For one scenario, and for each invocation in it.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Runs a scenario under the watchdog, by the name of its thread: the test harness names it after the test.
pub(crate) async fn watched<T>(body: impl Future<Output = T>) -> T {
    let name = thread::current().name().unwrap_or("a scenario").to_owned();
    watch(&name, LIMIT, |_| body).await
}

/// Hands an event to `on-push`, which must succeed, and answers its results.
pub(crate) async fn results(function: &mut Function, event: Value) -> Vec<Value> {
    match function.invoke(event, LIMIT).await {
        Outcome::Ok(answer) => answer["results"].as_array().expect("results are a list").clone(),
        other => panic!("the invocation failed: {other:?}"),
    }
}

/// Tells `on-push` of a push to the source; it must succeed with one result.
pub(crate) async fn pushed(function: &mut Function, repository: &str, tag: &str, digest: &str) -> Value {
    let mut results = results(function, push_event(repository, tag, digest)).await;
    assert_eq!(results.len(), 1, "{results:?}");
    results.remove(0)
}

/// The error type and the message of an invocation that must fail.
pub(crate) async fn failed(function: &mut Function, event: Value) -> (String, String) {
    match function.invoke(event, LIMIT).await {
        Outcome::Err { error_type, message } | Outcome::InitError { error_type, message } => (error_type, message),
        other => panic!("the invocation should have failed: {other:?}"),
    }
}

/// A message body that names both ends.
pub(crate) fn image_message(source: impl Into<String>, destination: impl Into<String>) -> String {
    json!({ "source": source.into(), "destination": destination.into() }).to_string()
}

/// Has `fanout` do a message, all the way through SQS; one that can be received is expected.
pub(crate) async fn delivered(world: &World, function: &mut Function, body: &str) -> Delivery {
    world.aws.sqs().create("work", Duration::from_secs(30));
    world.aws.sqs().send("work", body);
    let delivery = EventSource::new(world.aws.sqs(), "work").timeout(LIMIT).deliver(function).await;
    delivery.expect("the message is visible")
}

/// The one result that `fanout` logged for a message that named both ends and must succeed.
pub(crate) async fn replicated(world: &World, function: &mut Function, source: &str, destination: &str) -> Value {
    let before = logged_results(function).len();
    let delivery = delivered(world, function, &image_message(source, destination)).await;
    assert_eq!(delivery.outcome, Outcome::Ok(json!({ "batchItemFailures": [] })));
    eventually("the result is logged", || logged_results(function).len() > before).await;
    logged_results(function).pop().expect("it was just seen")
}

/// The results that a function logged so far.
pub(crate) fn logged_results(function: &Function) -> Vec<Value> {
    let records = function.records().into_iter();
    records.filter_map(|mut record| record.get_mut("result").map(Value::take)).collect()
}

/// The digits of a digest: an object store's paths have no colon.
pub(crate) fn digits(digest: &str) -> &str {
    digest.split_once(':').expect("a digest names its algorithm").1
}

/// Waits for what another process, or a server's task, makes true.
pub(crate) async fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    for _ in 0..5_000 {
        if is() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    panic!("it never came about that {what}");
}

/// Asserts that a registry got nothing that writes: no upload, no mount, no manifest.
pub(crate) fn assert_nothing_written(registry: &Registry) {
    for kind in [Kind::UploadStart, Kind::Mount, Kind::UploadPatch, Kind::UploadPut, Kind::ManifestPut] {
        assert_eq!(registry.journal().count(kind), 0, "{kind:?}");
    }
}

/// Asserts that every index was put after all that it lists, and that `root` came last.
pub(crate) fn assert_children_first(store: &Store, repository: &str, root: &str) {
    let order = store.manifests_in_push_order(repository);
    assert_eq!(order.last().map(String::as_str), Some(root));
    for (position, digest) in order.iter().enumerate() {
        let manifest = store.manifest(repository, digest).expect("the store lists it");
        let manifest: Value = serde_json::from_slice(&manifest.bytes).expect("manifests are JSON");
        for child in manifest["manifests"].as_array().into_iter().flatten() {
            let child = child["digest"].as_str().expect("a descriptor has a digest");
            let at = order.iter().position(|digest| digest == child);
            assert!(at.is_some_and(|at| at < position), "{child} is listed by {digest}, and came after it");
        }
    }
}

/// An index of images for these platforms, each with a layer of its own and one that all share.
pub(crate) fn multi_platform(seed: u64, platforms: &[&str]) -> Index {
    let shared = emulator::image::raw_layer(seed, 30_000);
    let images: Vec<_> = (seed + 1..)
        .zip(platforms)
        .map(|(seed, platform)| {
            let own = emulator::image::raw_layer(seed, 20_000);
            emulator::Image::builder().platform(platform).layer(shared.clone()).layer(own).build()
        })
        .collect();
    Index::of(&images.iter().collect::<Vec<_>>())
}
