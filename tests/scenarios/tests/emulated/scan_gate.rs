//! Rules that wait for ECR's scan: what passes, what is held and where it waits, what is refused.

use std::time::{Duration, SystemTime};

use emulator::{Descriptor, Image, Index, image::Platform};
use scenarios::{
    EventSource, Function, Outcome, World,
    world::{DESTINATION, SOURCE, push_event, scan_event},
};
use serde_json::{Value, json};

use crate::support::{
    LIMIT, assert_nothing_written, delivered, eventually, failed, logged_results, multi_platform, pushed, results,
    watched,
};

pub(crate) const MIRROR: &str = "mirror/team/app";

/// A rule with a gate, and an image that it takes, of which no scan is known.
pub(crate) async fn world() -> (World, Image) {
    let mut world = World::ecr(|destination| destination).await;
    world.rule().insert("scan_gate".into(), json!({ "severity": "HIGH" }));
    world.destination.store().create_repository(MIRROR);
    let image = Image::small(1);
    image.push_to(world.source.store(), "team/app", "v1");
    (world, image)
}

/// An index of these images, each with an attestation as BuildKit marks it.
fn attested(images: &[&Image]) -> Index {
    let mut builder = images.iter().fold(Index::builder(), |builder, image| builder.child(*image));
    for image in images {
        let attestation = Image::builder().platform("unknown/unknown").label("of", &image.digest).build();
        let mut descriptor =
            Descriptor { platform: Some(Platform::parse("unknown/unknown")), ..attestation.descriptor() };
        descriptor.annotations.insert("vnd.docker.reference.type".into(), "attestation-manifest".into());
        descriptor.annotations.insert("vnd.docker.reference.digest".into(), image.digest.clone());
        builder = builder.child_as(&attestation, descriptor);
    }
    builder.build()
}

async fn refused(function: &mut Function, tag: &str, digest: &str) -> (String, String) {
    failed(function, push_event("team/app", tag, digest)).await
}

/// The work queue and the dead-letter queue.
pub(crate) fn queues(world: &World) -> [(&'static str, String); 2] {
    [
        ("TRANSSHIP_QUEUE_URL", world.aws.sqs().create("work", Duration::from_secs(30))),
        ("TRANSSHIP_DEAD_LETTER_QUEUE_URL", world.aws.sqs().create("dead", Duration::from_secs(30))),
    ]
}

#[tokio::test]
async fn an_image_whose_scan_found_nothing_bad_goes() {
    watched(async {
        for status in ["COMPLETE", "ACTIVE"] {
            let (world, image) = world().await;
            world.ecr.set_scan("team/app", &image.digest, status, Some(&[("MEDIUM", 9), ("UNTRIAGED", 3)]));
            let mut function = world.function("on-push", &[]).await;
            let result = pushed(&mut function, "team/app", "v1", &image.digest).await;
            assert_eq!(result["outcome"], "synced", "{result}");
            world.destination.store().is_whole(MIRROR, "v1").unwrap();
            let asked: Vec<_> =
                world.aws.calls().into_iter().filter(|call| call.operation == "DescribeImageScanFindings").collect();
            assert_eq!(asked.len(), 1);
            assert_eq!(
                asked[0].request["imageId"],
                json!({ "imageDigest": image.digest }),
                "the digest that is copied"
            );
            // What is there needs no scan any more.
            assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "current");
            assert_eq!(world.aws.count("ecr", "DescribeImageScanFindings"), 1);
        }
    })
    .await;
}

