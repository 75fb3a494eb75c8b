//! What EventBridge may rightly send and is no work: it succeeds, says why, and touches nothing.

use std::fs;

use emulator::Image;
use scenarios::{
    World,
    world::{DESTINATION, push_event},
};
use serde_json::{Value, json};

use crate::support::{failed, results, watched};

/// The pushes among the samples in `events/`, of images and of what is attached to them.
const WORK: [&str; 5] = [
    "ecr-push.json",
    "ecr-push-image.json",
    "ecr-push-index.json",
    "ecr-push-signature.json",
    "ecr-push-referrer.json",
];

fn samples() -> Vec<(String, Value)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let named = files.map(|file| (file.file_name().into_string().unwrap(), file.path()));
    let json = named.filter(|(name, _)| name.ends_with(".json"));
    json.map(|(name, path)| (name, serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap())).collect()
}

async fn world() -> World {
    let world = World::ecr(|destination| destination).await;
    world.destination.store().create_repository("mirror/team/app");
    world
}

fn assert_untouched(world: &World) {
    assert_eq!(world.source.journal().len(), 0);
    assert_eq!(world.destination.journal().len(), 0);
    assert_eq!(world.aws.calls().len(), 0);
}

async fn assert_ignored(function: &mut scenarios::Function, event: Value, part: &str) {
    let results = results(function, event).await;
    assert_eq!(results.len(), 1, "{results:?}");
    assert_eq!(results[0]["outcome"], "ignored", "{results:?}");
    let reason = results[0]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains(part) && !reason.is_empty(), "{reason}, not {part}");
}

#[tokio::test]
async fn every_sample_that_is_no_tagged_push_is_ignored_with_a_reason() {
    watched(async {
        let world = world().await;
        let mut function = world.function("on-push", &[]).await;
        let mut ignored = 0;
        // Batches of a queue are for `fanout`.
        let others = |name: &str| !WORK.contains(&name) && !name.starts_with("sqs-");
        for (name, event) in samples().into_iter().filter(|(name, _)| others(name)) {
            let results = results(&mut function, event).await;
            assert_eq!((results.len(), &results[0]["outcome"]), (1, &"ignored".into()), "{name}: {results:?}");
            assert!(results[0]["reason"].as_str().is_some_and(|reason| reason.len() > 10), "{name}: {results:?}");
            ignored += 1;
        }
        assert!(ignored >= 9, "only {ignored} samples were found");
        assert_untouched(&world);
    })
    .await;
}

#[tokio::test]
async fn the_samples_of_pushes_are_work() {
    watched(async {
        let world = world().await;
        let mut function = world.function("on-push", &[]).await;
        for (name, event) in samples().into_iter().filter(|(name, _)| WORK[..3].contains(&name.as_str())) {
            let image = Image::small(1);
            image.push_to(world.source.store(), "team/app", event["detail"]["image-tag"].as_str().unwrap());
            let results = results(&mut function, event).await;
            // The tag is resolved anew: what it holds here is another digest than the sample's.
            assert_eq!(results[0]["outcome"], "superseded", "{name}: {results:?}");
            assert_eq!(results[0]["digest"], image.digest, "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_push_that_no_rule_takes_is_ignored() {
    watched(async {
        let mut world = world().await;
        world.rule().insert("source".into(), json!({ "repository": "team/*" }));
        world.rule().insert("tags".into(), json!({ "include": ["v*"], "exclude": ["*-rc*"], "semver": ">=1.2, <3" }));
        let mut function = world.function("on-push", &[]).await;
        let digest = Image::small(1).digest;
        for (repository, tag) in [
            ("other/app", "v1.4.0"),
            ("team/sub/app", "v1.4.0"),
            ("team/app", "1.4.0"),
            ("team/app", "v1.4.0-rc.1"),
            ("team/app", "v3.0.0"),
            ("team/app", "v-next"),
        ] {
            assert_ignored(&mut function, push_event(repository, tag, &digest), "no rule matches").await;
        }
        assert_untouched(&world);
    })
    .await;
}

#[tokio::test]
async fn an_untagged_push_is_skipped_unless_a_rule_wants_it_by_digest() {
    watched(async {
        let mut world = world().await;
        let image = Image::small(1);
        image.push_to(world.source.store(), "team/app", &image.digest);
        let mut function = world.function("on-push", &[]).await;
        assert_ignored(&mut function, push_event("team/app", "", &image.digest), "no tag").await;
        assert_untouched(&world);

        world.rule().insert("untagged".into(), "by-digest".into());
        let mut function = world.function("on-push", &[]).await;
        let results = results(&mut function, push_event("team/app", "", &image.digest)).await;
        assert_eq!(results[0]["outcome"], "synced", "{results:?}");
        assert_eq!(results[0]["destination"], format!("{DESTINATION}/mirror/team/app@{}", image.digest));
        world.destination.store().is_whole("mirror/team/app", &image.digest).unwrap();
        assert_eq!(world.destination.store().tags("mirror/team/app").len(), 0);
    })
    .await;
}

#[tokio::test]
async fn what_is_no_event_of_ecr_fails_and_touches_nothing() {
    watched(async {
        let world = world().await;
        let mut function = world.function("on-push", &[]).await;
        let mut elsewhere = push_event("team/app", "v1", &Image::small(1).digest);
        elsewhere["source"] = "aws.s3".into();
        let mut halved = push_event("team/app", "v1", &Image::small(1).digest);
        halved["detail"].as_object_mut().unwrap().remove("repository-name");
        let (_, sqs) = samples().into_iter().find(|(name, _)| name == "sqs-image.json").unwrap();
        for (event, part) in [
            (json!({}), "EventBridge"),
            (json!("text"), "EventBridge"),
            (json!(null), "EventBridge"),
            (sqs, "EventBridge"),
            (elsewhere, "aws.s3"),
            (halved, "repository-name"),
        ] {
            let (error_type, message) = failed(&mut function, event).await;
            assert_eq!(error_type, "InvalidEvent", "{message}");
            assert!(message.contains(part), "{message}");
        }
        assert_untouched(&world);
        assert_eq!(function.starts(), 1, "a bad event does not end the process");
    })
    .await;
}
