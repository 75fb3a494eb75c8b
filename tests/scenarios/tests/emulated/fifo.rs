//! What the functions send to a FIFO queue: it is taken, none of it is dropped as a repetition, and one that has to wait
//! stops no other.

use std::{collections::BTreeSet, time::Duration};

use emulator::{Action, Fault, Image, Kind, Personality, Registry, image::generated_layer};
use scenarios::{EventSource, Function, World, flows::logged_results, world::push_event};
use serde_json::{Value, json};

use crate::support::{LIMIT, watched};

const QUEUE: &str = "work.fifo";

async fn fifo(world: &World) -> Function {
    let queue = |name: &str| world.aws.sqs().create(name, Duration::from_secs(60));
    let (work, dead) = (queue(QUEUE), queue("dead.fifo"));
    let env = [("TRANSSHIP_QUEUE_URL", work.as_str()), ("TRANSSHIP_DEAD_LETTER_QUEUE_URL", dead.as_str())];
    let mut fanout = world.function("fanout", &env).await;
    // Starting takes nothing of the short time of an invocation.
    fanout.ready().await.unwrap();
    fanout
}

/// Between plain registries, with so many images at the source.
async fn world(images: u64) -> World {
    let plain = || Registry::builder(Personality::Plain);
    let world = World::between(plain().list_page(10), plain()).await;
    for number in 0..images {
        Image::small(number).push_to(world.source.store(), "team/app", &format!("v{number}"));
    }
    world
}

fn order(world: &World) -> String {
    json!({ "backfill": { "repository": format!("{}/team/app", world.source_host) } }).to_string()
}

fn bodies(world: &World) -> Vec<Value> {
    world.aws.sqs().messages(QUEUE).iter().map(|message| serde_json::from_str(&message.body).unwrap()).collect()
}

#[tokio::test]
async fn a_backfill_that_outlasts_its_invocation_goes_on_through_a_fifo_queue() {
    watched(async {
        const IMAGES: u64 = 40;
        let world = world(IMAGES).await;
        let slow = Fault::on(Kind::ManifestHead).forever().then(Action::Delay(Duration::from_millis(1500)));
        world.source.faults().add(slow);
        let mut fanout = fifo(&world).await;
        world.aws.sqs().send_in_group(QUEUE, "operator", &order(&world));
        let mapping = EventSource::new(world.aws.sqs(), QUEUE).timeout(Duration::from_secs(4));
        assert!(mapping.deliver(&mut fanout).await.unwrap().kept.is_empty());
        let further = bodies(&world);
        let cursors = further.iter().filter(|body| body["backfill"]["cursor"].is_object()).count();
        assert_eq!(cursors, 1, "it goes on: {further:?}");
        world.source.faults().clear();
        let mapping = EventSource::new(world.aws.sqs(), QUEUE).batch_size(10).timeout(LIMIT);
        for delivery in mapping.drain(&mut fanout, 50).await {
            assert!(delivery.kept.is_empty(), "{delivery:?}");
        }
        assert_eq!(world.aws.sqs().messages(QUEUE).len() + world.aws.sqs().messages("dead.fifo").len(), 0);
        assert_eq!(world.destination.store().tags("mirror/team/app").len() as u64, IMAGES);
    })
    .await;
}

#[tokio::test]
async fn what_a_second_sweep_finds_missing_again_is_no_repetition_of_what_the_first_one_found() {
    watched(async {
        let world = world(3).await;
        let mut fanout = fifo(&world).await;
        let mapping = EventSource::new(world.aws.sqs(), QUEUE).batch_size(10).timeout(LIMIT);
        for sweep in 0..2 {
            // Not the same body, or the queue would rightly take the sweep itself for a repetition.
            let order = order(&world) + &" ".repeat(sweep);
            world.aws.sqs().send_in_group(QUEUE, "operator", &order);
            mapping.drain(&mut fanout, 9).await;
            let store = world.destination.store();
            assert_eq!(store.tags("mirror/team/app").len(), 3, "sweep {sweep}");
            store.remove_tag("mirror/team/app", "v1");
        }
    })
    .await;
}

#[tokio::test]
async fn an_image_of_a_backfill_that_has_to_wait_stops_no_other() {
    watched(async {
        let mut world = world(12).await;
        world.config["limits"] = json!({ "max_attempts": 1 });
        let mut fanout = fifo(&world).await;
        world.aws.sqs().send_in_group(QUEUE, "operator", &order(&world));
        let mapping = EventSource::new(world.aws.sqs(), QUEUE).timeout(LIMIT);
        mapping.deliver(&mut fanout).await.unwrap();
        let groups: BTreeSet<String> =
            world.aws.sqs().messages(QUEUE).iter().map(|message| message.group().unwrap().to_owned()).collect();
        assert_eq!(groups.len(), 12);
        let down = Fault::on(Kind::ManifestGet).path("/v0").forever().then(Action::status(503));
        world.source.faults().add(down);
        EventSource::new(world.aws.sqs(), QUEUE).batch_size(10).timeout(LIMIT).drain(&mut fanout, 9).await;
        assert_eq!(world.aws.sqs().messages(QUEUE).len(), 1, "one waits for its next try");
        assert_eq!(world.destination.store().tags("mirror/team/app").len(), 11);
    })
    .await;
}

#[tokio::test]
async fn the_rest_of_an_image_goes_on_through_a_fifo_queue() {
    watched(async {
        let world = World::ecr(|ecr| ecr.discard_blobs()).await;
        world.destination.store().create_repository("mirror/team/app");
        let image = Image::builder().layer(generated_layer(1, 96 << 20)).build();
        image.push_to(world.source.store(), "team/app", "v1");
        for kind in [Kind::UploadPut, Kind::UploadPatch] {
            world.destination.faults().add(Fault::on(kind).forever().then(Action::SlowRead(10 << 20)));
        }
        let mut fanout = fifo(&world).await;
        let event = push_event("team/app", "v1", &image.digest).to_string();
        world.aws.sqs().send_in_group(QUEUE, "operator", &event);
        let mapping = EventSource::new(world.aws.sqs(), QUEUE).timeout(Duration::from_secs(6));
        let deliveries = mapping.drain(&mut fanout, 20).await;
        assert!(deliveries.len() > 1 && deliveries.iter().all(|one| one.kept.is_empty()), "{deliveries:?}");
        world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
        let outcomes: Vec<Value> = logged_results(&fanout).iter().map(|result| result["outcome"].clone()).collect();
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == "continued").count(), deliveries.len() - 1);
    })
    .await;
}
