//! A 429 is the registry's word to all requests for the same thing, and not just to the one that it met: those that
//! were not sent yet wait as well.

use std::time::Duration;

use emulator::{Action, Fault, Kind, Origin, Personality};
use serde_json::json;

use crate::support::{asked, image_of, prepare, ready, side_by_side, synced, watched, world_to};

/// Requests that are sent at once; the first of them is throttled.
const AT_ONCE: usize = 8;

/// How long those that were sent already may take to arrive.
const ON_THEIR_WAY: Duration = Duration::from_millis(250);

/// Throttles the first request of a kind for 3 s while others are answered slowly.
async fn holds_back(personality: Personality, at_source: bool, kind: Kind) {
    let (mut world, image) = (world_to(personality, |builder| builder).await, image_of(24, 10_000));
    world.config["limits"] = json!({ "blob_concurrency": AT_ONCE });
    prepare(&world, &image);
    let mut function = ready(&world).await;
    let registry = if at_source { &world.source } else { &world.destination };
    let on = || Fault::on(kind).at(Origin::Registry);
    registry.faults().add(on().then(Action::throttle(Some(3))));
    // So that what follows upon their answers is told from what was on its way.
    registry.faults().add(on().skip(1).forever().then(Action::Delay(2 * ON_THEIR_WAY)));
    let result = synced(&world, &mut function, &image.digest).await;
    let tries = asked(registry, |entry| entry.kind == kind && entry.origin == Origin::Registry);
    let answered = tries[0].finished.expect("the 429 was sent");
    let until = |moment| tries.iter().filter(|entry| entry.at < moment).count();
    let sent = until(answered + ON_THEIR_WAY);
    let new = until(answered + Duration::from_secs(3)) - sent;
    eprintln!("{personality:?} {kind:?}: {sent} were sent with the one that was throttled, {new} more in the 3 s");
    assert_eq!((&result["throttled"], &result["retries"]), (&1.into(), &1.into()), "{kind:?}: {result}");
    assert!(sent <= AT_ONCE, "{kind:?}: {sent} were sent before the 429 was answered");
    assert_eq!(new, 0, "{kind:?}: so many were sent later, in spite of the 429");
}

#[tokio::test]
async fn a_throttled_request_holds_back_the_others_of_its_kind() {
    watched(async {
        let cases = [
            (Personality::Ecr, false, Kind::UploadStart),
            (Personality::Plain, false, Kind::BlobHead),
            (Personality::Ecr, true, Kind::BlobGet),
        ];
        side_by_side(cases, |(personality, at_source, kind)| holds_back(personality, at_source, kind)).await;
    })
    .await;
}
