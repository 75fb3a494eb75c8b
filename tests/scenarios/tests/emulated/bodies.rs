//! Message bodies that are more than an image with both ends: events, several destinations, further tags, sizes.

use std::time::Duration;

use emulator::{Image, Kind, Origin, aws::ApiError, image::raw_layer};
use scenarios::{
    EventSource, Function, Outcome, World,
    world::{DESTINATION, SOURCE, push_event},
};
use serde_json::json;

use crate::support::{LIMIT, delivered, eventually, logged_results, watched};

/// To two repositories of the destination and one that is not there.
async fn world() -> (World, Image) {
    let mut world = World::ecr(|destination| destination).await;
    let to = |prefix: &str| format!("{DESTINATION}/{prefix}/{{repository}}");
    world.rule().insert("destinations".into(), json!([to("one"), to("nowhere"), to("two")]));
    for prefix in ["one", "two"] {
        world.destination.store().create_repository(&format!("{prefix}/team/app"));
    }
    let image = Image::small(1);
    image.push_to(world.source.store(), "team/app", "v1");
    (world, image)
}

async fn with_dead_letters(world: &World, queue: bool) -> Function {
    let work = world.aws.sqs().create("work", Duration::from_secs(30));
    let dead = world.aws.sqs().create("dead", Duration::from_secs(30));
    let mut env = vec![("TRANSSHIP_DEAD_LETTER_QUEUE_URL", dead.as_str())];
    env.extend(queue.then_some(("TRANSSHIP_QUEUE_URL", work.as_str())));
    world.function("fanout", &env).await
}

fn assert_both_are_whole(world: &World) {
    for prefix in ["one", "two"] {
        world.destination.store().is_whole(&format!("{prefix}/team/app"), "v1").unwrap();
    }
}

#[tokio::test]
async fn an_event_with_several_destinations_becomes_a_message_for_each_and_one_bad_one_hurts_no_other() {
    watched(async {
        let (world, image) = world().await;
        let mut fanout = with_dead_letters(&world, true).await;
        let (sqs, event) = (world.aws.sqs(), push_event("team/app", "v1", &image.digest));
        sqs.send("work", &event.to_string());
        let source = EventSource::new(sqs, "work").batch_size(10).timeout(LIMIT);
        assert!(source.deliver(&mut fanout).await.unwrap().kept.is_empty());
        assert_eq!(world.source.journal().len(), 0, "no registry is asked yet");
        assert_eq!(sqs.messages("work").len(), 3);
        assert!(source.deliver(&mut fanout).await.unwrap().kept.is_empty());
        assert_eq!(sqs.messages("work").len(), 0);
        assert_both_are_whole(&world);
        let dead = sqs.messages("dead");
        assert_eq!(dead.len(), 1, "{dead:?}");
        assert!(dead[0].body.contains("nowhere/team/app") && !dead[0].body.contains("one/team/app"), "{dead:?}");
        assert_eq!(dead[0].attribute("error_type"), Some("RepositoryNotFound"));
        eventually("three results are logged", || logged_results(&fanout).len() == 3).await;
        let lags = fanout.records().iter().filter(|record| record["ReplicationLag"].is_u64()).count();
        assert_eq!(lags, 2, "what the event said goes along");
    })
    .await;
}

