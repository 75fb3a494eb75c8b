//! The stall that `streams` is there for. A registry takes 100 streams on a connection and parks what is more, without a
//! word. A copy within one registry has two: once the parked uploads are what the open reads wait for, nothing moves.

use std::time::{Duration, Instant};

use emulator::{Authority, Entry, Image, Personality, Registry, image::generated_layer};
use scenarios::world::entry;
use serde_json::json;
use transfer::{
    compose::Tuning,
    sync::{Outcome, SyncReport},
};

use crate::{
    inside,
    support::{TIMEOUT, watched},
};

const LAYERS: u64 = 300;
const LAYER: u64 = 5 * 1024 * 1024;

/// What the registry announces, as large ones do.
const ANNOUNCED: u32 = 100;

/// So long nothing must move to count as stalled: far over any pause of a sync that goes on, and far under the time after
/// which an exchange is given up.
const STANDSTILL: Duration = Duration::from_secs(5);

/// One registry over TLS and h2 that grants no mounts, with an image in one of its repositories.
async fn registry(authority: &Authority) -> (Registry, Image) {
    let registry = Registry::builder(Personality::Plain)
        .blob_mounting(false)
        .max_concurrent_streams(ANNOUNCED)
        .discard_blobs()
        .tls(authority)
        .start()
        .await;
    let image = Image::builder().layers((1..=LAYERS).map(|seed| generated_layer(seed, LAYER))).build();
    image.push_to(registry.store(), "team/app", "v1");
    (registry, image)
}

/// Syncs the image to another repository of the registry, all of its blobs at once as far as `streams` allow.
async fn sync(registry: &Registry, authority: &Authority, streams: u32) -> SyncReport {
    let host = registry.host();
    let config = json!({
        "registries": { host.as_str(): entry(registry, authority) },
        // Room for all copies: the streams are what they wait for, and nothing else.
        "limits": { "buffer_bytes": 4u64 << 30 },
    });
    let blob_concurrency = u32::try_from(LAYERS).ok();
    let tuning = Tuning { streams: Some(streams), blob_concurrency, ..Tuning::default() };
    let app = inside::app(&config, tuning).await;
    inside::sync(&app, &format!("{host}/team/app:v1"), &format!("{host}/mirror/app:v1"), TIMEOUT).await
}

/// Bytes that have come in, and gone out.
fn moved(registry: &Registry) -> (u64, u64) {
    let entries = registry.journal().entries();
    let sum = |bytes: fn(&Entry) -> u64| entries.iter().map(bytes).sum();
    (sum(|entry| entry.request_bytes), sum(|entry| entry.response_bytes))
}

/// Waits until nothing has moved for a while although requests are open; answers how many are, and what had moved.
async fn standstill(registry: &Registry) -> (usize, (u64, u64)) {
    let (mut seen, mut since) = ((0, 0), Instant::now());
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let (now, open) = (moved(registry), registry.journal().open_streams());
        if now != seen || open == 0 {
            (seen, since) = (now, Instant::now());
        } else if since.elapsed() > STANDSTILL {
            return (open, seen);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_cap_300_blobs_within_one_registry_stall() {
    watched(async {
        let authority = Authority::new();
        let (registry, _) = registry(&authority).await;
        let (open, (came, went)) = tokio::select! {
            report = sync(&registry, &authority, u32::MAX) => panic!("it did not stall: {report:?}"),
            stuck = standstill(&registry) => stuck,
        };
        eprintln!("no cap: {open} streams open; {came} bytes came, {went} went, and nothing more for {STANDSTILL:?}");
        assert!(open >= ANNOUNCED as usize, "all streams that the registry takes are taken: {open}");
        assert!(came < LAYERS * LAYER && went > 0, "it began, and did not end: {came} bytes came, {went} went");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_cap_300_blobs_within_one_registry_arrive() {
    watched(async {
        let authority = Authority::new();
        let (registry, image) = registry(&authority).await;
        let begun = Instant::now();
        let report = sync(&registry, &authority, 64).await;
        let peak = registry.journal().peak_streams_per_connection();
        eprintln!("a cap of 64: {:?}, at most {peak} streams on a connection", begun.elapsed());
        assert_eq!(report.outcome, Outcome::Synced, "{report:?}");
        assert_eq!(report.blobs.transferred, image.blobs().len() as u64, "{report:?}");
        registry.store().is_whole("mirror/app", "v1").unwrap();
        assert!(peak <= 64, "{peak} streams on one connection");
        assert_eq!(registry.journal().connections(), 1, "one origin, one connection");
        assert_eq!(registry.open_uploads(), 0);
    })
    .await;
}
