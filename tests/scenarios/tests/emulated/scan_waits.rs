//! How long a rule's gate holds an image, and what has no scan to wait for.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use emulator::{Descriptor, Image, Index, Layer, image::Platform};
use scenarios::{
    Function, Outcome, World,
    attached::{SIMPLE_SIGNING, tag_of},
    world::{SOURCE, delete_event, push_event, scan_event},
};
use serde_json::{Value, json};

use crate::scan_gate::{MIRROR, queues, world};
use crate::support::{LIMIT, assert_nothing_written, delivered, failed, results, watched};

/// The function with its queues.
async fn function(world: &World, binary: &str) -> Function {
    let queues = queues(world);
    let env = queues.each_ref().map(|(name, url)| (*name, url.as_str()));
    world.function(binary, &env).await
}

fn ago(minutes: u64) -> SystemTime {
    SystemTime::now() - Duration::from_secs(minutes * 60)
}

fn millis(at: SystemTime) -> u64 {
    u64::try_from(at.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Has `fanout` take a message that was sent so many minutes ago; whether it stays in its queue.
async fn is_held(world: &World, fanout: &mut Function, body: &Value, sent: u64) -> bool {
    world.aws.sqs().send("work", &body.to_string());
    let mut event = world.aws.sqs().receive_event("work", 1).unwrap();
    let record = &mut event["Records"][0];
    record["attributes"]["SentTimestamp"] = millis(ago(sent)).to_string().into();
    let (id, receipt) = (record["messageId"].clone(), record["receiptHandle"].as_str().unwrap().to_owned());
    let Outcome::Ok(answer) = fanout.invoke(event, LIMIT).await else { panic!("it answers") };
    world.aws.sqs().delete("work", &receipt);
    answer == json!({ "batchItemFailures": [{ "itemIdentifier": id }] })
}

/// A tag that is put on an old image, a letter that is moved back, a backfill: each has just asked.
#[tokio::test]
async fn the_wait_begins_with_what_asked_last_and_not_anew_with_each_receive() {
    watched(async {
        let (world, image) = world().await;
        world.source.store().set_pushed("team/app", &image.digest, ago(24 * 60));
        world.ecr.set_scan("team/app", &image.digest, "IN_PROGRESS", None);
        let mut fanout = function(&world, "fanout").await;
        let plain = json!({ "source": format!("{SOURCE}/team/app:v1") });
        let pushed = |minutes: u64| json!({ "source": plain["source"], "pushed_at_ms": millis(ago(minutes)) });
        for (body, sent, held) in [
            (&plain, 0, true),
            (&plain, 50, true),
            (&plain, 70, false),
            (&pushed(24 * 60), 0, true),
            (&pushed(50), 70, true),
            (&pushed(70), 70, false),
        ] {
            assert_eq!(is_held(&world, &mut fanout, body, sent).await, held, "{body}, sent {sent} minutes ago");
        }
        let letters = world.aws.sqs().messages("dead");
        assert_eq!(letters.len(), 2);
        assert_eq!(letters[0].attribute("error_type"), Some("ScanRefused"));
        let message = letters[0].attribute("error_message").unwrap();
        assert!(message.contains("60 minutes") && message.contains("IN_PROGRESS"), "{message}");

        // The event of a scan has just asked, too; that of a push a day ago has not.
        let mut on_push = world.function("on-push", &[]).await;
        let scanned = scan_event("team/app", &["v1"], &image.digest);
        assert_eq!(failed(&mut on_push, scanned).await.0, "ScanPending");
        let pushed = push_event("team/app", "v1", &image.digest);
        assert_eq!(failed(&mut on_push, pushed).await.0, "ScanRefused");
        assert_nothing_written(&world.destination);
    })
    .await;
}

#[tokio::test]
async fn what_is_attached_has_no_scan_and_needs_none() {
    watched(async {
        let (world, image) = world().await;
        let tag = tag_of(&image.digest, ".sig");
        let signature = Image::builder().layer(Layer::from_bytes(SIMPLE_SIGNING, "signed")).build();
        signature.push_to(world.source.store(), "team/app", &tag);
        let mut fanout = world.function("fanout", &[]).await;
        let message = |tag: &str| json!({ "source": format!("{SOURCE}/team/app:{tag}") }).to_string();
        assert!(delivered(&world, &mut fanout, &message(&tag)).await.kept.is_empty());
        assert_eq!(world.destination.store().tag(MIRROR, &tag), Some(signature.digest));
        assert_eq!(world.aws.count("ecr", "DescribeImageScanFindings"), 0);

        // An image that somebody gives such a tag is one all the same.
        let tag = tag_of(&image.digest, ".att");
        Image::small(2).push_to(world.source.store(), "team/app", &tag);
        assert_eq!(delivered(&world, &mut fanout, &message(&tag)).await.kept.len(), 1);
        assert_eq!(world.destination.store().tag(MIRROR, &tag), None);
        // And an index of images, though it names no platforms.
        let index = Index::builder().child(&Image::small(3)).build();
        let tag = tag_of(&index.digest, "");
        index.push_to(world.source.store(), "team/app", &tag);
        assert_eq!(delivered(&world, &mut fanout, &message(&tag)).await.kept.len(), 1);
        let mut on_push = function(&world, "on-push").await;
        results(&mut on_push, push_event("team/app", &tag, &index.digest)).await;
        // Nor does a mark make an attestation of it.
        let image = Image::small(4);
        let mut descriptor = Descriptor { platform: Some(Platform::parse("unknown/unknown")), ..image.descriptor() };
        descriptor.annotations.insert("vnd.docker.reference.type".into(), "attestation-manifest".into());
        let marked = Index::builder().child_as(&image, descriptor).build();
        for tag in ["v4", &tag_of(&marked.digest, "")] {
            marked.push_to(world.source.store(), "team/app", tag);
            assert_eq!(delivered(&world, &mut fanout, &message(tag)).await.kept.len(), 1, "{tag}");
            assert_eq!(world.destination.store().tag(MIRROR, tag), None, "{tag}");
        }
        assert_eq!(world.destination.store().tag(MIRROR, &tag), None);
        assert!(world.aws.count("ecr", "DescribeImageScanFindings") > 1);
    })
    .await;
}

/// Its scan was not asked for: the gate is for images, wherever they come along.
#[tokio::test]
async fn an_image_that_is_attached_to_one_that_has_passed_is_left_out() {
    watched(async {
        let (world, image) = world().await;
        world.ecr.set_scan("team/app", &image.digest, "COMPLETE", Some(&[]));
        let signature = Image::builder().layer(Layer::from_bytes(SIMPLE_SIGNING, "signed")).build();
        let attached = Image::builder().subject(&image.descriptor()).layer(emulator::image::layer(5, 100)).build();
        let (sig, att) = (tag_of(&image.digest, ".sig"), tag_of(&image.digest, ".att"));
        signature.push_to(world.source.store(), "team/app", &sig);
        Image::small(2).push_to(world.source.store(), "team/app", &att);
        attached.push_to(world.source.store(), "team/app", &attached.digest);
        let mut function = world.function("on-push", &[]).await;
        results(&mut function, push_event("team/app", "v1", &image.digest)).await;
        results(&mut function, push_event("team/app", &att, &Image::small(2).digest)).await;
        let store = world.destination.store();
        assert_eq!(store.tag(MIRROR, "v1"), Some(image.digest.clone()));
        assert_eq!(store.tag(MIRROR, &sig), Some(signature.digest));
        assert_eq!(store.tag(MIRROR, &att), None);
        assert_eq!(store.manifests_in_push_order(MIRROR).len(), 2);
    })
    .await;
}

#[tokio::test]
async fn an_index_without_an_image_to_scan_does_not_pass_unasked() {
    watched(async {
        let (world, image) = world().await;
        let attestation = Image::builder().platform("unknown/unknown").label("of", &image.digest).build();
        let mut descriptor =
            Descriptor { platform: Some(Platform::parse("unknown/unknown")), ..attestation.descriptor() };
        descriptor.annotations.insert("vnd.docker.reference.type".into(), "attestation-manifest".into());
        let index = Index::builder().child_as(&attestation, descriptor).build();
        index.push_to(world.source.store(), "team/app", "v2");
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v2", &index.digest)).await;
        assert_eq!(error_type, "ScanRefused", "{message}");
        assert!(message.contains("lists no image"), "{message}");
        assert_nothing_written(&world.destination);
    })
    .await;
}

#[tokio::test]
async fn a_tag_that_came_back_waits_for_its_scan_in_the_queue() {
    watched(async {
        let (mut world, image) = world().await;
        world.rule().insert("delete".into(), "untag".into());
        world.ecr.set_scan("team/app", &image.digest, "IN_PROGRESS", None);
        let mut on_push = function(&world, "on-push").await;
        // The source has the tag again, the destination has not.
        let done = results(&mut on_push, delete_event("team/app", "v1", &image.digest)).await;
        let outcomes: Vec<_> = done.iter().map(|result| result["outcome"].clone()).collect();
        assert_eq!(outcomes, ["kept", "queued"], "{done:?}");
        let messages = world.aws.sqs().messages("work");
        assert_eq!(messages.len(), 1);
        let body: Value = serde_json::from_str(&messages[0].body).unwrap();
        assert_eq!(body["source"], format!("{SOURCE}/team/app:v1"));
        assert_eq!(body["scan_gate"]["severity"], "HIGH", "{body}");
        assert_nothing_written(&world.destination);
    })
    .await;
}
