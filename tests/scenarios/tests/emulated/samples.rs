//! The batches in `events/`, as a user would hand them to `fanout`: each does what its row of the README says.

use std::{fs, path::Path, time::Duration};

use emulator::stage::PushedImage;
use scenarios::{Outcome, World};
use serde_json::{Value, json};

use crate::support::{LIMIT, watched};

fn sample(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events").join(name);
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Runs a sample in a world of its own, which has the demo's image at the source; what it enqueued.
async fn run(name: &str) -> (World, String, Vec<Value>) {
    run_with(name, false).await
}

/// Likewise, where the destination may have the image, too.
async fn run_with(name: &str, current: bool) -> (World, String, Vec<Value>) {
    let world = World::ecr(|destination| destination).await;
    let image = PushedImage::build();
    image.push_to(world.source.store(), "team/app", "v1.4.0");
    world.destination.store().create_repository("mirror/team/app");
    if current {
        image.push_to(world.destination.store(), "mirror/team/app", "v1.4.0");
    }
    let url = world.aws.sqs().create("transship", Duration::from_secs(30));
    let mut fanout = world.function("fanout", &[("TRANSSHIP_QUEUE_URL", url.as_str())]).await;
    let outcome = fanout.invoke(sample(name), LIMIT).await;
    assert_eq!(outcome, Outcome::Ok(json!({ "batchItemFailures": [] })), "{name}: {:?}", fanout.lines());
    let messages = world.aws.sqs().messages("transship").into_iter();
    let bodies = messages.map(|message| serde_json::from_str(&message.body).unwrap()).collect();
    (world, image.index.digest, bodies)
}

#[tokio::test]
async fn samples_that_name_an_image_replicate_it() {
    watched(async {
        for name in ["sqs-image.json", "sqs-rules.json", "sqs-eventbridge.json", "sqs-continuation.json"] {
            let (world, digest, enqueued) = run(name).await;
            let store = world.destination.store();
            assert_eq!(store.tag("mirror/team/app", "v1.4.0"), Some(digest), "{name}");
            store.is_whole("mirror/team/app", "v1.4.0").unwrap();
            assert!(enqueued.is_empty(), "{name}: {enqueued:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_sample_of_a_backfill_enqueues_what_is_missing() {
    watched(async {
        let (world, digest, enqueued) = run("sqs-backfill.json").await;
        let [message] = &enqueued[..] else { panic!("one image is missing: {enqueued:?}") };
        assert!(message["source"].as_str().unwrap().ends_with("/team/app:v1.4.0"), "{message}");
        assert_eq!(message["expected_digest"], digest.as_str());
        assert_eq!(world.destination.store().tags("mirror/team/app").len(), 0, "that is for another invocation");
    })
    .await;
}

#[tokio::test]
async fn the_sample_of_a_sweep_enqueues_what_is_there_too() {
    watched(async {
        let (_, digest, enqueued) = run_with("sqs-sweep.json", true).await;
        assert_eq!(enqueued.len(), 1, "{enqueued:?}");
        assert_eq!(enqueued[0]["expected_digest"], digest.as_str());
        assert!(run_with("sqs-backfill.json", true).await.2.is_empty());
    })
    .await;
}

#[tokio::test]
async fn the_sample_of_a_backfill_with_a_destination_says_how_its_images_are_synced() {
    watched(async {
        let (_, _, enqueued) = run("sqs-backfill-destination.json").await;
        assert_eq!(enqueued.len(), 1, "{enqueued:?}");
        assert!(enqueued[0]["destination"].as_str().unwrap().ends_with("/mirror/team/app:v1.4.0"));
        assert_eq!(enqueued[0]["platforms"], json!(["linux/amd64"]));
        assert_eq!(enqueued[0]["existing_tag"], "keep");
    })
    .await;
}
