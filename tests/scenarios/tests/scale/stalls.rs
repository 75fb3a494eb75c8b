//! Slow is not stalled: a transfer may take any time while something moves, and is given up soon when nothing does.

use std::{ops::RangeInclusive, time::Duration};

use emulator::{Action, Fault, Kind, Personality};
use scenarios::{World, flows::digits};
use serde_json::json;

use crate::support::{asked, image_of, prepare, ready, side_by_side, synced, watched, world_to};

/// `limits.request_timeout_ms` here.
const STALL: u64 = 1000;

/// When something that does not move any more is given up: then, and what a busy machine takes to do so. Twice the time
/// would be too late.
const GIVEN_UP: RangeInclusive<Duration> = Duration::from_millis(STALL - 50)..=Duration::from_millis(STALL + 800);

/// One blob after the other, so that what follows an upload in the journal has to do with it.
async fn world(personality: Personality) -> World {
    let mut world = world_to(personality, |builder| builder).await;
    world.config["limits"] = json!({ "request_timeout_ms": STALL, "blob_concurrency": 1 });
    world
}

const KIB: usize = 1024;

/// A registry that reads a layer steadily, over several times the stall.
async fn is_waited_for(personality: Personality, size: usize, rate: usize) {
    let (world, image) = (world(personality).await, image_of(1, size));
    prepare(&world, &image);
    for kind in [Kind::UploadPut, Kind::UploadPatch] {
        world.destination.faults().add(Fault::on(kind).forever().then(Action::SlowRead(rate as u64)));
    }
    let result = synced(&world, &mut ready(&world).await, &image.digest).await;
    let uploads = asked(&world.destination, |entry| entry.request_bytes == size as u64);
    let took = uploads[0].finished.unwrap() - uploads[0].at;
    eprintln!("{personality:?}: {} KiB at {} KiB/s took {took:?}", size / KIB, rate / KIB);
    assert!(took > 4 * Duration::from_millis(STALL), "{personality:?}: {took:?}");
    assert_eq!(result["retries"], 0, "{personality:?}: {result}");
}

#[tokio::test]
async fn a_destination_that_reads_slowly_and_steadily_is_not_stalled() {
    let all = Personality::ALL.map(|personality| (personality, 384 * KIB, 64 * KIB));
    // Much that is held, and sent in one request.
    let chunk = [(Personality::Acr, 3072 * KIB, 512 * KIB)];
    let cases = all.into_iter().chain(chunk);
    watched(side_by_side(cases, |(personality, size, rate)| is_waited_for(personality, size, rate))).await;
}

/// A registry that takes part of an upload, and then nothing more.
async fn is_given_up(personality: Personality, kind: Kind) {
    // More than a connection takes before it is read from: bytes that have left can't be told from bytes that were read.
    let (world, image) = (world(personality).await, image_of(1, 4096 * KIB));
    prepare(&world, &image);
    // The largest blob goes first.
    world.destination.faults().add(Fault::on(kind).then(Action::StallRequestAfter(100_000)));
    let result = synced(&world, &mut ready(&world).await, &image.digest).await;
    let all = asked(&world.destination, |_| true);
    let at = all.iter().position(|entry| entry.faults > 0).expect("the fault fired");
    let waited = all[at + 1].at - all[at].at;
    eprintln!("{personality:?} {kind:?}: given up after {waited:?}");
    assert!(GIVEN_UP.contains(&waited), "{personality:?}: {waited:?}");
    // ACR may have kept part of the chunk, and then the blob is sent from its start.
    let most = if personality == Personality::Acr { 2 } else { 1 };
    let retries = result["retries"].as_u64().unwrap_or_default();
    assert!((1..=most).contains(&retries), "{personality:?}: {result}");
}

#[tokio::test]
async fn a_destination_that_stops_reading_is_given_up() {
    let cases = [
        (Personality::Ecr, Kind::UploadPut),
        (Personality::Ghcr, Kind::UploadPatch),
        (Personality::Acr, Kind::UploadPatch),
    ];
    watched(side_by_side(cases, |(personality, kind)| is_given_up(personality, kind))).await;
}

/// A source that sends part of a blob, and then nothing more.
async fn is_read_on(personality: Personality) {
    let (world, image) = (world(personality).await, image_of(1, 300_000));
    prepare(&world, &image);
    let layer = image.layers[0].digest();
    let stall = Fault::on(Kind::BlobGet).path(digits(layer)).then(Action::StallResponseAfter(100_000));
    world.source.faults().add(stall);
    let result = synced(&world, &mut ready(&world).await, &image.digest).await;
    let reads = asked(&world.source, |entry| entry.kind == Kind::BlobGet);
    let at = reads.iter().position(|read| read.faults > 0).expect("the fault fired");
    let waited = reads[at + 1].at - reads[at].at;
    let ranges: Vec<_> = reads.iter().map(|read| read.range.as_deref()).collect();
    eprintln!("a source that stops, to {personality:?}: read again after {waited:?}, {ranges:?}");
    assert!(GIVEN_UP.contains(&waited), "{personality:?}: {waited:?}");
    assert!(ranges.iter().any(Option::is_some), "{personality:?}: it is read on: {ranges:?}");
    assert_eq!(result["retries"], 1, "{personality:?}: {result}");
    assert_eq!(result["bytes"]["read"], result["bytes"]["written"], "no byte was read twice: {result}");
    let starts = asked(&world.destination, |entry| entry.kind == Kind::UploadStart);
    assert_eq!(starts.len(), image.blobs().len(), "{personality:?}: the upload went on");
}

#[tokio::test]
async fn a_source_that_stops_sending_is_given_up_and_read_on() {
    watched(side_by_side([Personality::Ecr, Personality::Ghcr, Personality::Acr], is_read_on)).await;
}
