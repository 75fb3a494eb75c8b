//! A registry that is down for 20 seconds is waited for, within the invocation's time, and every try is counted.

use std::time::Duration;

use emulator::{Action, Entry, Fault, Kind, Personality};
use scenarios::flows::eventually;

use crate::support::{asked, image_of, prepare, ready, side_by_side, synced, watched, world_to};

const STORM: Duration = Duration::from_secs(20);

/// When a storm begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begins {
    AtOnce,
    WithTheUploads,
}

/// Syncs an image while one end answers everything with 503 for a while.
async fn weathers(to: Personality, at_source: bool, begins: Begins) {
    let (world, image) = (world_to(to, |builder| builder).await, image_of(12, 60_000));
    let uploads = if to == Personality::Acr { Kind::UploadPatch } else { Kind::UploadPut };
    prepare(&world, &image);
    let registry = if at_source { &world.source } else { &world.destination };
    let mut function = ready(&world).await;
    let storm = async {
        if begins == Begins::WithTheUploads {
            // Those that are under way when it begins are let through.
            let slow = Fault::on(uploads).forever().then(Action::SlowRead(120_000));
            world.destination.faults().add(slow);
            eventually("an upload is under way", || world.destination.journal().count(uploads) > 0).await;
        }
        registry.faults().add(Fault::any().forever().then(Action::error(503, "UNAVAILABLE", "down for a while")));
        tokio::time::sleep(STORM).await;
        registry.faults().clear();
    };
    let ((), result) = tokio::join!(storm, synced(&world, &mut function, &image.digest));
    let refused = asked(registry, |entry| entry.status == 503);
    // To cancel an upload is a courtesy, which need not be insisted on; all else was sent again, or nothing were synced.
    let cancels = asked(registry, |entry| entry.kind == Kind::UploadCancel);
    let insisted = |entry: &Entry| cancels.iter().any(|later| later.number > entry.number && later.path == entry.path);
    let tried_again = refused.iter().filter(|entry| entry.kind != Kind::UploadCancel || insisted(entry)).count();
    eprintln!(
        "{to:?}, a storm at the {} that begins {begins:?}: {} answers of 503, {} retries, {} ms",
        if at_source { "source" } else { "destination" },
        refused.len(),
        result["retries"],
        result["duration_ms"],
    );
    assert!(!refused.is_empty(), "the storm was met");
    assert_eq!(result["retries"], tried_again, "source {at_source}, {begins:?}: {result}");
    assert_eq!(result["throttled"], 0, "{result}");
}

#[tokio::test]
async fn a_registry_that_is_down_for_20_seconds_is_waited_for() {
    let cases = [
        (Personality::Ecr, true, Begins::AtOnce),
        (Personality::Ecr, false, Begins::AtOnce),
        (Personality::Ecr, false, Begins::WithTheUploads),
        (Personality::Acr, false, Begins::WithTheUploads),
    ];
    watched(side_by_side(cases, |(to, at_source, begins)| weathers(to, at_source, begins))).await;
}
