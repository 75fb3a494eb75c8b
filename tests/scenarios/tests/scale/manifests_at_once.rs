//! Two images at once, each with more manifests than its small share of the budget: one waits for the large share, and
//! must not hold meanwhile what the other one needs to finish.

use std::time::Duration;

use emulator::{Authority, Builder, Image, Index, Personality, Registry, image::raw_layer};
use futures::future::join_all;
use scenarios::world::entry;
use serde_json::json;
use transfer::{
    compose::Tuning,
    sync::{Outcome, SyncReport},
};

use crate::{inside, support::watched};

/// Its sixteenth is shared by two images: 256 KiB for each, and a seventh for one of them besides.
const BUDGET: u64 = 8 << 20;

/// Six manifests of about 100 KB.
fn index(seed: u64) -> Index {
    let image = |child: u64| {
        let image = Image::builder().layer(raw_layer(10 * seed + child, 1000));
        image.annotation("org.example.test.notes", &"n".repeat(100_000)).build()
    };
    Index::of(&(1..=6).map(image).collect::<Vec<_>>().iter().collect::<Vec<_>>())
}

/// Syncs two images over so many streams towards the source; each may take far longer than it needs. Answers what failed.
async fn failures(streams: u32) -> Vec<String> {
    let authority = Authority::new();
    let start = async |builder: Builder| builder.tls(&authority).start().await;
    let source = start(Registry::builder(Personality::Plain)).await;
    let destination = start(Registry::builder(Personality::Plain)).await;
    let (from, into) = (source.host(), destination.host());
    let mut config = json!({
        "registries": { from.as_str(): entry(&source, &authority), into.as_str(): entry(&destination, &authority) },
        "limits": { "buffer_bytes": BUDGET },
    });
    config["registries"][&from]["streams"] = streams.into();
    let app = inside::app(&config, Tuning::default()).await;
    let sync = async |number: u64| -> SyncReport {
        let name = format!("team/app{number}");
        index(number).push_to(source.store(), &name, "v1");
        let (from, into) = (format!("{from}/{name}:v1"), format!("{into}/mirror/{name}:v1"));
        inside::sync(&app, &from, &into, Duration::from_secs(20)).await
    };
    let (one, other) = tokio::join!(sync(1), sync(2));
    let failed = [one, other].into_iter().filter(|report| report.outcome != Outcome::Synced);
    failed.map(|report| format!("{streams} streams: {}", report.error_message.unwrap_or_default())).collect()
}

#[tokio::test]
async fn images_with_many_manifests_never_wait_for_each_other_in_a_circle() {
    let failed = watched(join_all([1, 2, 4, 8, 64].map(failures))).await.concat();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
