//! The trace of a push goes along with the messages that it makes, and so does its time.

use std::time::{Duration, SystemTime};

use emulator::{Image, aws::sqs::Message};
use scenarios::{
    EventSource, Function, World,
    world::{DESTINATION, SOURCE, push_event},
};
use serde_json::{Value, json};

use crate::support::{LIMIT, eventually, results, watched};

const HEADER: &str =
    "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=3fe1be46a994272793;Sampled=1;Lineage=1:a87bd80c:0";
const TRACE: &str = "1-5759e988-bd862e3fe1be46a994272793";

/// To two repositories of the destination, by way of a queue.
async fn world() -> (World, Image, [String; 2]) {
    let mut world = World::ecr(|destination| destination).await;
    let to = |prefix: &str| format!("{DESTINATION}/{prefix}/{{repository}}");
    world.config["rules"] = json!([{ "destinations": [to("one"), to("two")] }]);
    for prefix in ["one", "two"] {
        world.destination.store().create_repository(&format!("{prefix}/team/app"));
    }
    let image = Image::small(1);
    image.push_to(world.source.store(), "team/app", "v1");
    let urls = ["work", "dead"].map(|name| world.aws.sqs().create(name, Duration::from_secs(30)));
    (world, image, urls)
}

fn env([work, dead]: &[String; 2]) -> [(&str, &str); 3] {
    [("TRANSSHIP_QUEUE_URL", work), ("TRANSSHIP_DEAD_LETTER_QUEUE_URL", dead), ("AWS_LAMBDA_LOG_LEVEL", "DEBUG")]
}

fn header(message: &Message) -> &str {
    message.system.get("AWSTraceHeader").map(String::as_str).unwrap_or_default()
}

/// The lines about messages, which say what the message's trace is.
fn of_messages(function: &Function) -> Vec<Value> {
    function.records().into_iter().filter(|record| record["message_id"].is_string()).collect()
}

async fn has_results(function: &Function, count: usize) -> Vec<Value> {
    let lines = || function.records().into_iter().filter(|line| line["message"] == "result").collect::<Vec<_>>();
    eventually("the results are logged", || lines().len() == count).await;
    lines()
}

#[tokio::test]
async fn the_trace_of_a_push_goes_through_the_queue_to_the_lines_of_its_syncs() {
    watched(async {
        let (world, image, urls) = world().await;
        let mut on_push = world.function("on-push", &env(&urls)).await;
        results(&mut on_push, push_event("team/app", "v1", &image.digest)).await;
        let messages = world.aws.sqs().messages("work");
        let queued = || on_push.records().into_iter().rfind(|record| record["message"] == "queued");
        eventually("that they are queued is logged", || queued().is_some()).await;
        let trace = queued().unwrap()["xrayTraceId"].as_str().unwrap().to_owned();
        for message in &messages {
            assert!(header(message).starts_with(&format!("Root={trace};Parent=")), "{message:?}");
            assert!(!message.body.contains(&trace), "the body is what it was: {}", message.body);
        }

        let mut fanout = world.function("fanout", &env(&urls)).await;
        let deliveries = EventSource::new(world.aws.sqs(), "work").timeout(LIMIT).drain(&mut fanout, 9).await;
        assert_eq!(deliveries.len(), 2);
        let lines = has_results(&fanout, 2).await;
        assert!(lines.iter().all(|line| line["xrayTraceId"] == trace.as_str()), "{lines:?}");
        let of_messages = of_messages(&fanout);
        assert!(of_messages.iter().any(|line| line["stage"] == "transfer"), "{of_messages:?}");
        assert!(of_messages.iter().all(|line| line["xrayTraceId"] == trace.as_str()), "{of_messages:?}");
        let batches: Vec<Value> = fanout.records().into_iter().filter(|line| line["message"] == "batch").collect();
        assert!(batches.iter().all(|line| line["xrayTraceId"] != trace.as_str()), "a batch is its invocation's own");
    })
    .await;
}

