//! Messages and templates that name what is no image: put aside with the reason, or returned, never dropped.

use std::time::Duration;

use emulator::Image;
use scenarios::{EventSource, World, watchdog::watch, world::SOURCE};
use serde_json::{Value, json};

use crate::ground::{Held, LIMIT, MIRROR, REPOSITORY, assert_no_secret_is_told, message, pushed, refused, synced};

async fn world() -> (World, Image) {
    let world = World::ecr(|destination| destination).await;
    world.destination.store().create_repository(MIRROR);
    let image = Image::small(1);
    image.push_to(world.source.store(), REPOSITORY, "v1");
    (world, image)
}

/// Message bodies that can never succeed, what that is called, and what the reason names.
fn hopeless(destination_host: &str) -> Vec<(Value, &'static str, &'static str)> {
    let source = format!("{SOURCE}/team/app:v1");
    let destination = format!("{destination_host}/mirror/team/app:v1");
    let both = |source: &str, destination: &str| json!({ "source": source, "destination": destination });
    let digest = |byte: &str| format!("sha256:{}", byte.repeat(64));
    vec![
        (json!("source=a"), "InvalidEvent", "the message can't be used"),
        (json!([]), "InvalidEvent", "the message can't be used"),
        (json!({}), "InvalidEvent", "source"),
        (json!({ "source": 7 }), "InvalidEvent", "the message can't be used"),
        (json!({ "source": source, "target": destination }), "InvalidEvent", "`target`"),
        (json!({ "source": source, "destination": destination, "existing_tag": "move" }), "InvalidEvent", "`move`"),
        (json!({ "source": source, "expected_digest": "sha256:1" }), "InvalidEvent", "`expected_digest`"),
        (json!({ "source": "docker.io" }), "InvalidReference", "expected REGISTRY/REPOSITORY:TAG"),
        (both("alpine:3.20", &destination), "InvalidReference", "`alpine:3.20`"),
        (both("library/alpine:3.20", &destination), "InvalidReference", "registry host"),
        (both(&format!("{SOURCE}/Team/App:v1"), &destination), "InvalidReference", "lower-case"),
        (both(&format!("{SOURCE}/team/app"), &destination), "InvalidReference", "(:TAG) or a digest"),
        (both(&format!("{SOURCE}/team/app:v1@sha256:12"), &destination), "InvalidReference", "sha256:12"),
        (both(&source, &format!("{destination_host}/../app:v1")), "InvalidReference", "lower-case"),
        (both(&source, "https://ghcr.io/acme/app:v1"), "InvalidReference", "`https://ghcr.io/acme/app:v1`"),
        (both(&source, &source), "InvalidReference", "are the same"),
        (both(&source, &format!("{destination_host}/mirror@{}", digest("1"))), "InvalidReference", "which can move"),
        (both(&source, &format!("{destination}@{}", digest("1"))), "InvalidReference", "a tag and a digest"),
        (
            both(&format!("{SOURCE}/team/app@{}", digest("0")), &format!("{destination_host}/mirror@{}", digest("1"))),
            "InvalidReference",
            "another digest than the source",
        ),
        (
            both(&source, &format!("{destination_host}/m:v1")),
            "InvalidReference",
            "ECR takes names of 2 to 256 characters",
        ),
        (both(&source, "docker.io/acme/team/app:v1"), "InvalidReference", "Docker Hub takes NAMESPACE/NAME"),
        (
            both(&source, &format!("{destination}-{}", "x".repeat(126))),
            "InvalidReference",
            "this one has 129 characters",
        ),
        (of_platforms(&source, &destination, json!([])), "InvalidEvent", "`platforms`: an empty list"),
        (
            of_platforms(&source, &destination, json!(["linux"])),
            "InvalidEvent",
            "`platforms`[0]: `linux` is no platform",
        ),
    ]
}

fn of_platforms(source: &str, destination: &str, platforms: Value) -> Value {
    json!({ "source": source, "destination": destination, "platforms": platforms })
}

