//! The byte budget holds whatever the image and wherever it goes: 64 GiB in 64 layers, through the smallest function,
//! to registries that read slowly.

use std::time::Duration;

use emulator::{Action, Fault, Image, Kind, Personality, image::unhashed_layer};
use scenarios::{World, function::Settings, world::push_event};
use serde_json::json;

use crate::support::{asked, prepare, side_by_side, watched, world_to};

const LAYERS: u64 = 64;
const LAYER: u64 = 1 << 30;

/// What a destination reads of each upload in a second: far less than the source gives.
const RATE: u64 = 256 * 1024;

/// What a function of 128 MB may take, with room for the runtime's own.
const MOST: u64 = 100 * 1024 * 1024;

/// The function's timeout; the layers would take hours.
const TIMEOUT: Duration = Duration::from_secs(15);

async fn world(personality: Personality, image: &Image) -> World {
    let mut world = world_to(personality, |builder| builder.discard_blobs()).await;
    world.config["limits"] = json!({ "blob_concurrency": LAYERS });
    prepare(&world, image);
    for kind in [Kind::UploadPut, Kind::UploadPatch] {
        world.destination.faults().add(Fault::on(kind).forever().then(Action::SlowRead(RATE)));
    }
    world
}

/// Lets the function run into its deadline, and looks how much memory it took.
async fn stays_small(personality: Personality) {
    let image = Image::builder().layers((1..=LAYERS).map(|seed| unhashed_layer(seed, LAYER))).build();
    let world = world(personality, &image).await;
    let settings = Settings { memory_mb: 128, ..Settings::default() };
    let mut function = world.function_with("on-push", settings, &[]).await;
    function.ready().await.expect("the function starts");
    let started = function.peak_rss();
    let outcome = function.invoke(push_event("team/app", "v1", &image.digest), TIMEOUT).await;
    let later = ["DeadlineExceeded", "Timeout", "Unavailable", "Throttled", "BlobUnavailable"];
    assert!(
        outcome.error_type().is_some_and(|error_type| later.contains(&error_type)),
        "{personality:?}: it ends with its deadline, and is not killed: {outcome:?}"
    );
    let peak = function.peak_rss();
    let journal = world.destination.journal();
    let sent: u64 = asked(&world.destination, |_| true).iter().map(|entry| entry.request_bytes).sum();
    eprintln!(
        "{personality:?}: {} KiB after the start, {} KiB at the peak; {} KiB taken from {} uploads at once; {}",
        started / 1024,
        peak / 1024,
        sent / 1024,
        journal.peak_of(Kind::UploadPut).max(journal.peak_of(Kind::UploadPatch)),
        outcome.error_type().unwrap_or_default(),
    );
    assert!(sent > RATE, "{personality:?}: bytes flowed");
    assert_eq!(world.destination.store().tags("mirror/team/app").len(), 0);
    assert!(peak < MOST, "{personality:?} took {} KiB", peak / 1024);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_smallest_function_stays_small_with_64_layers_of_a_gibibyte_to_any_registry() {
    watched(side_by_side(Personality::ALL, stays_small)).await;
}
