//! Backfill and sweep between two ECR registries: what is enqueued, what is not, and what is said of it.

use std::time::{Duration, SystemTime};

use emulator::{Access, Image, Kind, image::raw_layer};
use scenarios::{
    EventSource, Function, World,
    world::{DESTINATION, SOURCE},
};
use serde_json::{Value, json};

use crate::support::{LIMIT, assert_nothing_written, eventually, watched};

/// `fanout` with a queue of work and one of dead letters; orders come by a third one, so that they are told apart.
pub(crate) async fn fanout(world: &World) -> Function {
    let queue = |name: &str| world.aws.sqs().create(name, Duration::from_secs(30));
    queue("orders");
    let (work, dead) = (queue("work"), queue("dead"));
    let env = [("TRANSSHIP_QUEUE_URL", work.as_str()), ("TRANSSHIP_DEAD_LETTER_QUEUE_URL", dead.as_str())];
    let mut function = world.function("fanout", &env).await;
    // Some invocations here are short, and none of their time is for the start.
    function.ready().await.unwrap();
    function
}

/// The summaries that a function has logged.
pub(crate) fn summaries(function: &Function) -> Vec<Value> {
    function
        .records()
        .into_iter()
        .filter(|record| record["message"] == "backfill")
        .map(|r| r["backfill"].clone())
        .collect()
}

/// Has one invocation do a backfill message; answers what it logged.
pub(crate) async fn ordered(world: &World, function: &mut Function, body: &str, timeout: Duration) -> Value {
    let before = summaries(function).len();
    world.aws.sqs().send("orders", body);
    let mapping = EventSource::new(world.aws.sqs(), "orders").timeout(timeout);
    let delivery = mapping.deliver(function).await.expect("the message is visible");
    assert!(delivery.kept.is_empty(), "{delivery:?} {:?}", function.lines());
    eventually("the summary is logged", || summaries(function).len() > before).await;
    summaries(function).pop().expect("it was just seen")
}

pub(crate) async fn backfilled(world: &World, function: &mut Function, order: Value) -> Value {
    ordered(world, function, &json!({ "backfill": order }).to_string(), LIMIT).await
}

/// Does the work that was enqueued.
pub(crate) async fn drained(world: &World, function: &mut Function) {
    let deliveries = EventSource::new(world.aws.sqs(), "work").batch_size(10).timeout(LIMIT).drain(function, 100).await;
    for delivery in deliveries {
        assert!(delivery.kept.is_empty(), "{delivery:?}");
    }
}

/// Asserts what a summary says of some counts.
pub(crate) fn assert_counts(summary: &Value, counts: &[(&str, u64)]) {
    for (name, count) in counts {
        assert_eq!(summary[*name], *count, "{name}: {summary}");
    }
}

/// The bodies that are in the queue of work, as JSON.
pub(crate) fn enqueued(world: &World) -> Vec<Value> {
    let bodies = world.aws.sqs().messages("work").into_iter();
    bodies.map(|message| serde_json::from_str(&message.body).unwrap()).collect()
}

async fn world() -> World {
    let world = World::ecr(|destination| destination).await;
    world.destination.store().create_repository("mirror/team/app");
    world
}

#[tokio::test]
async fn what_a_destination_lacks_is_enqueued_and_a_sweep_of_what_is_there_costs_two_calls() {
    watched(async {
        let world = world().await;
        let (source, destination) = (world.source.store(), world.destination.store());
        for number in 1..=3 {
            Image::small(number).push_to(source, "team/app", &format!("v{number}"));
        }
        Image::small(4).push_to(source, "team/app", &format!("sha256-{}.sig", "0f".repeat(32)));
        let (current, other) = (Image::small(2), Image::small(9));
        current.push_to(destination, "mirror/team/app", "v2");
        other.push_to(destination, "mirror/team/app", "v3");
        let mut fanout = fanout(&world).await;
        let order = json!({ "repository": format!("{SOURCE}/team/app") });
        let summary = backfilled(&world, &mut fanout, order.clone()).await;
        let found = [("listed", 4), ("attached", 1), ("matched", 3), ("current", 1), ("missing", 1), ("different", 1)];
        assert_counts(&summary, &found);
        assert_counts(&summary, &[("enqueued", 2), ("repositories", 1), ("invocations", 1), ("refused", 0)]);
        assert_eq!((&summary["finished"], &summary["dry_run"]), (&json!(true), &json!(false)));
        drained(&world, &mut fanout).await;
        for number in 1..=3 {
            let tag = format!("v{number}");
            assert_eq!(destination.tag("mirror/team/app", &tag), Some(Image::small(number).digest));
            destination.is_whole("mirror/team/app", &tag).unwrap();
        }

        world.forget();
        let summary = backfilled(&world, &mut fanout, order).await;
        assert_counts(&summary, &[("listed", 4), ("matched", 3), ("current", 3), ("enqueued", 0)]);
        assert_counts(&summary, &[("source_requests", 0), ("destination_requests", 0), ("aws_api_calls", 2)]);
        assert_eq!(enqueued(&world).len(), 0);
        assert_eq!(world.source.journal().len() + world.destination.journal().len(), 0);
        let calls: Vec<_> = world.aws.calls().into_iter().map(|call| call.operation).collect();
        assert_eq!(calls, ["DescribeImages", "BatchGetImage"]);
    })
    .await;
}