#[tokio::test]
async fn a_bad_finding_refuses_and_the_dead_letter_has_the_counts() {
    watched(async {
        let (world, image) = world().await;
        world.ecr.set_scan("team/app", &image.digest, "COMPLETE", Some(&[("MEDIUM", 9), ("HIGH", 2), ("CRITICAL", 1)]));
        let queues = queues(&world);
        let env = queues.each_ref().map(|(name, url)| (*name, url.as_str()));
        let mut fanout = world.function("fanout", &env).await;
        let body = json!({ "source": format!("{SOURCE}/team/app:v1") }).to_string();
        world.aws.sqs().send("work", &body);
        let delivery = EventSource::new(world.aws.sqs(), "work").timeout(LIMIT).deliver(&mut fanout).await.unwrap();
        assert_eq!(delivery.outcome, Outcome::Ok(json!({ "batchItemFailures": [] })));
        let letters = world.aws.sqs().messages("dead");
        assert_eq!(letters.len(), 1);
        assert_eq!(letters[0].attribute("error_type"), Some("ScanRefused"));
        let message = letters[0].attribute("error_message").unwrap();
        for part in ["1 CRITICAL, 2 HIGH, 9 MEDIUM", "HIGH and above", &image.digest, "team/app:v1"] {
            assert!(message.contains(part), "`{part}` is not in: {message}");
        }
        assert_nothing_written(&world.destination);

        let mut on_push = world.function("on-push", &env).await;
        let (error_type, message) = refused(&mut on_push, "v1", &image.digest).await;
        assert_eq!(error_type, "ScanRefused", "{message}");
        assert_eq!(world.aws.sqs().messages("work").len(), 0, "it will never do");
        assert_nothing_written(&world.destination);
    })
    .await;
}

#[tokio::test]
async fn what_is_not_scanned_yet_waits_in_the_queue_and_goes_when_it_is() {
    watched(async {
        let (world, image) = world().await;
        world.ecr.set_scan("team/app", &image.digest, "IN_PROGRESS", None);
        let queues = queues(&world);
        let env = queues.each_ref().map(|(name, url)| (*name, url.as_str()));
        let mut on_push = world.function("on-push", &env).await;
        let result = pushed(&mut on_push, "team/app", "v1", &image.digest).await;
        assert_eq!(result["outcome"], "queued", "{result}");
        assert!(result["error_message"].as_str().unwrap().contains("IN_PROGRESS"), "why it waits: {result}");
        let messages = world.aws.sqs().messages("work");
        assert_eq!(messages.len(), 1);
        let body: Value = serde_json::from_str(&messages[0].body).unwrap();
        assert_eq!(body["scan_gate"], json!({ "severity": "HIGH", "wait_minutes": 60 }), "the gate goes along");
        assert_nothing_written(&world.destination);
        eventually("it is logged", || !logged_results(&on_push).is_empty()).await;
        let line = on_push.records().into_iter().find(|record| record["result"].is_object()).unwrap();
        assert_eq!(
            (&line["result"]["outcome"], &line["Failed"], &line["level"]),
            (&"held".into(), &0.into(), &"INFO".into())
        );

        // The rules of the function that drains the queue are not what holds it.
        let mut config = world.config.clone();
        config["rules"] = json!([]);
        let text = config.to_string();
        let mut env = env.to_vec();
        env.push(("TRANSSHIP_CONFIG", text.as_str()));
        let mut fanout = world.function("fanout", &env).await;
        let source = || EventSource::new(world.aws.sqs(), "work").timeout(LIMIT);
        let held = source().deliver(&mut fanout).await.unwrap();
        assert_eq!(held.kept.len(), 1, "{held:?}");
        assert_eq!(world.aws.sqs().messages("work").len(), 1);
        assert_nothing_written(&world.destination);
        let calls = world.aws.calls();
        let hidden = calls.iter().rfind(|call| call.operation == "ChangeMessageVisibilityBatch").unwrap();
        let seconds = hidden.request["Entries"][0]["VisibilityTimeout"].as_u64().unwrap();
        assert!((30..=900).contains(&seconds), "{seconds} s");

        world.ecr.set_scan("team/app", &image.digest, "COMPLETE", Some(&[("LOW", 1)]));
        world.aws.sqs().skip_waiting("work");
        let done = source().deliver(&mut fanout).await.unwrap();
        assert!(done.kept.is_empty(), "{done:?}");
        world.destination.store().is_whole(MIRROR, "v1").unwrap();
        assert_eq!(world.aws.sqs().messages("work").len(), 0);
    })
    .await;
}

#[tokio::test]
async fn without_a_queue_lambda_runs_the_event_again() {
    watched(async {
        let (world, image) = world().await;
        let mut function = world.function("on-push", &[]).await;
        for status in [None, Some("PENDING"), Some("FINDINGS_UNAVAILABLE"), Some("ACTIVE")] {
            if let Some(status) = status {
                world.ecr.set_scan("team/app", &image.digest, status, None);
            }
            let (error_type, message) = refused(&mut function, "v1", &image.digest).await;
            assert_eq!(error_type, "ScanPending", "{message}");
            let part = status.unwrap_or("scanning is off for its repository, or has not begun");
            assert!(message.contains(part), "`{part}` is not in: {message}");
        }
        assert_nothing_written(&world.destination);
    })
    .await;
}

