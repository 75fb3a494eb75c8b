//! Batches: what time is too short for goes back untouched, FIFO groups keep their order, and what failed comes again
//! when it may.

use std::time::Duration;

use emulator::{Action, Fault, Image, Kind, aws::sqs::Message};
use scenarios::{
    EventSource, World,
    world::{DESTINATION, SOURCE},
};
use serde_json::{Value, json};

use crate::support::{LIMIT, eventually, image_message, logged_results, watched};

/// Images in repositories of their own: `team/NAME:v1`.
async fn world(names: &[&str]) -> World {
    let mut world = World::ecr(|destination| destination).await;
    world.config["limits"] = json!({ "max_attempts": 2 });
    for (seed, name) in (1..).zip(names) {
        Image::small(seed).push_to(world.source.store(), &format!("team/{name}"), "v1");
        world.destination.store().create_repository(&format!("mirror/team/{name}"));
    }
    world
}

fn message(name: &str) -> String {
    image_message(format!("{SOURCE}/team/{name}:v1"), format!("{DESTINATION}/mirror/team/{name}:v1"))
}

fn down(world: &World, name: &str) {
    let refusal = Action::error(503, "UNAVAILABLE", "come back later");
    world.source.faults().add(Fault::any().path(&format!("/v2/team/{name}/")).forever().then(refusal));
}

/// Those of `names` that anything was asked for.
fn begun<'n>(world: &World, names: &[&'n str]) -> Vec<&'n str> {
    let entries: Vec<_> =
        world.source.journal().entries().into_iter().chain(world.destination.journal().entries()).collect();
    let asked = |name: &&&str| entries.iter().any(|entry| entry.path.contains(&format!("team/{name}/")));
    names.iter().filter(asked).copied().collect()
}

fn of<'m>(messages: &'m [Message], name: &str) -> &'m Message {
    messages.iter().find(|one| one.body == message(name)).expect("the message is in its queue")
}

fn seconds(message: &Message) -> f64 {
    message.visible_in.as_secs_f64()
}

/// How the repositories' tags were put, in order.
fn put(world: &World) -> Vec<String> {
    let puts = world.destination.journal().of(Kind::ManifestPut).into_iter();
    puts.filter_map(|put| put.repository?.strip_prefix("mirror/team/").map(str::to_owned)).collect()
}

#[tokio::test]
async fn what_can_not_be_begun_in_time_goes_back_untouched() {
    watched(async {
        let names = ["stuck", "two", "three", "four"];
        let world = world(&names).await;
        let sqs = world.aws.sqs();
        sqs.create("work", Duration::from_secs(60));
        names.iter().for_each(|name| drop(sqs.send("work", &message(name))));
        let stall = Fault::on(Kind::ManifestGet).path("team/stuck").forever().then(Action::Stall);
        world.source.faults().add(stall);
        let mut fanout = world.function("fanout", &[]).await;
        fanout.ready().await.unwrap();
        let source = EventSource::new(sqs, "work").batch_size(10);
        let delivery = source.timeout(Duration::from_secs(5)).deliver(&mut fanout).await.unwrap();
        assert_eq!(delivery.kept.len(), 4, "{delivery:?}");
        assert_eq!(begun(&world, &names), ["stuck"]);
        let messages = sqs.messages("work");
        for name in &names[1..] {
            assert!(of(&messages, name).visible_in.is_zero(), "nothing is wrong with {name}");
        }
        assert!(seconds(of(&messages, "stuck")) > 0.0);
        eventually("the batch is counted", || fanout.records().iter().any(|record| record["message"] == "batch")).await;
        let records = fanout.records();
        let batch = records.iter().find(|record| record["message"] == "batch").unwrap();
        assert_eq!((&batch["MessagesFailed"], &batch["MessagesUnfinished"]), (&json!(1), &json!(3)));
        assert_eq!(logged_results(&fanout).len(), 1, "what was not begun has no result");
        let loud = |record: &&Value| ["ERROR", "WARN"].iter().any(|level| record["level"] == *level);
        let texts: Vec<String> = records.iter().filter(loud).map(Value::to_string).collect();
        assert!(
            texts.iter().all(|text| names[1..].iter().all(|name| !text.contains(&format!("team/{name}")))),
            "{texts:?}"
        );

        world.source.faults().clear();
        let source = EventSource::new(sqs, "work").batch_size(10).timeout(LIMIT);
        assert!(source.deliver(&mut fanout).await.unwrap().kept.is_empty());
        assert_eq!(sqs.messages("work").len(), 1, "the others are done, one waits for its time");
    })
    .await;
}

