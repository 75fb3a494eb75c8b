//! A queue of which a quarter can never succeed, each message for another reason.

use std::{collections::BTreeMap, time::Duration};

use emulator::{Access, Image};
use scenarios::{
    EventSource, World,
    world::{DESTINATION, SOURCE},
};
use serde_json::{Value, json};

use crate::support::{LIMIT, eventually, image_message, logged_results, watched};

const GOOD: u64 = 15;

fn message(repository: &str, tag: &str) -> String {
    image_message(format!("{SOURCE}/{repository}:{tag}"), format!("{DESTINATION}/mirror/{repository}:{tag}"))
}

/// What can never be done, and what that is called and says.
fn hopeless(world: &World) -> Vec<(String, &'static str, &'static str)> {
    let (source, destination) = (world.source.store(), world.destination.store());
    for repository in ["team/fixed", "team/secret"] {
        Image::small(100).push_to(source, repository, "v1");
        destination.create_repository(&format!("mirror/{repository}"));
    }
    Image::small(101).push_to(destination, "mirror/team/fixed", "v1");
    destination.set_immutable("mirror/team/fixed", true);
    destination.deny("mirror/team/secret", Access::Push);
    let source = format!("{SOURCE}/team/app:v1");
    vec![
        ("source=team/app".to_owned(), "InvalidEvent", "no JSON"),
        (json!({ "source": source, "destinaton": "x" }).to_string(), "InvalidEvent", "`destinaton`"),
        (message("team/app", "gone"), "SourceNotFound", "gone"),
        (message("team/fixed", "v1"), "TagImmutable", "mirror/team/fixed"),
        (message("team/secret", "v1"), "Denied", "mirror/team/secret"),
    ]
}

#[tokio::test]
async fn of_twenty_messages_fifteen_are_synced_and_five_explained() {
    watched(async {
        let world = World::ecr(|destination| destination).await;
        world.destination.store().create_repository("mirror/team/app");
        let hopeless = hopeless(&world);
        let sqs = world.aws.sqs();
        let work = sqs.create("work", Duration::from_secs(30));
        let dead = sqs.create("dead", Duration::from_secs(30));
        // A message that is received a second time would be moved by the queue itself, and have no reason.
        sqs.create("exhausted", Duration::from_secs(30));
        sqs.redrive("work", "exhausted", 1);
        for number in 0..GOOD {
            let tag = format!("v{number}");
            Image::small(number).push_to(world.source.store(), "team/app", &tag);
            sqs.send("work", &message("team/app", &tag));
            if number % 3 == 1 {
                sqs.send("work", &hopeless[usize::try_from(number / 3).unwrap()].0);
            }
        }
        let env = [("TRANSSHIP_QUEUE_URL", work.as_str()), ("TRANSSHIP_DEAD_LETTER_QUEUE_URL", dead.as_str())];
        let mut fanout = world.function("fanout", &env).await;
        let deliveries = EventSource::new(sqs, "work").batch_size(10).timeout(LIMIT).drain(&mut fanout, 9).await;
        sqs.skip_waiting("work");
        assert!(sqs.receive_event("work", 10).is_none(), "nothing is left");
        assert_eq!((sqs.messages("work").len(), sqs.messages("exhausted").len()), (0, 0));
        let received: usize = deliveries.iter().map(|one| one.event["Records"].as_array().unwrap().len()).sum();
        assert_eq!((deliveries.len(), received), (2, 20), "every message came once");
        assert!(deliveries.iter().all(|delivery| delivery.kept.is_empty()), "{deliveries:?}");

        for number in 0..GOOD {
            world.destination.store().is_whole("mirror/team/app", &format!("v{number}")).unwrap();
        }
        let letters = sqs.messages("dead");
        assert_eq!(letters.len(), hopeless.len());
        for (body, error_type, part) in &hopeless {
            let letter = letters.iter().find(|letter| letter.body == *body).expect("the body is as it was");
            assert_eq!(letter.attribute("error_type"), Some(*error_type), "{letter:?}");
            assert!(letter.attribute("error_message").unwrap().contains(part), "{letter:?}");
            let ids = deliveries.iter().flat_map(|one| one.event["Records"].as_array().unwrap());
            let original = ids.filter(|record| record["body"] == body.as_str()).map(|record| &record["messageId"]);
            assert_eq!(original.collect::<Vec<_>>(), [letter.attribute("message_id").unwrap()]);
        }
        let mut asked: BTreeMap<(String, String), usize> = BTreeMap::new();
        for entry in world.source.journal().entries().into_iter().chain(world.destination.journal().entries()) {
            if ["gone", "team/fixed", "team/secret"].iter().any(|part| entry.path.contains(part)) {
                *asked.entry((entry.method, entry.path)).or_default() += 1;
            }
        }
        assert!(asked.len() >= 5, "{asked:?}");
        assert!(asked.values().all(|times| *times <= 2), "none is tried more than once again: {asked:?}");
        said(&fanout, 20, GOOD).await;
    })
    .await;
}

/// What the function's own count says of its batches, and of each sync.
async fn said(fanout: &scenarios::Function, messages: u64, done: u64) {
    let lines = || fanout.records().into_iter().filter(|record| record["message"] == "batch").collect::<Vec<Value>>();
    eventually("both batches are counted", || lines().len() == 2).await;
    let sum = |name: &str| lines().iter().map(|line| line[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!(
        ["Messages", "MessagesDone", "MessagesBuried", "MessagesFailed", "MessagesUnfinished"].map(sum),
        [messages, done, messages - done, 0, 0]
    );
    let metrics = &lines()[0]["_aws"]["CloudWatchMetrics"][0];
    assert_eq!((&metrics["Namespace"], &metrics["Dimensions"]), (&json!("Transship"), &json!([["Function"]])));
    assert_eq!(metrics["Metrics"].as_array().unwrap().len(), 6);
    let outcomes = logged_results(fanout);
    assert_eq!(outcomes.iter().filter(|result| result["outcome"] == "synced").count() as u64, done);
}
