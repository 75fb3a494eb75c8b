//! `fanout` behind an SQS that is not ours: partial batch responses, dead letters and their way back.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use aws_sdk_sqs::types::{
    MessageSystemAttributeName, MessageSystemAttributeNameForSends, MessageSystemAttributeValue, QueueAttributeName,
};
use emulator::{Action, Fault, Image, Kind};
use scenarios::{
    Function, World,
    flows::{image_message, watched},
    moto::Moto,
    world::{DESTINATION, SOURCE},
};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(90);

fn message(name: &str) -> String {
    image_message(format!("{SOURCE}/team/{name}:v1"), format!("{DESTINATION}/mirror/team/{name}:v1"))
}

async fn world(names: &[&str]) -> World {
    let mut world = World::ecr(|destination| destination).await;
    world.config["limits"] = json!({ "max_attempts": 2 });
    for (seed, name) in (1..).zip(names) {
        Image::small(seed).push_to(world.source.store(), &format!("team/{name}"), "v1");
        world.destination.store().create_repository(&format!("mirror/team/{name}"));
    }
    world
}

async fn fanout(world: &World, moto: &Moto, work: &str, dead: &str) -> Function {
    let env = [
        ("AWS_ENDPOINT_URL_SQS", moto.url()),
        ("TRANSSHIP_QUEUE_URL", work),
        ("TRANSSHIP_DEAD_LETTER_QUEUE_URL", dead),
    ];
    world.function("fanout", &env).await
}

fn tagged(world: &World, name: &str) -> bool {
    world.destination.store().is_whole(&format!("mirror/team/{name}"), "v1").is_ok()
}

#[tokio::test]
async fn what_is_buried_is_moved_back_and_done_once_its_trouble_is_mended() {
    watched(
        LIMIT,
        Box::pin(async {
            let (world, moto) = (world(&["one", "two"]).await, Moto::start().await);
            let work = moto.create("work", &[(QueueAttributeName::VisibilityTimeout, "600")]).await;
            let dead = moto.create("dead", &[]).await;
            let bodies = [message("one"), message("late"), "no JSON".to_owned(), message("two")];
            for body in &bodies {
                moto.sqs().send_message().queue_url(&work).message_body(body).send().await.unwrap();
            }
            let mut function = fanout(&world, &moto, &work, &dead).await;
            while moto.deliver(&work, 10, &mut function, LIMIT).await.is_some() {}
            assert!(tagged(&world, "one") && tagged(&world, "two"));
            assert_eq!(moto.count(&work).await, 0);
            let letters = moto.receive(&dead, 10).await;
            let mut told: Vec<(String, String)> = Vec::new();
            for letter in &letters {
                let attributes = letter.message_attributes.clone().unwrap();
                assert!(attributes.contains_key("error_message") && attributes.contains_key("message_id"));
                let error_type = attributes["error_type"].string_value.clone().unwrap();
                told.push((letter.body.clone().unwrap(), error_type));
                let request = moto.sqs().change_message_visibility().queue_url(&dead).visibility_timeout(0);
                request.receipt_handle(letter.receipt_handle.as_deref().unwrap()).send().await.unwrap();
            }
            told.sort();
            let expected = [("no JSON", "InvalidEvent"), (bodies[1].as_str(), "SourceNotFound")];
            assert_eq!(told, expected.map(|(body, error_type)| (body.to_owned(), error_type.to_owned())));

            Image::small(9).push_to(world.source.store(), "team/late", "v1");
            world.destination.store().create_repository("mirror/team/late");
            world.forget();
            assert_eq!(moto.move_all(&dead, &work).await, 2);
            while moto.deliver(&work, 10, &mut function, LIMIT).await.is_some() {}
            assert!(tagged(&world, "late"), "with the attributes of a letter, it is taken like any other");
            assert_eq!(
                (moto.count(&work).await, moto.count(&dead).await),
                (0, 1),
                "the hopeless one is a letter again"
            );
            assert_eq!(world.destination.journal().count(Kind::ManifestPut), 1, "the others are not touched");
        }),
    )
    .await;
}

#[tokio::test]
async fn a_trace_goes_through_a_queue_that_is_not_ours() {
    watched(
        LIMIT,
        Box::pin(async {
            let (world, moto) = (world(&[]).await, Moto::start().await);
            let (work, dead) = (moto.create("work", &[]).await, moto.create("dead", &[]).await);
            let header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=3fe1be46a9942727;Sampled=1";
            let traced =
                MessageSystemAttributeValue::builder().data_type("String").string_value(header).build().unwrap();
            let request = moto.sqs().send_message().queue_url(&work).message_body("no JSON");
            let request = request.message_system_attributes(MessageSystemAttributeNameForSends::AwsTraceHeader, traced);
            request.send().await.unwrap();
            let mut function = fanout(&world, &moto, &work, &dead).await;
            moto.deliver(&work, 10, &mut function, LIMIT).await.unwrap();
            // Moto leaves it out of what comes in batches.
            let letter = moto.receive(&dead, 10).await.remove(0);
            assert_eq!(letter.attributes.unwrap()[&MessageSystemAttributeName::AwsTraceHeader], header);
        }),
    )
    .await;
}

#[tokio::test]
async fn what_never_gets_better_is_moved_by_the_queues_own_policy_and_can_be_moved_back() {
    watched(
        LIMIT,
        Box::pin(async {
            let (world, moto) = (world(&["app", "other"]).await, Moto::start().await);
            let exhausted = moto.create("exhausted", &[]).await;
            let policy = Moto::redrive_to("exhausted", 2);
            let attributes =
                [(QueueAttributeName::RedrivePolicy, policy.as_str()), (QueueAttributeName::VisibilityTimeout, "600")];
            let work = moto.create("work", &attributes).await;
            let dead = moto.create("dead", &[]).await;
            for name in ["app", "other"] {
                moto.sqs().send_message().queue_url(&work).message_body(message(name)).send().await.unwrap();
            }
            let down = Action::error(503, "UNAVAILABLE", "come back later");
            world.source.faults().add(Fault::any().path("/v2/team/app/").forever().then(down));
            let mut function = fanout(&world, &moto, &work, &dead).await;
            // Twice it is received, the second time after the wait that the function asked for and not after ten minutes.
            // The third receive is the queue's to refuse.
            while moto.count(&work).await > 0 {
                moto.deliver(&work, 10, &mut function, LIMIT).await;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            assert!(tagged(&world, "other") && !tagged(&world, "app"));
            assert_eq!((moto.count(&exhausted).await, moto.count(&dead).await), (1, 0));

            world.source.faults().clear();
            assert_eq!(moto.move_all(&exhausted, &work).await, 1);
            assert!(moto.deliver(&work, 10, &mut function, LIMIT).await.is_some());
            assert!(tagged(&world, "app"));
            assert_eq!(moto.count(&work).await, 0);
        }),
    )
    .await;
}
