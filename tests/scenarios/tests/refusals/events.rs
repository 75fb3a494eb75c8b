//! What is no event: refused by name, and the next event is served as if nothing had been.

use bytes::Bytes;
use emulator::Image;
use scenarios::{Outcome, World, watchdog::watch};
use serde_json::{Value, json};

use crate::ground::{LIMIT, MIRROR, REPOSITORY, Refusal, pushed, refused, synced};

async fn world() -> (World, Image) {
    let world = World::ecr(|destination| destination).await;
    world.destination.store().create_repository(MIRROR);
    let image = Image::small(1);
    image.push_to(world.source.store(), REPOSITORY, "v1");
    (world, image)
}

fn without(mut event: Value, path: &str) -> Value {
    let (parent, key) = path.rsplit_once('/').unwrap();
    event.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
    event
}

fn with(mut event: Value, path: &str, value: Value) -> Value {
    *event.pointer_mut(path).unwrap() = value;
    event
}

#[tokio::test]
async fn a_malformed_event_is_refused_and_named() {
    watch("a_malformed_event_is_refused_and_named", LIMIT, |_| async {
        let (world, image) = world().await;
        let mut function = world.function("on-push", &[]).await;
        let event = || pushed("v1", &image.digest);
        for (broken, part) in [
            (json!([]), "no EventBridge event"),
            (json!(null), "no EventBridge event"),
            (json!(7), "no EventBridge event"),
            (json!("text"), "no EventBridge event"),
            (json!({}), "no EventBridge event"),
            (without(event(), "/source"), "source"),
            (without(event(), "/detail-type"), "detail-type"),
            (without(event(), "/detail"), "detail"),
            (without(event(), "/account"), "`account`"),
            (without(event(), "/region"), "`region`"),
            (with(event(), "/account", json!("1234")), "`account`"),
            (with(event(), "/region", json!("mars/../1")), "`region`"),
            (with(event(), "/detail", json!("text")), "detail"),
            (without(event(), "/detail/action-type"), "action-type"),
            (without(event(), "/detail/result"), "result"),
            (without(event(), "/detail/repository-name"), "repository-name"),
            (with(event(), "/detail/repository-name", json!(7)), "detail"),
            (without(without(event(), "/detail/image-tag"), "/detail/image-digest"), "neither"),
            (with(without(event(), "/detail/image-tag"), "/detail/image-digest", json!("sha256:12")), "image-digest"),
        ] {
            refused(&world, &mut function, broken).await.is("InvalidEvent", &["the event can't be used", part]);
        }
        // Fields that are whole, and hold what no registry can.
        for (broken, part) in [
            (with(event(), "/detail/repository-name", json!("Team/App")), "lower-case"),
            (with(event(), "/detail/repository-name", json!("../../etc")), "lower-case"),
            (with(event(), "/detail/image-tag", json!("v 1?x=y")), "tag"),
        ] {
            refused(&world, &mut function, broken).await.is("InvalidReference", &["111122223333", part]);
        }
        assert!(world.source.journal().is_empty() && world.destination.journal().is_empty());
        synced(&mut function, event()).await;
        assert_eq!(function.starts(), 1);
    })
    .await;
}

#[tokio::test]
async fn an_event_of_another_service_is_refused_and_its_source_named() {
    watch("an_event_of_another_service_is_refused_and_its_source_named", LIMIT, |_| async {
        let (world, image) = world().await;
        let mut function = world.function("on-push", &[]).await;
        let s3 = with(pushed("v1", &image.digest), "/source", json!("aws.s3"));
        refused(&world, &mut function, s3).await.is("InvalidEvent", &["`aws.s3`", "expected `aws.ecr`"]);
        let notification = json!({ "Records": [{
            "eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": { "bucket": { "name": "b" } },
        }] });
        let sqs = crate::ground::message(&json!({ "source": "a", "destination": "b" }));
        for foreign in [notification.clone(), sqs] {
            let refusal = refused(&world, &mut function, foreign).await;
            refusal.is("InvalidEvent", &["no EventBridge event", "`source`", "`detail-type`"]);
        }
        synced(&mut function, pushed("v1", &image.digest)).await;

        let mut fanout = world.function("fanout", &[]).await;
        for foreign in [notification, pushed("v1", &image.digest), json!([]), json!("text"), json!({})] {
            refused(&world, &mut fanout, foreign).await.is("InvalidEvent", &["the event can't be used"]);
        }
    })
    .await;
}

#[tokio::test]
async fn bytes_that_are_no_json_fail_their_invocation_and_no_other() {
    watch("bytes_that_are_no_json_fail_their_invocation_and_no_other", LIMIT, |_| async {
        let (world, image) = world().await;
        let mut function = world.function("on-push", &[]).await;
        // Lambda's own API takes JSON only; a local runtime may not look.
        for bytes in [&b""[..], b"{", b"source=aws.ecr", b"\xff\xfe"] {
            let outcome = function.invoke_bytes(Bytes::from_static(bytes), LIMIT).await;
            assert!(matches!(outcome, Outcome::Err { .. }), "{bytes:?}: {outcome:?}");
            assert!(!Refusal::of(outcome).message.is_empty());
        }
        assert!(world.source.journal().is_empty() && world.destination.journal().is_empty());
        synced(&mut function, pushed("v1", &image.digest)).await;
        assert_eq!(function.starts(), 1);
    })
    .await;
}
