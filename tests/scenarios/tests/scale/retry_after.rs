//! `Retry-After` is obeyed to the second, wherever it is said, and counted as one throttle and one retry.

use std::time::{Duration, Instant, SystemTime};

use emulator::{Action, Entry, Fault, Kind, Origin, Personality, Registry};
use scenarios::{World, flows::digits};
use serde_json::json;

use crate::support::{asked, image_of, prepare, ready, side_by_side, synced, watched, world_to};

#[derive(Debug, Clone, Copy)]
enum End {
    Source,
    Destination,
}

/// What is throttled once.
#[derive(Debug, Clone, Copy)]
struct Case {
    personality: Personality,
    end: End,
    kind: Kind,
    origin: Origin,
    /// Whether the path names the blob that is meant: the layer.
    layer: bool,
}

const fn case(personality: Personality, end: End, kind: Kind, layer: bool) -> Case {
    Case { personality, end, kind, origin: Origin::Registry, layer }
}

const CASES: [Case; 10] = [
    case(Personality::Ecr, End::Source, Kind::ManifestGet, false),
    case(Personality::Ecr, End::Source, Kind::BlobGet, true),
    Case { origin: Origin::Blobs, ..case(Personality::Ecr, End::Source, Kind::BlobGet, true) },
    case(Personality::Plain, End::Destination, Kind::BlobHead, true),
    case(Personality::Ecr, End::Destination, Kind::UploadStart, false),
    case(Personality::Ecr, End::Destination, Kind::ManifestPut, false),
    // The streamed upload itself, by each of the ways there are to send one.
    case(Personality::Ecr, End::Destination, Kind::UploadPut, true),
    case(Personality::Ghcr, End::Destination, Kind::UploadPatch, false),
    case(Personality::Acr, End::Destination, Kind::UploadPatch, false),
    // And its end, where that is a request of its own.
    case(Personality::Ghcr, End::Destination, Kind::UploadPut, true),
];

/// Throttles the first request of the case, and answers it and the next one of its kind.
async fn throttled(case: Case, answer: impl FnOnce() -> Action) -> (Entry, Entry) {
    let (mut world, image) = (world_to(case.personality, |builder| builder).await, image_of(1, 100_000));
    // One blob after the other, so that the next request of the kind is the same one again.
    world.config["limits"] = json!({ "blob_concurrency": 1 });
    prepare(&world, &image);
    let mut function = ready(&world).await;
    let mut fault = Fault::on(case.kind).at(case.origin).then(answer());
    if case.layer {
        fault = fault.path(digits(image.layers[0].digest()));
    }
    registry(&world, case).faults().add(fault);
    let result = synced(&world, &mut function, &image.digest).await;
    assert_eq!((&result["throttled"], &result["retries"]), (&1.into(), &1.into()), "{case:?}: {result}");
    let tries = asked(registry(&world, case), |entry| (entry.kind, entry.origin) == (case.kind, case.origin));
    let at = tries.iter().position(|entry| entry.faults > 0).expect("the fault fired");
    assert_eq!(tries[at].status, 429, "{case:?}");
    (tries[at].clone(), tries[at + 1].clone())
}

fn registry(world: &World, case: Case) -> &Registry {
    match case.end {
        End::Source => &world.source,
        End::Destination => &world.destination,
    }
}

/// Three seconds, in seconds.
async fn waits_3_seconds(case: Case) {
    let (refused, again) = throttled(case, || Action::throttle(Some(3))).await;
    let waited = again.at - refused.finished.expect("the 429 was sent");
    eprintln!("{:?} {:?} at {:?}: {waited:?} after its 429", case.personality, case.kind, case.origin);
    // Never early; late by what a busy machine takes.
    assert!((Duration::from_secs(3)..=Duration::from_secs(5)).contains(&waited), "{case:?}: {waited:?}");
}

/// A date, which names a whole second: the one that begins within the third or fourth second from now.
async fn waits_for_a_date(case: Case) {
    let mut due = None;
    let answer = || {
        let (now, clock) = (Instant::now(), SystemTime::now());
        let text = httpdate::fmt_http_date(clock + Duration::from_secs(4));
        let date = httpdate::parse_http_date(&text).expect("it was just written");
        due = Some(now + date.duration_since(clock).expect("it is to come"));
        let headers = vec![("Retry-After".to_owned(), text)];
        Action::Status { code: 429, headers, body: String::new() }
    };
    let (refused, again) = throttled(case, answer).await;
    let due = due.expect("the answer was made");
    let waited = again.at - refused.finished.expect("the 429 was sent");
    eprintln!("{:?} {:?} with a date: {waited:?} after its 429", case.personality, case.kind);
    // The clock of dates and the clock of waits may differ by a little.
    let early = due.saturating_duration_since(again.at);
    let late = again.at.saturating_duration_since(due);
    assert!(early <= Duration::from_millis(5), "{case:?} came {early:?} before its date");
    assert!(late <= Duration::from_secs(2), "{case:?} came {late:?} after its date");
}

#[tokio::test]
async fn three_seconds_are_waited_for_by_every_kind_of_request() {
    watched(side_by_side(CASES, waits_3_seconds)).await;
}

#[tokio::test]
async fn a_date_is_waited_for_by_a_manifest_and_by_an_upload() {
    let cases = CASES.into_iter().filter(|case| [Kind::ManifestPut, Kind::UploadPut].contains(&case.kind));
    watched(side_by_side(cases, waits_for_a_date)).await;
}