#[tokio::test]
async fn what_is_never_scanned_is_refused_in_the_end_with_what_to_do() {
    watched(async {
        let (mut world, image) = world().await;
        world.rule().insert("scan_gate".into(), json!({ "severity": "LOW", "wait_minutes": 10 }));
        let mut function = world.function("on-push", &[]).await;
        let ago = |minutes: u64| SystemTime::now() - Duration::from_secs(minutes * 60);
        world.source.store().set_pushed("team/app", &image.digest, ago(9));
        assert_eq!(refused(&mut function, "v1", &image.digest).await.0, "ScanPending");
        world.source.store().set_pushed("team/app", &image.digest, ago(11));
        let (error_type, message) = refused(&mut function, "v1", &image.digest).await;
        assert_eq!(error_type, "ScanRefused", "{message}");
        assert!(message.contains("scan on push") && message.contains("10 minutes"), "{message}");

        world.ecr.set_scan("team/app", &image.digest, "IN_PROGRESS", None);
        let (error_type, message) = refused(&mut function, "v1", &image.digest).await;
        assert_eq!(error_type, "ScanRefused", "{message}");
        assert!(message.contains("wait_minutes"), "{message}");

        world.source.store().set_pushed("team/app", &image.digest, SystemTime::now());
        for status in ["FAILED", "UNSUPPORTED_IMAGE", "SCAN_ELIGIBILITY_EXPIRED"] {
            world.ecr.set_scan("team/app", &image.digest, status, None);
            let (error_type, message) = refused(&mut function, "v1", &image.digest).await;
            assert_eq!(error_type, "ScanRefused", "{message}");
            assert!(message.contains(status), "{message}");
        }
        assert_nothing_written(&world.destination);
    })
    .await;
}

#[tokio::test]
async fn of_an_index_every_platform_must_have_passed_and_no_attestation_is_asked_for() {
    watched(async {
        let (world, _) = world().await;
        let (one, two) =
            (Image::builder().platform("linux/amd64").build(), Image::builder().platform("linux/arm64").build());
        let attested = attested(&[&one, &two]);
        attested.push_to(world.source.store(), "team/app", "v2");
        let mut function = world.function("on-push", &[]).await;
        world.ecr.set_scan("team/app", &one.digest, "COMPLETE", Some(&[]));
        let (error_type, message) = refused(&mut function, "v2", &attested.digest).await;
        assert_eq!(error_type, "ScanPending", "{message}");
        assert!(message.contains(&two.digest) && message.contains(&attested.digest), "{message}");

        world.ecr.set_scan("team/app", &two.digest, "COMPLETE", Some(&[("CRITICAL", 4)]));
        let (error_type, message) = refused(&mut function, "v2", &attested.digest).await;
        assert_eq!(error_type, "ScanRefused", "{message}");
        assert!(message.contains(&two.digest) && message.contains("4 CRITICAL"), "{message}");
        assert_nothing_written(&world.destination);

        world.ecr.set_scan("team/app", &two.digest, "COMPLETE", Some(&[("LOW", 4)]));
        assert_eq!(pushed(&mut function, "team/app", "v2", &attested.digest).await["outcome"], "synced");
        world.destination.store().is_whole(MIRROR, "v2").unwrap();
        let asked: Vec<String> = world
            .aws
            .calls()
            .into_iter()
            .filter(|call| call.operation == "DescribeImageScanFindings")
            .map(|call| call.request["imageId"]["imageDigest"].as_str().unwrap().to_owned())
            .collect();
        assert!(asked.iter().all(|digest| [&one.digest, &two.digest].contains(&digest)), "{asked:?}");
    })
    .await;
}