#[tokio::test]
async fn tags_of_one_digest_are_one_message_that_copies_once_and_tags_all() {
    watched(async {
        let world = world().await;
        let image = Image::small(1);
        for tag in ["v1", "v1.2", "latest"] {
            image.push_to(world.source.store(), "team/app", tag);
        }
        Image::small(2).push_to(world.source.store(), "team/app", "v2");
        let mut fanout = fanout(&world).await;
        let summary = backfilled(&world, &mut fanout, json!({ "repository": format!("{SOURCE}/team/app") })).await;
        assert_counts(&summary, &[("listed", 4), ("missing", 4), ("enqueued", 2)]);
        drained(&world, &mut fanout).await;
        for tag in ["v1", "v1.2", "latest"] {
            assert_eq!(world.destination.store().tag("mirror/team/app", tag).as_ref(), Some(&image.digest), "{tag}");
        }
        assert_eq!(world.destination.journal().count(Kind::UploadPut), 4, "two images of two blobs");
    })
    .await;
}

#[tokio::test]
async fn a_glob_or_the_rules_say_which_repositories_are_listed() {
    watched(async {
        let mut world = World::build(|source| source.list_page(2), builder(), Some(DESTINATION)).await;
        for (number, name) in (1..).zip(["team/a", "team/b", "team/c/d", "other/e"]) {
            Image::small(number).push_to(world.source.store(), name, "v1");
            world.destination.store().create_repository(&format!("mirror/{name}"));
        }
        let to = format!("{DESTINATION}/mirror/{{repository}}");
        world.config["rules"] = json!([
            { "source": { "registry": SOURCE, "repository": "team/**" }, "destinations": [&to] },
            { "source": { "registry": SOURCE, "repository": "other/e" }, "tags": { "include": ["v2"] }, "destinations": [&to] },
            { "name": "of anywhere", "source": { "repository": "never" }, "destinations": [&to] },
        ]);
        let mut fanout = fanout(&world).await;
        let names = |world: &World| {
            let mut names: Vec<String> = enqueued(world).iter().map(|body| body["source"].to_string()).collect();
            names.sort();
            names.iter().map(|name| name.trim_matches('"').replace(&format!("{SOURCE}/"), "")).collect::<Vec<_>>()
        };
        let glob = json!({ "repository": format!("{SOURCE}/team/*") });
        let summary = backfilled(&world, &mut fanout, glob).await;
        assert_counts(&summary, &[("repositories", 2), ("listed", 2), ("enqueued", 2)]);
        assert_eq!(names(&world), ["team/a:v1", "team/b:v1"]);

        drained(&world, &mut fanout).await;
        let summary = backfilled(&world, &mut fanout, json!({})).await;
        assert_counts(&summary, &[("repositories", 4), ("listed", 4), ("matched", 3), ("current", 2), ("enqueued", 1)]);
        assert_eq!(summary["unlisted_rules"], json!(["of anywhere"]));
        assert_eq!(names(&world), ["team/c/d:v1"]);
    })
    .await;
}