#[tokio::test]
async fn without_a_queue_of_ones_own_several_destinations_are_done_in_place() {
    watched(async {
        // The second time the queue takes no messages: that makes none of them a bad one.
        for queue in [false, true] {
            let (world, image) = world().await;
            world.aws.fail_next("SendMessageBatch", ApiError::client("AccessDeniedException", "no"), 1);
            let mut fanout = with_dead_letters(&world, queue).await;
            let (sqs, event) = (world.aws.sqs(), push_event("team/app", "v1", &image.digest).to_string());
            sqs.send("work", &event);
            let source = EventSource::new(sqs, "work").timeout(LIMIT);
            assert!(source.deliver(&mut fanout).await.unwrap().kept.is_empty());
            assert_both_are_whole(&world);
            assert_eq!(sqs.messages("work").len(), 0);
            assert_eq!(sqs.messages("dead")[0].body, event, "the body is the one that came");
            // Moved back by hand, after the repository was made.
            world.destination.store().create_repository("nowhere/team/app");
            world.forget();
            sqs.send("work", &event);
            if !queue {
                assert!(source.deliver(&mut fanout).await.unwrap().kept.is_empty());
                world.destination.store().is_whole("nowhere/team/app", "v1").unwrap();
                let puts = world.destination.journal().of(Kind::ManifestPut);
                assert_eq!(puts.len(), 1, "what was done is not done again: {puts:#?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_fifo_queues_event_is_done_in_place_so_that_nothing_overtakes_it() {
    watched(async {
        let (world, image) = world().await;
        world.destination.store().create_repository("nowhere/team/app");
        let work = world.aws.sqs().create("work.fifo", Duration::from_secs(30));
        let mut fanout = world.function("fanout", &[("TRANSSHIP_QUEUE_URL", work.as_str())]).await;
        world.aws.sqs().send("work.fifo", &push_event("team/app", "v1", &image.digest).to_string());
        let source = EventSource::new(world.aws.sqs(), "work.fifo").timeout(LIMIT);
        assert!(source.deliver(&mut fanout).await.unwrap().kept.is_empty());
        assert_eq!(world.aws.sqs().messages("work.fifo").len(), 0);
        assert_both_are_whole(&world);
    })
    .await;
}

#[tokio::test]
async fn an_event_that_on_push_would_ignore_is_done_and_says_so() {
    watched(async {
        let (world, image) = world().await;
        let mut fanout = with_dead_letters(&world, true).await;
        let mut event = push_event("team/app", "v1", &image.digest);
        event["detail"]["result"] = json!("FAILURE");
        world.aws.sqs().send("work", &event.to_string());
        let source = EventSource::new(world.aws.sqs(), "work").timeout(LIMIT);
        let delivery = source.deliver(&mut fanout).await.unwrap();
        assert_eq!(delivery.outcome, Outcome::Ok(json!({ "batchItemFailures": [] })));
        assert_eq!((world.aws.sqs().messages("work").len(), world.aws.sqs().messages("dead").len()), (0, 0));
        let ignored = || fanout.records().into_iter().find(|record| record["outcome"] == "ignored");
        eventually("it is logged", || ignored().is_some()).await;
        assert!(ignored().unwrap()["reason"].as_str().unwrap().contains("FAILURE"));
        eventually("it is counted", || fanout.records().iter().any(|record| record["MessagesIgnored"] == 1)).await;
    })
    .await;
}

#[tokio::test]
async fn further_tags_of_an_image_are_put_without_moving_a_blob_again() {
    watched(async {
        let (world, _) = world().await;
        let image = Image::builder().layer(raw_layer(1, 60_000)).layer(raw_layer(2, 30_000)).build();
        let tags = ["v1.2.3", "v1.2", "latest"];
        for tag in tags {
            image.push_to(world.source.store(), "team/app", tag);
        }
        let mut fanout = with_dead_letters(&world, true).await;
        let body = json!({
            "version": 1,
            "source": format!("{SOURCE}/team/app:v1.2.3"),
            "destination": format!("{DESTINATION}/one/team/app:v1.2.3"),
            "tags": [{ "source": "v1.2" }, { "source": "latest", "destination": "newest" }],
            "expected_digest": image.digest,
        });
        assert!(delivered(&world, &mut fanout, &body.to_string()).await.kept.is_empty());
        let store = world.destination.store();
        for tag in ["v1.2.3", "v1.2", "newest"] {
            assert_eq!(store.tag("one/team/app", tag).as_deref(), Some(image.digest.as_str()), "{tag}");
        }
        let (source, destination) = (world.source.journal(), world.destination.journal());
        let blobs = image.blobs().len();
        assert_eq!(destination.count(Kind::UploadPut), blobs, "each blob is sent once");
        assert_eq!(source.count_at(Origin::Registry, Kind::BlobGet), blobs, "and read once");
        eventually("three results are logged", || logged_results(&fanout).len() == 3).await;
        for result in &logged_results(&fanout)[1..] {
            let requests = &result["requests"];
            // Two of the source's four are for what is attached.
            assert_eq!((&requests["source"], &requests["destination"]), (&json!(4), &json!(2)), "{result}");
            assert_eq!(requests["aws_api"], 1, "{result}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_further_tag_that_has_moved_since_is_not_moved_back() {
    watched(async {
        let (world, image) = world().await;
        image.push_to(world.source.store(), "team/app", "latest");
        let newer = Image::small(9);
        newer.push_to(world.source.store(), "team/app", "latest");
        newer.push_to(world.destination.store(), "one/team/app", "latest");
        let mut fanout = with_dead_letters(&world, true).await;
        let body = json!({
            "source": format!("{SOURCE}/team/app:v1"),
            "destination": format!("{DESTINATION}/one/team/app:v1"),
            "tags": [{ "source": "latest" }],
            "expected_digest": image.digest,
        });
        assert!(delivered(&world, &mut fanout, &body.to_string()).await.kept.is_empty());
        assert_eq!(world.destination.store().tag("one/team/app", "v1"), Some(image.digest));
        assert_eq!(world.destination.store().tag("one/team/app", "latest"), Some(newer.digest));
    })
    .await;
}

#[tokio::test]
async fn a_version_that_is_not_known_and_a_body_as_large_as_can_be_are_put_aside_as_they_are() {
    watched(async {
        let (world, _) = world().await;
        let sqs = world.aws.sqs();
        let mut fanout = with_dead_letters(&world, true).await;
        let newer = json!({ "version": 2, "source": format!("{SOURCE}/team/app:v1"), "invented": true }).to_string();
        let large = "x".repeat(1 << 20);
        for (body, part) in [(&newer, "knows 1"), (&large, "")] {
            sqs.send("work", body);
            let source = EventSource::new(sqs, "work").timeout(LIMIT);
            assert!(source.deliver(&mut fanout).await.unwrap().kept.is_empty());
            let letter = sqs.messages("dead").pop().unwrap();
            assert!(letter.body == *body, "as it came");
            assert!(letter.attribute("error_message").unwrap_or_default().contains(part), "{:?}", letter.attributes);
        }
        assert_eq!((sqs.messages("dead").len(), sqs.messages("work").len()), (2, 0));
    })
    .await;
}
