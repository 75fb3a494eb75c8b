//! `fanout`: what its messages may say, and what becomes of those that fail.

use std::time::Duration;

use emulator::{Action, Fault, Image, Kind};
use scenarios::{
    EventSource, Outcome, World,
    world::{DESTINATION, SOURCE},
};
use serde_json::{Value, json};

use crate::support::{LIMIT, delivered, eventually, image_message, logged_results, watched};

async fn world() -> (World, Image) {
    let mut world = World::ecr(|destination| destination).await;
    world.config["limits"] = json!({ "max_attempts": 2 });
    world.destination.store().create_repository("mirror/team/app");
    let image = Image::small(1);
    image.push_to(world.source.store(), "team/app", "v1");
    (world, image)
}

/// The work queue with these messages, and the dead-letter queue's URL.
fn queues(world: &World, bodies: &[&str]) -> String {
    world.aws.sqs().create("work", Duration::from_secs(30));
    for body in bodies {
        world.aws.sqs().send("work", body);
    }
    world.aws.sqs().create("dead", Duration::from_secs(30))
}

fn both_ends() -> String {
    image_message(format!("{SOURCE}/team/app:v1"), format!("{DESTINATION}/mirror/team/app:v1"))
}

#[tokio::test]
async fn a_message_may_name_both_ends() {
    watched(async {
        let (world, image) = world().await;
        let mut fanout = world.function("fanout", &[]).await;
        let delivery = delivered(&world, &mut fanout, &both_ends()).await;
        assert_eq!(delivery.outcome, Outcome::Ok(json!({ "batchItemFailures": [] })));
        assert_eq!(world.destination.store().tag("mirror/team/app", "v1"), Some(image.digest));
        world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
        assert_eq!(world.aws.sqs().messages("work").len(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_message_may_leave_its_destinations_to_the_rules() {
    watched(async {
        let (mut world, _) = world().await;
        let to = |prefix: &str| format!("{DESTINATION}/{prefix}/{{repository}}");
        world.rule().insert("destinations".into(), json!([to("mirror"), to("other")]));
        world.destination.store().create_repository("other/team/app");
        let mut fanout = world.function("fanout", &[]).await;
        let body = json!({ "source": format!("{SOURCE}/team/app:v1") }).to_string();
        assert!(delivered(&world, &mut fanout, &body).await.kept.is_empty());
        for prefix in ["mirror", "other"] {
            world.destination.store().is_whole(&format!("{prefix}/team/app"), "v1").unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_message_may_name_a_digest() {
    watched(async {
        let (world, image) = world().await;
        let newer = Image::small(2);
        newer.push_to(world.source.store(), "team/app", "v1");
        let mut fanout = world.function("fanout", &[]).await;
        let body = image_message(
            format!("{SOURCE}/team/app@{}", image.digest),
            format!("{DESTINATION}/mirror/team/app:pinned"),
        );
        assert!(delivered(&world, &mut fanout, &body).await.kept.is_empty());
        assert_eq!(world.destination.store().tag("mirror/team/app", "pinned"), Some(image.digest));
        assert_eq!(world.source.journal().count(Kind::ManifestHead), 0, "a digest does not move");
    })
    .await;
}

#[tokio::test]
async fn the_sample_of_a_queues_batch_is_done() {
    watched(async {
        let (world, _) = world().await;
        let image = Image::small(7);
        image.push_to(world.source.store(), "team/app", "v1.4.0");
        let sample: Value = serde_json::from_str(include_str!("../../../../events/sqs-image.json")).unwrap();
        let mut fanout = world.function("fanout", &[]).await;
        assert_eq!(fanout.invoke(sample, LIMIT).await, Outcome::Ok(json!({ "batchItemFailures": [] })));
        assert_eq!(world.destination.store().tag("mirror/team/app", "v1.4.0"), Some(image.digest));
    })
    .await;
}

#[tokio::test]
async fn a_message_that_can_never_succeed_goes_to_the_dead_letters_with_its_reason() {
    watched(async {
        let (world, _) = world().await;
        let gone = image_message(format!("{SOURCE}/team/app:gone"), format!("{DESTINATION}/mirror/team/app:gone"));
        let nowhere = image_message(format!("{SOURCE}/team/app:v1"), format!("{DESTINATION}/not/there:v1"));
        let rest = |begun: Value| {
            let mut body: Value = serde_json::from_str(&both_ends()).unwrap();
            body["begun"] = begun;
            body
        };
        let unversioned = rest(json!({ "invocations": 1, "fruitless": 0 })).to_string();
        let mut unknown = rest(json!({ "invocations": 1, "fruitless": 0, "sessions": [] }));
        unknown["version"] = json!(1);
        let unknown = unknown.to_string();
        for (body, error_type, part) in [
            ("no JSON", "InvalidEvent", "message"),
            (r#"{"source":"ghcr.io/a/b:c","destinaton":"x"}"#, "InvalidEvent", "destinaton"),
            (r#"{"backfill":{"repositry":"ghcr.io/a/b"}}"#, "InvalidEvent", "repositry"),
            (r#"{"backfill":{"cursor":{"counts":{},"at":1}}}"#, "InvalidEvent", "backfill.cursor"),
            (unversioned.as_str(), "InvalidEvent", "says no `version`"),
            (unknown.as_str(), "InvalidEvent", "`sessions`"),
            (r#"{"source":"ghcr.io/UPPER/b:c","destination":"ghcr.io/a/c:c"}"#, "InvalidReference", "UPPER"),
            (gone.as_str(), "SourceNotFound", "gone"),
            (nowhere.as_str(), "RepositoryNotFound", "not/there"),
        ] {
            let url = queues(&world, &[body]);
            let mut fanout = world.function("fanout", &[("TRANSSHIP_DEAD_LETTER_QUEUE_URL", url.as_str())]).await;
            let delivery = EventSource::new(world.aws.sqs(), "work").timeout(LIMIT).deliver(&mut fanout).await.unwrap();
            assert_eq!(delivery.outcome, Outcome::Ok(json!({ "batchItemFailures": [] })), "{body}");
            assert_eq!(world.aws.sqs().messages("work").len(), 0);
            let dead = world.aws.sqs().messages("dead").pop().unwrap();
            assert_eq!(dead.body, body, "as it came");
            assert_eq!(dead.attribute("error_type"), Some(error_type), "{body}: {dead:?}");
            let message = dead.attribute("error_message").unwrap_or_default();
            assert!(message.contains(part), "{body}: {message}");
        }
        assert_eq!(world.aws.sqs().messages("dead").len(), 9);
    })
    .await;
}

#[tokio::test]
async fn without_dead_letters_such_a_message_stays_in_its_queue() {
    watched(async {
        let (world, _) = world().await;
        let mut fanout = world.function("fanout", &[]).await;
        let delivery = delivered(&world, &mut fanout, "no JSON").await;
        assert_eq!(delivery.kept.len(), 1);
        assert_eq!(world.aws.sqs().messages("work").len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_message_is_not_dropped_when_the_dead_letters_do_not_take_it() {
    watched(async {
        let (world, _) = world().await;
        let url = queues(&world, &["no JSON"]);
        let refused = emulator::aws::ApiError::client("AccessDeniedException", "no");
        world.aws.fail_next("SendMessage", refused, 1);
        let mut fanout = world.function("fanout", &[("TRANSSHIP_DEAD_LETTER_QUEUE_URL", url.as_str())]).await;
        let delivery = EventSource::new(world.aws.sqs(), "work").timeout(LIMIT).deliver(&mut fanout).await.unwrap();
        assert_eq!(delivery.kept.len(), 1);
        assert_eq!(world.aws.sqs().messages("dead").len(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_message_that_may_succeed_later_comes_again_alone() {
    watched(async {
        let (world, image) = world().await;
        image.push_to(world.source.store(), "team/other", "v1");
        world.destination.store().create_repository("mirror/team/other");
        let other = image_message(format!("{SOURCE}/team/other:v1"), format!("{DESTINATION}/mirror/team/other:v1"));
        let url = queues(&world, &[&both_ends(), &other]);
        let down = Action::error(503, "UNAVAILABLE", "come back later");
        world.source.faults().add(Fault::any().path("/v2/team/app/").forever().then(down));
        let mut fanout = world.function("fanout", &[("TRANSSHIP_DEAD_LETTER_QUEUE_URL", url.as_str())]).await;
        let source = EventSource::new(world.aws.sqs(), "work").batch_size(10).timeout(LIMIT);
        let delivery = source.deliver(&mut fanout).await.unwrap();
        assert_eq!(delivery.event["Records"].as_array().unwrap().len(), 2);
        assert_eq!(delivery.kept.len(), 1, "{delivery:?}");
        assert_eq!(world.aws.sqs().messages("work")[0].body, both_ends());
        assert_eq!(world.aws.sqs().messages("dead").len(), 0);
        world.destination.store().is_whole("mirror/team/other", "v1").unwrap();
        assert_eq!(world.destination.store().tag("mirror/team/app", "v1"), None);
        eventually("the results are logged", || logged_results(&fanout).len() == 2).await;
        assert_eq!(logged_results(&fanout)[0]["error_type"], "Unavailable");

        world.source.faults().clear();
        world.aws.sqs().skip_waiting("work");
        assert!(source.deliver(&mut fanout).await.unwrap().kept.is_empty());
        world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
        assert_eq!(world.aws.sqs().messages("work").len(), 0);
    })
    .await;
}