fn builder() -> emulator::Builder {
    emulator::Registry::builder(emulator::Personality::Ecr).account("222233334444").region("eu-west-1")
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_done_and_enqueues_nothing() {
    watched(async {
        let world = world().await;
        Image::small(1).push_to(world.source.store(), "team/app", "v1");
        let mut fanout = fanout(&world).await;
        let order = json!({ "repository": format!("{SOURCE}/team/app"), "dry_run": true });
        let summary = backfilled(&world, &mut fanout, order).await;
        assert_counts(&summary, &[("matched", 1), ("missing", 1), ("enqueued", 0)]);
        assert_eq!((&summary["finished"], &summary["dry_run"]), (&json!(true), &json!(true)));
        assert_eq!(enqueued(&world).len(), 0);
        assert_eq!(world.aws.count("sqs", "SendMessageBatch"), 0);
        assert_nothing_written(&world.destination);
    })
    .await;
}

#[tokio::test]
async fn newest_and_pushed_since_choose_by_the_time_of_the_push() {
    watched(async {
        // Pages of two, so that the newest are looked for over several.
        let world = World::build(|source| source.list_page(2), builder(), Some(DESTINATION)).await;
        let day = |number: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000 + number * 86_400);
        for number in 0..7 {
            let image = Image::small(number);
            // What is pushed last is not wanted, and must not count as one of the newest.
            let tag = if number == 6 { "nightly".to_owned() } else { format!("v{number}") };
            image.push_to(world.source.store(), "team/app", &tag);
            world.source.store().set_pushed("team/app", &image.digest, day(number));
        }
        let mut fanout = fanout(&world).await;
        let tags = |world: &World| {
            let mut tags: Vec<String> = enqueued(world)
                .iter()
                .map(|body| body["source"].as_str().unwrap().rsplit(':').next().unwrap().to_owned())
                .collect();
            tags.sort();
            // Nothing of it is to be done.
            while let Some(event) = world.aws.sqs().receive_event("work", 1) {
                world.aws.sqs().delete("work", event["Records"][0]["receiptHandle"].as_str().unwrap());
            }
            tags
        };
        let repository = format!("{SOURCE}/team/app");
        let wanted = json!({ "include": ["v*"] });
        let newest = json!({ "repository": &repository, "newest": 2, "tags": &wanted });
        let summary = backfilled(&world, &mut fanout, newest).await;
        assert_eq!(tags(&world), ["v4", "v5"]);
        assert_counts(&summary, &[("listed", 7), ("matched", 2), ("enqueued", 2)]);
        let all = json!({ "repository": &repository, "newest": 50, "tags": &wanted });
        assert_counts(&backfilled(&world, &mut fanout, all).await, &[("matched", 6)]);
        assert_eq!(tags(&world).len(), 6);
        // Day 3, an hour before; in another time zone.
        let since = json!({ "repository": &repository, "pushed_since": "2026-09-24T15:13:20+02:00", "tags": &wanted });
        backfilled(&world, &mut fanout, since).await;
        assert_eq!(tags(&world), ["v3", "v4", "v5"]);
    })
    .await;
}

#[tokio::test]
async fn a_tag_that_is_to_be_kept_is_not_enqueued() {
    watched(async {
        let mut world = world().await;
        world.rule().insert("existing_tag".into(), json!("keep"));
        Image::small(1).push_to(world.source.store(), "team/app", "v1");
        Image::small(2).push_to(world.destination.store(), "mirror/team/app", "v1");
        let mut fanout = fanout(&world).await;
        let summary = backfilled(&world, &mut fanout, json!({ "repository": format!("{SOURCE}/team/app") })).await;
        assert_counts(&summary, &[("matched", 1), ("kept", 1), ("different", 0), ("enqueued", 0)]);
    })
    .await;
}

#[tokio::test]
async fn what_a_backfill_may_not_read_is_named() {
    watched(async {
        let world = world().await;
        Image::builder().layer(raw_layer(1, 10)).build().push_to(world.source.store(), "team/app", "v1");
        let mut fanout = fanout(&world).await;
        let dead = |world: &World| {
            let letter = world.aws.sqs().messages("dead").pop().expect("it is a dead letter");
            let attribute = |name: &str| letter.attribute(name).unwrap_or_default().to_owned();
            (attribute("error_type"), attribute("error_message"))
        };
        let (one, glob) = (format!("{SOURCE}/team/app"), format!("{SOURCE}/team/*"));
        for (operation, repository) in
            [("DescribeImages", &one), ("DescribeRepositories", &glob), ("BatchGetImage", &one)]
        {
            world.ecr.deny(operation);
            let summary = backfilled(&world, &mut fanout, json!({ "repository": repository })).await;
            world.ecr.allow(operation);
            assert_eq!(summary["error_type"], "Denied", "{summary}");
            assert_eq!(summary["finished"], false);
            let (error_type, message) = dead(&world);
            assert_eq!(error_type, "Denied");
            assert!(message.contains(&format!("(ecr:{operation}, account")), "{message}");
        }
        world.source.store().deny("team/app", Access::Pull);
        assert_eq!(backfilled(&world, &mut fanout, json!({ "repository": one })).await["error_type"], "Denied");
        let gone = json!({ "repository": format!("{SOURCE}/team/gone") });
        assert_eq!(backfilled(&world, &mut fanout, gone).await["error_type"], "SourceNotFound");
        assert_eq!(enqueued(&world).len(), 0);
    })
    .await;
}
