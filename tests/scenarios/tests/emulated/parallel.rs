//! The same image from several sides: messages that come twice, workers at once, a tag that moves meanwhile. All end in
//! the right digest, and what one has committed nobody sends again.

use std::time::Duration;

use emulator::{Action, Fault, Image, Kind, Origin, Personality, image::raw_layer};
use scenarios::{
    EventSource, Function, Outcome, World,
    event_source::Delivery,
    world::{SOURCE, push_event},
};
use serde_json::json;

use crate::support::{LIMIT, digits, eventually, image_message, logged_results, results, watched};

const MIRROR: &str = "mirror/team/app";

/// An image of a large layer, which is committed while the small one is on its way.
fn image() -> Image {
    Image::builder().layer(raw_layer(1, 90_000)).layer(raw_layer(2, 20_000)).build()
}

/// Both kinds of destination: one that is asked for many blobs at once, and one that is asked for each.
async fn worlds() -> Vec<World> {
    let worlds = vec![World::ecr(|ecr| ecr).await, World::to(Personality::Plain, |plain| plain).await];
    for world in &worlds {
        world.destination.store().create_repository(MIRROR);
        image().push_to(world.source.store(), "team/app", "v1");
        world.aws.sqs().create("work", Duration::from_secs(60));
    }
    worlds
}

fn message(world: &World) -> String {
    image_message(format!("{SOURCE}/team/app:v1"), format!("{}/{MIRROR}:v1", world.destination_host))
}

async fn deliver(world: &World, function: &mut Function) -> Delivery {
    EventSource::new(world.aws.sqs(), "work").timeout(LIMIT).deliver(function).await.expect("a message is visible")
}

/// How often a blob was sent whole.
fn sent(world: &World, blob: &str) -> usize {
    let puts = world.destination.journal().of(Kind::UploadPut).into_iter();
    puts.filter(|put| put.query.as_deref().is_some_and(|query| query.contains(digits(blob)))).count()
}

/// Holds the next read of the small layer up, so that the large one is committed meanwhile.
fn hold_up(world: &World, image: &Image) {
    let small = digits(image.layers[1].digest());
    let slow = Fault::on(Kind::BlobGet).at(Origin::Blobs).path(small).then(Action::Delay(Duration::from_secs(4)));
    world.source.faults().add(slow);
}

async fn until_the_large_layer_is_there(world: &World, image: &Image) {
    let store = world.destination.store();
    eventually("the large layer is there", || store.has_blob(MIRROR, image.layers[0].digest())).await;
}

