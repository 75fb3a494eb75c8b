//! `streams` is a cap on all requests to a registry that are open at once, whatever they are for; registries park or
//! refuse what is more.

use std::time::Duration;

use emulator::{Action, Fault, Image, Index, Kind, Personality, Registry, image::raw_layer};
use scenarios::{
    World,
    flows::{failed, pushed},
    world::{SOURCE, push_event},
};
use serde_json::json;

use crate::support::{TIMEOUT, asked, image_of, prepare, ready, side_by_side, synced, watched, world_to};

const LAYERS: u64 = 12;

/// A layer takes 300 ms, at either end.
const SIZE: usize = 30_000;
const RATE: u64 = 100_000;

/// Every other request takes so long, so that those that are sent at once are open at once.
const PAUSE: Duration = Duration::from_millis(40);

/// From ECR over TLS, slowly, with more blobs at once than there may be streams.
async fn world(personality: Personality, streams: u32) -> World {
    let mut world = world_to(personality, |builder| builder).await;
    for host in [world.source_host.clone(), world.destination_host.clone()] {
        world.registry_config(&host).insert("streams".into(), json!(streams));
    }
    world.config["limits"] = json!({ "blob_concurrency": 16 });
    for registry in [&world.source, &world.destination] {
        registry.faults().add(Fault::any().forever().then(Action::Delay(PAUSE)));
        registry.faults().add(Fault::on(Kind::UploadPut).forever().then(Action::SlowRead(RATE)));
        registry.faults().add(Fault::on(Kind::BlobGet).forever().then(Action::SlowWrite(RATE)));
    }
    world
}

/// The same within the source registry, which grants no mounts.
async fn world_within(streams: u32) -> World {
    let mut world = world(Personality::Ecr, streams).await;
    world.rule().insert("source".into(), json!({ "repository": "team/**" }));
    world.rule().insert("destinations".into(), json!([format!("{SOURCE}/mirror/{{repository}}")]));
    world.source.store().create_repository("mirror/team/app");
    prepare(&world, &image_of(LAYERS, SIZE));
    world
}

fn assert_capped(registry: &Registry, streams: u32, what: &str) {
    let peak = registry.journal().peak_streams();
    eprintln!("at most {streams} streams, {what}: {peak} were open at once");
    let other = asked(registry, |entry| !(entry.http2 && entry.tls));
    assert_eq!(other.len(), 0, "all over HTTP/2 and TLS: {other:?}");
    assert!(peak <= streams as usize, "{what}: {peak} streams were open at once, {streams} may be");
    assert!(peak > 1, "{what}: the cap slows down, it does not make it one by one");
}

/// As many platforms as the image has layers, so that there are as many manifests to look for, to read and to put.
fn index() -> Index {
    let image = |seed| Image::builder().platform("linux/amd64").layer(raw_layer(seed, SIZE / 2)).build();
    let images: Vec<Image> = (1..=LAYERS).map(image).collect();
    Index::of(&images.iter().collect::<Vec<_>>())
}

async fn between_registries(personality: Personality, streams: u32, many_manifests: bool) {
    let (world, image, index) = (world(personality, streams).await, image_of(LAYERS, SIZE), index());
    prepare(&world, &image);
    if many_manifests {
        index.push_to(world.source.store(), "team/app", "v1");
    }
    let digest = if many_manifests { &index.digest } else { &image.digest };
    synced(&world, &mut ready(&world).await, digest).await;
    assert_capped(&world.source, streams, "source");
    assert_capped(&world.destination, streams, "destination");
}

#[tokio::test]
async fn no_more_requests_than_streams_are_open_between_two_registries() {
    let image = [2, 3, 5].map(|streams| (Personality::Ecr, streams, false));
    let index =
        [2, 3].into_iter().flat_map(|streams| [Personality::Ecr, Personality::Plain].map(|to| (to, streams, true)));
    let run = |(to, streams, many)| between_registries(to, streams, many);
    watched(side_by_side(image.into_iter().chain(index), run)).await;
}

/// An index makes the end that is read and the end that is written be asked for manifests at the same time.
async fn within_one((streams, many_manifests): (u32, bool)) {
    let (world, image, index) = (world_within(streams).await, image_of(LAYERS, SIZE), index());
    if many_manifests {
        index.push_to(world.source.store(), "team/app", "v1");
    }
    let digest = if many_manifests { &index.digest } else { &image.digest };
    let mut function = ready(&world).await;
    let result = pushed(&mut function, "team/app", "v1", digest, TIMEOUT).await;
    assert_eq!((&result["outcome"], &result["blobs"]["mounted"]), (&"synced".into(), &0.into()), "{result}");
    world.source.store().is_whole("mirror/team/app", "v1").unwrap();
    assert_capped(&world.source, streams, "both ends");
}

#[tokio::test]
async fn nor_within_one_registry_where_each_copy_needs_two() {
    watched(side_by_side([(2, false), (3, false), (2, true), (3, true)], within_one)).await;
}

#[tokio::test]
async fn one_stream_is_refused_for_a_copy_within_one_registry() {
    watched(async {
        let (world, image) = (world_within(1).await, image_of(LAYERS, SIZE));
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest), TIMEOUT).await;
        assert_eq!(error_type, "InvalidConfig", "{message}");
        assert!(message.contains("streams"), "it says what to turn: {message}");
        assert_eq!(world.source.store().tags("mirror/team/app").len(), 0);
    })
    .await;
}