#[tokio::test]
async fn what_a_message_makes_of_itself_stays_in_its_trace() {
    watched(async {
        let (world, image, urls) = world().await;
        let orders = world.aws.sqs().create("orders", Duration::from_secs(30));
        let mut fanout = world.function("fanout", &env(&urls)).await;
        let bodies = [
            push_event("team/app", "v1", &image.digest).to_string(),
            json!({ "backfill": { "repository": format!("{SOURCE}/team/app") } }).to_string(),
            "no JSON".to_owned(),
        ];
        for body in bodies {
            world.aws.sqs().send_traced(&orders, &body, HEADER);
            EventSource::new(world.aws.sqs(), "orders").timeout(LIMIT).deliver(&mut fanout).await.unwrap();
        }
        let (work, dead) = (world.aws.sqs().messages("work"), world.aws.sqs().messages("dead"));
        assert_eq!((work.len(), dead.len()), (4, 1));
        assert!(work.iter().chain(&dead).all(|message| header(message) == HEADER), "{work:?} {dead:?}");
        eventually("the summary is logged", || fanout.records().iter().any(|line| line["message"] == "backfill")).await;
        for line in fanout.records().iter().filter(|line| line["message"] == "backfill") {
            assert_eq!(line["xrayTraceId"], TRACE);
        }
        assert!(of_messages(&fanout).iter().all(|line| line["xrayTraceId"] == TRACE));
    })
    .await;
}

#[tokio::test]
async fn a_header_that_sqs_would_refuse_is_not_handed_on() {
    watched(async {
        let (world, image, urls) = world().await;
        let mut fanout = world.function("fanout", &env(&urls)).await;
        let event = json!({ "Records": [{
            "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
            "receiptHandle": "AQEB",
            "body": push_event("team/app", "v1", &image.digest).to_string(),
            "attributes": { "ApproximateReceiveCount": "1", "AWSTraceHeader": "Root=one" },
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:111122223333:orders",
        }] });
        let answer = fanout.invoke(event, LIMIT).await.ok().unwrap();
        assert_eq!(answer["batchItemFailures"], json!([]));
        let work = world.aws.sqs().messages("work");
        assert_eq!(work.len(), 2);
        assert!(
            work.iter().all(|message| header(message).starts_with("Root=1-67891233-")),
            "the invocation's: {work:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn the_lag_is_counted_from_the_push_on_whatever_road_the_image_takes() {
    watched(async {
        let (mut world, image, urls) = world().await;
        // Kept apart: the second one is synced in place.
        let mut on_push = world.function("on-push", &env(&urls)).await;
        let mut event = push_event("team/app", "v1", &image.digest);
        let pushed = SystemTime::now() - Duration::from_secs(3600);
        let pushed = pushed.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let at = time::OffsetDateTime::from_unix_timestamp(i64::try_from(pushed).unwrap()).unwrap();
        event["time"] = at.format(&time::format_description::well_known::Rfc3339).unwrap().into();
        results(&mut on_push, event.clone()).await;
        let mut fanout = world.function("fanout", &env(&urls)).await;
        EventSource::new(world.aws.sqs(), "work").timeout(LIMIT).drain(&mut fanout, 9).await;
        world.config["rules"] = json!([{ "destinations": [format!("{DESTINATION}/three/{{repository}}")] }]);
        world.destination.store().create_repository("three/team/app");
        let mut alone = world.function("on-push", &[]).await;
        results(&mut alone, event).await;
        let lines = [has_results(&fanout, 2).await, has_results(&alone, 1).await].concat();
        for line in lines {
            let lag = line["ReplicationLag"].as_u64().unwrap_or_else(|| panic!("no lag: {line}"));
            assert!((3_600_000..3_700_000).contains(&lag), "{lag}");
        }
    })
    .await;
}
