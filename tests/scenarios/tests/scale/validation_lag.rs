//! ECR takes a manifest only some time after its blobs: the function waits as long as that takes, asks for no blob
//! twice, and says so when it takes too long.

use std::time::{Duration, Instant};

use emulator::{Image, Index, Kind, Layer, image::raw_layer};
use scenarios::{World, flows::failed, world::push_event};
use serde_json::json;

use crate::support::{TIMEOUT, asked, image_of, prepare, ready, side_by_side, synced, watched};

async fn world(lag: Duration) -> World {
    World::ecr(|destination| destination.validation_lag(lag)).await
}

/// Two platforms that share a layer, and an artifact with the empty configuration.
fn mixed() -> (Index, usize) {
    let platform = |name: &str, seed| {
        Image::builder().platform(name).layer(raw_layer(1, 30_000)).layer(raw_layer(seed, 20_000)).build()
    };
    let (amd, arm) = (platform("linux/amd64", 2), platform("linux/arm64", 3));
    let document = Layer::from_bytes("application/spdx+json", r#"{"spdxVersion":"SPDX-2.3"}"#);
    let artifact = Image::builder().artifact("application/spdx+json").layer(document).build();
    let mut blobs: Vec<String> = [&amd, &arm, &artifact].iter().flat_map(|image| image.blobs()).collect();
    blobs.sort();
    blobs.dedup();
    (Index::of(&[&amd, &arm, &artifact]), blobs.len())
}

/// Asserts by the journal that the manifests waited for `lag`, and that nothing was sent twice.
fn assert_waited(world: &World, lag: Duration, blobs: usize, manifests: usize) {
    let uploads = asked(&world.destination, |entry| entry.kind == Kind::UploadPut);
    assert_eq!(uploads.len(), blobs, "lag {lag:?}: each blob is sent once");
    let last = uploads.iter().filter_map(|put| put.finished).max().unwrap();
    let puts = asked(&world.destination, |entry| entry.kind == Kind::ManifestPut);
    assert_eq!(puts.len(), manifests, "lag {lag:?}: no manifest is put twice");
    let first = puts.iter().map(|put| put.at).min().unwrap();
    eprintln!("lag {lag:?}: the first manifest came {:?} after the last blob", first - last);
    assert!(first - last >= lag, "lag {lag:?}: a manifest came after {:?}", first - last);
}

async fn an_image_waits(lag: Duration) {
    let (world, image) = (world(lag).await, image_of(3, 40_000));
    prepare(&world, &image);
    let result = synced(&world, &mut ready(&world).await, &image.digest).await;
    assert_eq!((&result["retries"], &result["throttled"]), (&0.into(), &0.into()), "waiting is no retry");
    assert_waited(&world, lag, image.blobs().len(), 1);
}

async fn an_index_waits(lag: Duration) {
    let (world, (index, blobs)) = (world(lag).await, mixed());
    index.push_to(world.source.store(), "team/app", "v1");
    world.destination.store().create_repository("mirror/team/app");
    let result = synced(&world, &mut ready(&world).await, &index.digest).await;
    assert_eq!(result["manifests"]["pushed"], 4, "{result}");
    assert_waited(&world, lag, blobs, 4);
}

#[tokio::test]
async fn manifests_wait_for_a_lag_of_1_of_5_and_of_20_seconds() {
    watched(async {
        let lags = [1, 5, 20].map(Duration::from_secs);
        tokio::join!(side_by_side(lags, an_image_waits), side_by_side(lags, an_index_waits));
    })
    .await;
}

#[tokio::test]
async fn a_lag_beyond_the_wait_ends_when_the_wait_is_over() {
    watched(async {
        let (mut world, image) = (world(Duration::from_secs(30)).await, image_of(3, 40_000));
        world.config["limits"] = json!({ "manifest_commit_wait_ms": 3000 });
        prepare(&world, &image);
        let mut function = ready(&world).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest), TIMEOUT).await;
        let answered = Instant::now();
        assert_eq!(error_type, "BlobUnavailable", "{message}");
        let uploads = asked(&world.destination, |entry| entry.kind == Kind::UploadPut);
        let last = uploads.iter().filter_map(|put| put.finished).max().unwrap();
        let waited = answered - last;
        eprintln!("a wait of 3 s at most: the answer came {waited:?} after the last blob");
        assert!((Duration::from_secs(3)..=Duration::from_secs(4)).contains(&waited), "{waited:?}");
        assert_eq!(world.destination.journal().count(Kind::ManifestPut), 0);
        assert_eq!(uploads.len(), image.blobs().len());
    })
    .await;
}