#[tokio::test]
async fn a_message_that_can_never_succeed_goes_to_the_dead_letters_with_its_reason() {
    watch("a_message_that_can_never_succeed_goes_to_the_dead_letters_with_its_reason", LIMIT, |_| async {
        let (world, _) = world().await;
        let work = world.aws.sqs().create("work", Duration::from_secs(30));
        let dead = world.aws.sqs().create("dead", Duration::from_secs(30));
        let env = [("TRANSSHIP_QUEUE_URL", work.as_str()), ("TRANSSHIP_DEAD_LETTER_QUEUE_URL", dead.as_str())];
        let mut function = world.function("fanout", &env).await;
        let source = EventSource::new(world.aws.sqs(), &work);
        let before = Held::by(world.destination.store());
        let hopeless = hopeless(&world.destination_host);
        for (body, error_type, part) in &hopeless {
            let text = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
            world.aws.sqs().send(&work, &text);
            let delivery = source.deliver(&mut function).await.unwrap();
            assert!(delivery.kept.is_empty(), "{text}: {:?}", delivery.outcome);
            let buried = world.aws.sqs().messages(&dead).pop().unwrap();
            assert_eq!(buried.body, text);
            assert_eq!(buried.attribute("error_type"), Some(*error_type), "{text}: {buried:?}");
            let reason = buried.attribute("error_message").unwrap();
            assert!(reason.contains(part), "`{part}` is not in: {reason}");
        }
        assert_eq!(world.aws.sqs().messages(&dead).len(), hopeless.len());
        assert!(world.aws.sqs().messages(&work).is_empty());
        assert_eq!(Held::by(world.destination.store()), before);
        assert!(world.source.journal().is_empty() && world.destination.journal().is_empty());
        assert_no_secret_is_told(&function, &[]);
    })
    .await;
}

#[tokio::test]
async fn without_a_dead_letter_queue_a_bad_message_is_returned_and_its_neighbours_are_done() {
    watch("without_a_dead_letter_queue_a_bad_message_is_returned_and_its_neighbours_are_done", LIMIT, |_| async {
        let (world, image) = world().await;
        let mut function = world.function("fanout", &[]).await;
        let mut event = message(&json!({ "source": "alpine:3.20", "destination": "ghcr.io/acme/alpine:3.20" }));
        let mut good = message(&json!({ "source": format!("{SOURCE}/team/app:v1") }))["Records"][0].clone();
        good["messageId"] = json!("good");
        event["Records"].as_array_mut().unwrap().push(good);
        let answer = function.invoke(event, LIMIT).await.ok().unwrap();
        let bad = json!([{ "itemIdentifier": "059f36b4-87a3-44ab-83d2-661975830a7d" }]);
        assert_eq!(answer["batchItemFailures"], bad);
        assert_eq!(world.destination.store().tag(MIRROR, "v1"), Some(image.digest));
        let failed = |record: &Value| record["error_type"] == "InvalidReference";
        let record = function.records().into_iter().find(failed).unwrap();
        assert!(record["error_message"].as_str().unwrap().contains("`alpine:3.20` is no image reference"), "{record}");
    })
    .await;
}

#[tokio::test]
async fn a_template_that_gives_no_reference_for_an_image_is_named_with_its_rule() {
    watch("a_template_that_gives_no_reference_for_an_image_is_named_with_its_rule", LIMIT, |_| async {
        let (mut world, image) = world().await;
        let host = world.destination_host.clone();
        // Both are fine for most images: only the tag of one and the name of the other break them.
        world.rule().insert("name".into(), json!("releases"));
        let destinations = [format!("{host}/mirror/{{repository}}:{{tag}}-mirrored-from-us")];
        world.rule().insert("destinations".into(), json!(destinations));
        let mut function = world.function("on-push", &[]).await;
        let long = "v".repeat(120);
        image.push_to(world.source.store(), REPOSITORY, &long);
        let refusal = refused(&world, &mut function, pushed(&long, &image.digest)).await;
        refusal.is("InvalidReference", &["rule `releases`", SOURCE, &host, "mirror/team/app", "a tag is up to 128"]);
        synced(&mut function, pushed("v1", &image.digest)).await;
    })
    .await;
}

#[tokio::test]
async fn a_rule_that_leads_an_image_onto_itself_or_on_without_end_is_refused() {
    watch("a_rule_that_leads_an_image_onto_itself_or_on_without_end_is_refused", LIMIT, |_| async {
        let (mut world, image) = world().await;
        for (destination, part) in [
            (format!("{SOURCE}/{{repository}}:v1"), "onto itself"),
            (format!("{SOURCE}/mirror/{{repository}}"), "feeds itself"),
        ] {
            world.rule().insert("destinations".into(), json!([destination]));
            let mut function = world.function("on-push", &[]).await;
            let refusal = refused(&world, &mut function, pushed("v1", &image.digest)).await;
            refusal.is("InvalidConfig", &["rule `rules[0]`", SOURCE, "team/app:v1", part]);
            assert!(world.source.journal().is_empty(), "nothing was asked");
        }
    })
    .await;
}