#[tokio::test]
async fn a_process_that_is_killed_after_it_buried_a_message_loses_none() {
    watched(async {
        let world = world(&["app"]).await;
        let sqs = world.aws.sqs();
        sqs.create("work", Duration::from_secs(60));
        let dead = sqs.create("dead", Duration::from_secs(60));
        sqs.send("work", "no JSON");
        sqs.send("work", &message("app"));
        let stuck = world.source.faults().add(Fault::on(Kind::ManifestGet).then(Action::Stall));
        let mut fanout = world.function("fanout", &[("TRANSSHIP_DEAD_LETTER_QUEUE_URL", dead.as_str())]).await;
        let source = EventSource::new(sqs, "work").batch_size(10).timeout(LIMIT);
        tokio::select! {
            delivery = source.deliver(&mut fanout) => panic!("it should hang: {delivery:?}"),
            () = eventually("the second one is begun", || stuck.count() == 1) => {}
        }
        fanout.kill().await;
        assert_eq!((sqs.messages("work").len(), sqs.messages("dead").len()), (2, 1));
        sqs.skip_waiting("work");
        assert!(source.deliver(&mut fanout).await.unwrap().kept.is_empty());
        assert_eq!((sqs.messages("work").len(), sqs.messages("dead").len()), (0, 2), "twice, and not never");
        assert_eq!(put(&world), ["app"]);
    })
    .await;
}

#[tokio::test]
async fn a_fifo_group_waits_for_its_first_message_and_others_do_not() {
    watched(async {
        let names = ["a1", "a2", "a3", "b1"];
        let world = world(&names).await;
        let sqs = world.aws.sqs();
        sqs.create("work.fifo", Duration::from_secs(60));
        names.iter().for_each(|name| drop(sqs.send_in_group("work.fifo", &name[..1], &message(name))));
        down(&world, "a1");
        let mut fanout = world.function("fanout", &[]).await;
        let source = EventSource::new(sqs, "work.fifo").batch_size(10).timeout(LIMIT);
        let delivery = source.deliver(&mut fanout).await.unwrap();
        assert_eq!(delivery.event["Records"].as_array().unwrap().len(), 4);
        assert_eq!(begun(&world, &names), ["a1", "b1"]);
        assert_eq!(put(&world), ["b1"]);
        let messages = sqs.messages("work.fifo");
        assert_eq!((delivery.kept.len(), messages.len()), (3, 3), "{delivery:?}");
        assert!(seconds(of(&messages, "a1")) > 0.0);
        assert!(of(&messages, "a2").visible_in.is_zero() && of(&messages, "a3").visible_in.is_zero());
        assert!(source.deliver(&mut fanout).await.is_none(), "the group waits for its first one");

        world.source.faults().clear();
        sqs.skip_waiting("work.fifo");
        assert!(source.deliver(&mut fanout).await.unwrap().kept.is_empty());
        assert_eq!(put(&world), ["b1", "a1", "a2", "a3"]);
    })
    .await;
}

#[tokio::test]
async fn a_fifo_group_goes_on_after_a_message_that_was_buried_and_its_letter_keeps_the_group() {
    watched(async {
        let world = world(&["a2"]).await;
        let sqs = world.aws.sqs();
        sqs.create("work.fifo", Duration::from_secs(60));
        let dead = sqs.create("dead.fifo", Duration::from_secs(60));
        let id = sqs.send_in_group("work.fifo", "a", "no JSON");
        sqs.send_in_group("work.fifo", "a", &message("a2"));
        let mut fanout = world.function("fanout", &[("TRANSSHIP_DEAD_LETTER_QUEUE_URL", dead.as_str())]).await;
        let source = EventSource::new(sqs, "work.fifo").batch_size(10).timeout(LIMIT);
        assert!(source.deliver(&mut fanout).await.unwrap().kept.is_empty());
        assert_eq!(put(&world), ["a2"]);
        let letter = sqs.messages("dead.fifo").remove(0);
        assert_eq!((letter.group(), letter.attribute("message_id")), (Some("a"), Some(id.as_str())));
        // Moved back, as an operator would, and failed again within the time that a FIFO queue remembers bodies for.
        let moved = sqs.receive_event("dead.fifo", 1).unwrap();
        sqs.delete("dead.fifo", moved["Records"][0]["receiptHandle"].as_str().unwrap());
        sqs.create("again.fifo", Duration::from_secs(60));
        sqs.send_in_group("again.fifo", "a", "no JSON");
        let again = EventSource::new(sqs, "again.fifo").timeout(LIMIT);
        assert!(again.deliver(&mut fanout).await.unwrap().kept.is_empty());
        assert_eq!(sqs.messages("dead.fifo").len(), 1, "it is a letter again, not taken for a repetition");
    })
    .await;
}