#[tokio::test]
async fn a_finished_scan_sets_its_tags_going_by_rules_that_wait_for_it() {
    watched(async {
        let (mut world, image) = world().await;
        image.push_to(world.source.store(), "team/app", "v1.0");
        let free = json!({ "destinations": [format!("{DESTINATION}/free/{{repository}}")] });
        world.config["rules"].as_array_mut().unwrap().push(free);
        world.ecr.set_scan("team/app", &image.digest, "COMPLETE", Some(&[("LOW", 1)]));
        let mut function = world.function("on-push", &[]).await;
        let done = results(&mut function, scan_event("team/app", &["v1", "v1.0"], &image.digest)).await;
        let outcomes: Vec<_> =
            done.iter().map(|result| (result["outcome"].clone(), result["destination"].clone())).collect();
        let to = |tag: &str| ("synced".into(), format!("{DESTINATION}/{MIRROR}:{tag}").into());
        assert_eq!(outcomes, [to("v1"), to("v1.0")], "{done:?}");

        // The event's word is not taken for it.
        let other = multi_platform(3, &["linux/amd64"]);
        other.push_to(world.source.store(), "team/app", "v2");
        let (error_type, _) = failed(&mut function, scan_event("team/app", &["v2"], &other.digest)).await;
        assert_eq!(error_type, "ScanPending");

        let untagged = results(&mut function, scan_event("team/app", &[], &image.digest)).await;
        assert_eq!(untagged[0]["outcome"], "ignored", "{untagged:?}");
        assert!(untagged[0]["reason"].as_str().unwrap().contains("without a tag"), "the true reason: {untagged:?}");
        world.rule().remove("scan_gate");
        let mut function = world.function("on-push", &[]).await;
        let ignored = results(&mut function, scan_event("team/app", &["v1"], &image.digest)).await;
        assert_eq!(ignored[0]["outcome"], "ignored");
        assert!(ignored[0]["reason"].as_str().unwrap().contains("scan_gate"), "{ignored:?}");
    })
    .await;
}

#[tokio::test]
async fn no_rule_gets_past_the_gate_of_another_for_the_same_destination() {
    watched(async {
        let (mut world, image) = world().await;
        let gated = world.config["rules"][0].clone();
        let mut free = gated.clone();
        free.as_object_mut().unwrap().remove("scan_gate");
        world.config["rules"] = json!([free, gated]);
        let mut function = world.function("on-push", &[]).await;
        assert_eq!(refused(&mut function, "v1", &image.digest).await.0, "ScanPending");
        assert_nothing_written(&world.destination);
    })
    .await;
}

#[tokio::test]
async fn a_gate_where_nothing_is_scanned_is_a_mistake() {
    watched(async {
        let (mut world, image) = world().await;
        world.ecr.deny("DescribeImageScanFindings");
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = refused(&mut function, "v1", &image.digest).await;
        assert_eq!(error_type, "Denied", "{message}");
        assert!(message.contains("ecr:DescribeImageScanFindings"), "{message}");

        // By a message, from a registry that is not ECR's.
        let elsewhere = World::between(
            emulator::Registry::builder(emulator::Personality::Plain),
            emulator::Registry::builder(emulator::Personality::Plain),
        )
        .await;
        image.push_to(elsewhere.source.store(), "a", "v1");
        let mut fanout = elsewhere.function("fanout", &[]).await;
        let body = json!({
            "source": format!("{}/a:v1", elsewhere.source_host),
            "destination": format!("{}/a:v1", elsewhere.destination_host),
            "scan_gate": { "severity": "CRITICAL" },
        });
        let delivery = delivered(&elsewhere, &mut fanout, &body.to_string()).await;
        assert_eq!(delivery.kept.len(), 1);
        eventually("it is logged", || !logged_results(&fanout).is_empty()).await;
        let result = logged_results(&fanout).pop().unwrap();
        assert_eq!(result["error_type"], "InvalidConfig", "{result}");
        assert_nothing_written(&elsewhere.destination);

        for (source, gate, part) in [
            (json!({ "registry": "quay.io" }), json!({ "severity": "HIGH" }), "private ECR as the source alone"),
            (json!({}), json!({ "severity": "HIGH", "wait_minutes": 0 }), "expected 1 to 1440"),
            (json!({}), json!({ "severity": "BAD" }), "CRITICAL"),
            (json!({}), json!({}), "severity"),
        ] {
            world.rule().insert("source".into(), source);
            world.rule().insert("scan_gate".into(), gate);
            let mistake = format!("{:?}", world.function("on-push", &[]).await.ready().await.unwrap_err());
            assert!(mistake.contains("InvalidConfig") && mistake.contains(part), "`{part}` is not in: {mistake}");
        }
    })
    .await;
}
