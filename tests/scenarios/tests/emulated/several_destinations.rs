//! One push, several destinations: a message for each where there is a queue, else one after the other.

use std::time::Duration;

use emulator::{Image, Kind, aws::ApiError};
use scenarios::{
    EventSource, Outcome, World,
    world::{DESTINATION, push_event},
};
use serde_json::{Value, json};

use crate::support::{LIMIT, eventually, failed, logged_results, results, watched};

/// To three repositories of the destination.
async fn three_ways() -> (World, Image) {
    let mut world = World::ecr(|destination| destination).await;
    let to = |prefix: &str| format!("{DESTINATION}/{prefix}/{{repository}}");
    world.config["rules"] = json!([
        { "destinations": [to("one"), to("two")] },
        { "source": { "repository": "team/*" }, "destinations": [to("two"), to("three")], "existing_tag": "keep" },
        { "source": { "repository": "other/*" }, "destinations": [to("four")] },
    ]);
    for prefix in ["one", "two", "three"] {
        world.destination.store().create_repository(&format!("{prefix}/team/app"));
    }
    let image = Image::small(1);
    image.push_to(world.source.store(), "team/app", "v1");
    (world, image)
}

fn destinations(results: &[Value]) -> Vec<&str> {
    results.iter().filter_map(|result| result["destination"].as_str()).collect()
}

#[tokio::test]
async fn with_a_queue_each_destination_gets_a_message_and_fanout_does_them_all() {
    watched(async {
        let (world, image) = three_ways().await;
        let url = world.aws.sqs().create("work", Duration::from_secs(30));
        let env = [("TRANSSHIP_QUEUE_URL", url.as_str())];
        let mut on_push = world.function("on-push", &env).await;
        let queued = results(&mut on_push, push_event("team/app", "v1", &image.digest)).await;
        let expected = ["one", "two", "three"].map(|prefix| format!("{DESTINATION}/{prefix}/team/app:v1"));
        assert_eq!(destinations(&queued), expected, "a destination that two rules name is synced once");
        assert!(queued.iter().all(|result| result["outcome"] == "queued"), "{queued:?}");
        assert_eq!(world.aws.sqs().messages("work").len(), 3);
        assert_eq!(world.aws.count("sqs", "SendMessageBatch"), 1, "in one call");
        assert_eq!(world.source.journal().len() + world.destination.journal().len(), 0, "no registry is asked yet");

        let mut fanout = world.function("fanout", &env).await;
        let deliveries = EventSource::new(world.aws.sqs(), "work").timeout(LIMIT).drain(&mut fanout, 9).await;
        assert_eq!(deliveries.len(), 3);
        assert!(deliveries.iter().all(|delivery| delivery.kept.is_empty()), "{deliveries:?}");
        assert_eq!(world.aws.sqs().messages("work").len(), 0);
        for prefix in ["one", "two", "three"] {
            world.destination.store().is_whole(&format!("{prefix}/team/app"), "v1").unwrap();
        }
        eventually("the results are logged", || logged_results(&fanout).len() == 3).await;
        assert!(logged_results(&fanout).iter().all(|result| result["outcome"] == "synced"));
        // What the event said goes along with the message: the lag from the push is measured at the end of the road.
        let lags = fanout.records().iter().filter(|record| record["ReplicationLag"].is_u64()).count();
        assert_eq!(lags, 3);
    })
    .await;
}

#[tokio::test]
async fn one_destination_is_synced_in_place_even_with_a_queue() {
    watched(async {
        let (mut world, image) = three_ways().await;
        world.config["rules"] = json!([{ "destinations": [format!("{DESTINATION}/one/{{repository}}")] }]);
        let url = world.aws.sqs().create("work", Duration::from_secs(30));
        let mut function = world.function("on-push", &[("TRANSSHIP_QUEUE_URL", url.as_str())]).await;
        let results = results(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_eq!(results[0]["outcome"], "synced");
        assert_eq!(world.aws.sqs().messages("work").len(), 0);
    })
    .await;
}

#[tokio::test]
async fn without_a_queue_they_are_synced_one_after_the_other() {
    watched(async {
        let (world, image) = three_ways().await;
        let mut function = world.function("on-push", &[]).await;
        let results = results(&mut function, push_event("team/app", "v1", &image.digest)).await;
        let expected = ["one", "two", "three"].map(|prefix| format!("{DESTINATION}/{prefix}/team/app:v1"));
        assert_eq!(destinations(&results), expected);
        for (result, prefix) in results.iter().zip(["one", "two", "three"]) {
            assert_eq!((&result["outcome"], &result["digest"]), (&"synced".into(), &image.digest.as_str().into()));
            world.destination.store().is_whole(&format!("{prefix}/team/app"), "v1").unwrap();
        }
        let puts = world.destination.journal().of(Kind::ManifestPut);
        let in_order: Vec<_> = puts.iter().map(|put| put.repository.clone().unwrap()).collect();
        assert_eq!(in_order, ["one/team/app", "two/team/app", "three/team/app"]);
    })
    .await;
}

#[tokio::test]
async fn one_that_fails_fails_the_invocation_and_stops_none_of_the_others() {
    watched(async {
        let (world, image) = three_ways().await;
        world.destination.store().remove_repository("one/team/app");
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "RepositoryNotFound", "{message}");
        assert!(message.contains("one/team/app") && message.contains("1 of 3"), "{message}");
        for prefix in ["two", "three"] {
            world.destination.store().is_whole(&format!("{prefix}/team/app"), "v1").unwrap();
        }
        eventually("the results are logged", || logged_results(&function).len() == 3).await;
        let outcomes: Vec<_> = logged_results(&function).iter().map(|result| result["outcome"].clone()).collect();
        assert_eq!(outcomes, ["failed", "synced", "synced"]);
    })
    .await;
}