#[tokio::test]
async fn a_message_that_comes_twice_is_done_once() {
    watched(async {
        for world in worlds().await {
            let image = image();
            let mut fanout = world.function("fanout", &[]).await;
            for _ in 0..2 {
                world.aws.sqs().send("work", &message(&world));
                assert!(deliver(&world, &mut fanout).await.kept.is_empty());
            }
            eventually("both results are logged", || logged_results(&fanout).len() == 2).await;
            let outcomes: Vec<_> = logged_results(&fanout).iter().map(|result| result["outcome"].clone()).collect();
            assert_eq!(outcomes, ["synced", "current"]);
            let journal = world.destination.journal();
            assert_eq!((journal.count(Kind::UploadPut), journal.count(Kind::ManifestPut)), (image.blobs().len(), 1));
            world.destination.store().is_whole(MIRROR, "v1").unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn of_two_workers_with_one_image_the_second_sends_nothing_that_the_first_has_committed() {
    watched(async {
        for world in worlds().await {
            let image = image();
            world.aws.sqs().send("work", &message(&world));
            world.aws.sqs().send("work", &message(&world));
            hold_up(&world, &image);
            let mut one = world.function("fanout", &[]).await;
            let mut other = world.function("fanout", &[]).await;
            other.ready().await.unwrap();
            let second = async {
                until_the_large_layer_is_there(&world, &image).await;
                deliver(&world, &mut other).await
            };
            let (first, second) = tokio::join!(deliver(&world, &mut one), second);
            assert!(first.kept.is_empty() && second.kept.is_empty(), "{first:?} {second:?}");
            assert_eq!(sent(&world, image.layers[0].digest()), 1);
            assert_eq!(world.source.journal().of(Kind::BlobGet).iter().filter(|get| of_large(get, &image)).count(), 1);
            assert_eq!(world.destination.store().tag(MIRROR, "v1"), Some(image.digest.clone()));
            world.destination.store().is_whole(MIRROR, "v1").unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn who_was_overtaken_by_another_worker_does_not_send_what_that_one_committed_meanwhile() {
    watched(async {
        for mut world in worlds().await {
            world.config["limits"] = json!({ "blob_concurrency": 1 });
            let image = image();
            world.aws.sqs().send("work", &message(&world));
            world.aws.sqs().send("work", &message(&world));
            // The first one has asked for everything, and is held up with the large layer before it comes to the others.
            let large = digits(image.layers[0].digest());
            let slow =
                Fault::on(Kind::BlobGet).at(Origin::Blobs).path(large).then(Action::Delay(Duration::from_secs(5)));
            let held_up = world.source.faults().add(slow);
            let mut one = world.function("fanout", &[]).await;
            let mut other = world.function("fanout", &[]).await;
            other.ready().await.unwrap();
            let overtakes = async {
                eventually("the first one is held up", || held_up.count() == 1).await;
                deliver(&world, &mut other).await
            };
            let (first, second) = tokio::join!(deliver(&world, &mut one), overtakes);
            assert!(first.kept.is_empty() && second.kept.is_empty(), "{first:?} {second:?}");
            assert_eq!(sent(&world, image.layers[1].digest()), 1, "{}", world.destination.personality().name());
            assert_eq!(sent(&world, &image.blobs()[0]), 1);
            world.destination.store().is_whole(MIRROR, "v1").unwrap();
        }
    })
    .await;
}

fn of_large(get: &emulator::Entry, image: &Image) -> bool {
    get.origin == Origin::Blobs && get.path.contains(digits(image.layers[0].digest()))
}

#[tokio::test]
async fn on_push_and_fanout_on_one_image_do_not_send_it_twice() {
    watched(async {
        for world in worlds().await {
            let image = image();
            world.aws.sqs().send("work", &message(&world));
            hold_up(&world, &image);
            let mut on_push = world.function("on-push", &[]).await;
            let mut fanout = world.function("fanout", &[]).await;
            fanout.ready().await.unwrap();
            let second = async {
                until_the_large_layer_is_there(&world, &image).await;
                deliver(&world, &mut fanout).await
            };
            let (first, second) =
                tokio::join!(results(&mut on_push, push_event("team/app", "v1", &image.digest)), second);
            assert!(["synced", "current"].iter().any(|outcome| first[0]["outcome"] == *outcome), "{first:?}");
            assert_eq!(second.outcome, Outcome::Ok(json!({ "batchItemFailures": [] })));
            assert_eq!(sent(&world, image.layers[0].digest()), 1);
            world.destination.store().is_whole(MIRROR, "v1").unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_tag_that_moves_between_two_workers_ends_at_the_newest() {
    watched(async {
        for world in worlds().await {
            let (old, new) = (image(), Image::small(7));
            hold_up(&world, &old);
            world.aws.sqs().send("work", &message(&world));
            world.aws.sqs().send("work", &message(&world));
            let mut one = world.function("fanout", &[]).await;
            let mut other = world.function("fanout", &[]).await;
            other.ready().await.unwrap();
            let overtakes = async {
                until_the_large_layer_is_there(&world, &old).await;
                new.push_to(world.source.store(), "team/app", "v1");
                let delivery = deliver(&world, &mut other).await;
                assert_eq!(world.destination.store().tag(MIRROR, "v1"), Some(new.digest.clone()));
                delivery
            };
            let (first, second) = tokio::join!(deliver(&world, &mut one), overtakes);
            assert!(first.kept.is_empty() && second.kept.is_empty(), "{first:?} {second:?}");
            assert_eq!(world.destination.store().tag(MIRROR, "v1"), Some(new.digest.clone()));
            assert_eq!(
                sent(&world, new.layers[0].digest()),
                1,
                "{:?}",
                world.destination.journal().of(Kind::UploadPut)
            );
            world.destination.store().is_whole(MIRROR, "v1").unwrap();
        }
    })
    .await;
}

/// Layers of which one alone has room in a buffer of a MiB.
fn roomy() -> Image {
    Image::builder().layer(raw_layer(1, 2_000_000)).layer(raw_layer(2, 1_500_000)).build()
}

#[tokio::test]
async fn who_waited_for_room_does_not_send_what_another_worker_committed_meanwhile() {
    watched(async {
        let public = World::to(Personality::EcrPublic, |public| public.alias("mirror")).await;
        for mut world in worlds().await.into_iter().chain([public]) {
            // All blobs are begun at once, and wait for the one that has all the room.
            world.config["limits"] = json!({ "buffer_bytes": 1 << 20 });
            let image = roomy();
            world.destination.store().create_repository(MIRROR);
            image.push_to(world.source.store(), "team/app", "v1");
            world.aws.sqs().create("work", Duration::from_secs(60));
            world.aws.sqs().send("work", &message(&world));
            world.aws.sqs().send("work", &message(&world));
            let large = digits(image.layers[0].digest());
            let slow =
                Fault::on(Kind::BlobGet).at(Origin::Blobs).path(large).then(Action::Delay(Duration::from_secs(5)));
            let held_up = world.source.faults().add(slow);
            let mut one = world.function("fanout", &[]).await;
            let mut other = world.function("fanout", &[]).await;
            other.ready().await.unwrap();
            let overtakes = async {
                eventually("the first one is held up", || held_up.count() == 1).await;
                deliver(&world, &mut other).await
            };
            let (first, second) = tokio::join!(deliver(&world, &mut one), overtakes);
            assert!(first.kept.is_empty() && second.kept.is_empty(), "{first:?} {second:?}");
            assert_eq!(sent(&world, image.layers[1].digest()), 1, "{}", world.destination.personality().name());
            world.destination.store().is_whole(MIRROR, "v1").unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn an_event_that_comes_twice_without_a_queue_sends_nothing_twice_that_was_committed_meanwhile() {
    watched(async {
        for mut world in worlds().await {
            world.config["limits"] = json!({ "blob_concurrency": 1 });
            let image = image();
            let large = digits(image.layers[0].digest());
            let slow =
                Fault::on(Kind::BlobGet).at(Origin::Blobs).path(large).then(Action::Delay(Duration::from_secs(5)));
            let held_up = world.source.faults().add(slow);
            let mut one = world.function("on-push", &[]).await;
            let mut other = world.function("on-push", &[]).await;
            other.ready().await.unwrap();
            let event = || push_event("team/app", "v1", &image.digest);
            let overtakes = async {
                eventually("the first one is held up", || held_up.count() == 1).await;
                results(&mut other, event()).await
            };
            let (first, second) = tokio::join!(results(&mut one, event()), overtakes);
            assert_eq!(second[0]["outcome"], "synced", "{first:?} {second:?}");
            assert_eq!(sent(&world, image.layers[1].digest()), 1, "{}", world.destination.personality().name());
            assert_eq!(sent(&world, &image.blobs()[0]), 1);
            world.destination.store().is_whole(MIRROR, "v1").unwrap();
        }
    })
    .await;
}