#[tokio::test]
async fn a_standard_queues_groups_are_no_order() {
    watched(async {
        let names = ["a1", "a2"];
        let world = world(&names).await;
        let sqs = world.aws.sqs();
        sqs.create("work", Duration::from_secs(60));
        names.iter().for_each(|name| drop(sqs.send_in_group("work", "tenant", &message(name))));
        down(&world, "a1");
        let mut fanout = world.function("fanout", &[]).await;
        let source = EventSource::new(sqs, "work").batch_size(10).timeout(LIMIT);
        assert_eq!(source.deliver(&mut fanout).await.unwrap().kept.len(), 1);
        assert_eq!(put(&world), ["a2"]);
    })
    .await;
}

#[tokio::test]
async fn a_message_that_failed_waits_longer_each_time_and_as_long_as_the_registry_asks() {
    watched(async {
        let world = world(&["app"]).await;
        let sqs = world.aws.sqs();
        sqs.create("work", Duration::from_secs(3600));
        sqs.send("work", &message("app"));
        down(&world, "app");
        // It names another queue of the same name: the receipt is good at the one that gave it.
        let other = sqs.create_in("eu-west-1", "444455556666", "work", Duration::from_secs(30));
        let mut fanout = world.function("fanout", &[("TRANSSHIP_QUEUE_URL", other.as_str())]).await;
        let source = EventSource::new(sqs, "work").timeout(LIMIT);
        for bound in [10.0, 20.0, 40.0] {
            assert_eq!(source.deliver(&mut fanout).await.unwrap().kept.len(), 1);
            let wait = seconds(&sqs.messages("work")[0]);
            // What has passed since is unknown, but not more than the time limit of the whole.
            assert!(wait > 0.0 && wait <= bound + 1.0, "{wait} within {bound}");
            sqs.skip_waiting("work");
        }
        let asked: Vec<i64> = world.aws.calls().iter().filter_map(|call| visibility(&call.request)).collect();
        assert!((5..=10).contains(&asked[0]) && (10..=20).contains(&asked[1]) && (20..=40).contains(&asked[2]));

        world.source.faults().clear();
        let patient = Fault::on(Kind::ManifestGet).forever().then(Action::throttle(Some(1800)));
        world.source.faults().add(patient);
        let mut fanout = world.function("fanout", &[]).await;
        assert_eq!(source.deliver(&mut fanout).await.unwrap().kept.len(), 1);
        assert_eq!(logged_results(&fanout).pop().unwrap()["error_type"], "Throttled");
        let call = world.aws.calls().into_iter().rfind(|call| visibility(&call.request).is_some()).unwrap();
        assert!((1790..=1860).contains(&visibility(&call.request).unwrap()), "{call:?}");
        assert!(call.request["QueueUrl"].as_str().unwrap().ends_with("/111122223333/work"), "{call:?}");
    })
    .await;
}

fn visibility(body: &Value) -> Option<i64> {
    body["Entries"][0]["VisibilityTimeout"].as_i64()
}

#[tokio::test]
async fn a_message_whose_wait_can_not_be_set_comes_again_all_the_same() {
    watched(async {
        let world = world(&["app"]).await;
        let sqs = world.aws.sqs();
        sqs.create("work", Duration::from_secs(3600));
        sqs.send("work", &message("app"));
        down(&world, "app");
        let refused = emulator::aws::ApiError::client("AccessDeniedException", "no");
        world.aws.fail_next("ChangeMessageVisibilityBatch", refused, 1);
        let mut fanout = world.function("fanout", &[]).await;
        let source = EventSource::new(sqs, "work").timeout(LIMIT);
        assert_eq!(source.deliver(&mut fanout).await.unwrap().kept.len(), 1);
        assert!(seconds(&sqs.messages("work")[0]) > 1000.0, "its queue decides");
        eventually("it is said", || fanout.lines().iter().any(|line| line.contains("could not be set"))).await;
    })
    .await;
}