/// Docker Hub knows no names of three components.
fn one_that_cannot_be(world: &mut World) {
    let bad = json!({ "name": "to the Hub", "destinations": ["docker.io/acme/{repository}"] });
    world.config["rules"].as_array_mut().unwrap().insert(0, bad);
}

#[tokio::test]
async fn one_that_cannot_be_is_told_when_the_others_have_the_image() {
    watched(async {
        let (mut world, image) = three_ways().await;
        one_that_cannot_be(&mut world);
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "InvalidReference", "{message}");
        assert!(message.contains("`to the Hub`") && message.contains("two components"), "{message}");
        for prefix in ["one", "two", "three"] {
            world.destination.store().is_whole(&format!("{prefix}/team/app"), "v1").unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn one_that_cannot_be_leaves_a_letter_and_the_others_messages() {
    watched(async {
        let (mut world, image) = three_ways().await;
        one_that_cannot_be(&mut world);
        let url = world.aws.sqs().create("work", Duration::from_secs(30));
        let dead = world.aws.sqs().create("dead", Duration::from_secs(30));
        let env = [("TRANSSHIP_QUEUE_URL", url.as_str()), ("TRANSSHIP_DEAD_LETTER_QUEUE_URL", dead.as_str())];
        let mut on_push = world.function("on-push", &env).await;
        let event = push_event("team/app", "v1", &image.digest);
        let (error_type, _) = failed(&mut on_push, event.clone()).await;
        assert_eq!((error_type.as_str(), world.aws.sqs().messages("work").len()), ("InvalidReference", 3));

        // The event as a message's body, and a message that leaves the destinations to the rules.
        let source = format!("{}/team/app:v1", world.source_host);
        for body in [event.to_string(), json!({ "source": source }).to_string()] {
            let before = world.aws.sqs().messages("dead").len();
            world.aws.sqs().send("work", &body);
            let mut fanout = world.function("fanout", &env).await;
            EventSource::new(world.aws.sqs(), "work").timeout(LIMIT).drain(&mut fanout, 9).await;
            assert_eq!(world.aws.sqs().messages("work").len(), 0);
            let letters = world.aws.sqs().messages("dead");
            assert_eq!(letters.len(), before + 1);
            assert_eq!(letters[before].body, body);
        }
        for prefix in ["one", "two", "three"] {
            world.destination.store().is_whole(&format!("{prefix}/team/app"), "v1").unwrap();
        }
    })
    .await;
}

/// What an event could not bring a sweep does.
#[tokio::test]
async fn one_that_cannot_be_keeps_no_image_out_of_a_backfill() {
    watched(async {
        let (mut world, _) = three_ways().await;
        one_that_cannot_be(&mut world);
        let mut fanout = crate::backfill::fanout(&world).await;
        let order = json!({ "repository": format!("{}/team/app", world.source_host) });
        let summary = crate::backfill::backfilled(&world, &mut fanout, order).await;
        assert_eq!((&summary["enqueued"], &summary["refused"]), (&json!(3), &json!(1)), "{summary}");
        crate::backfill::drained(&world, &mut fanout).await;
        for prefix in ["one", "two", "three"] {
            world.destination.store().is_whole(&format!("{prefix}/team/app"), "v1").unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn messages_that_the_queue_does_not_take_fail_the_invocation() {
    watched(async {
        let (world, image) = three_ways().await;
        let url = world.aws.sqs().create("work", Duration::from_secs(30));
        let mut function = world.function("on-push", &[("TRANSSHIP_QUEUE_URL", url.as_str())]).await;
        // The answer is a 200 all the same.
        world.aws.sqs().fail_next_entries(1);
        let event = push_event("team/app", "v1", &image.digest);
        let (error_type, message) = failed(&mut function, event.clone()).await;
        assert_eq!(error_type, "Unavailable", "{message}");

        let refused = ApiError::client("AccessDeniedException", "no");
        world.aws.fail_next("SendMessageBatch", refused, 1);
        let (error_type, message) = failed(&mut function, event.clone()).await;
        assert_eq!(error_type, "Denied", "{message}");
        assert!(message.contains(&url), "{message}");
        // Lambda runs the event again.
        assert!(matches!(function.invoke(event, LIMIT).await, Outcome::Ok(_)));
    })
    .await;
}
