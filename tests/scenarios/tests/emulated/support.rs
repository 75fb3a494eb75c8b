//! What the scenarios share: the time limit, invocations and their answers, waiting for what can be seen.

use std::{future::Future, time::Duration};

use emulator::{Index, Kind, Registry, Store};
pub(crate) use scenarios::flows::{digits, eventually, image_message, logged_results};
use scenarios::{EventSource, Function, Outcome, World, event_source::Delivery, flows};
use serde_json::{Value, json};

/// For one scenario, and for each invocation in it.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Runs a scenario under the watchdog.
pub(crate) fn watched<T>(body: impl Future<Output = T>) -> impl Future<Output = T> {
    flows::watched(LIMIT, Box::pin(body))
}

/// Hands an event to `on-push`, which must succeed, and answers its results.
pub(crate) async fn results(function: &mut Function, event: Value) -> Vec<Value> {
    flows::results(function, event, LIMIT).await
}

/// Tells `on-push` of a push to the source; it must succeed with one result.
pub(crate) async fn pushed(function: &mut Function, repository: &str, tag: &str, digest: &str) -> Value {
    flows::pushed(function, repository, tag, digest, LIMIT).await
}

/// The error type and the message of an invocation that must fail.
pub(crate) async fn failed(function: &mut Function, event: Value) -> (String, String) {
    flows::failed(function, event, LIMIT).await
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
