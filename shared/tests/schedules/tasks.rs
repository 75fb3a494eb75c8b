//! What is under way in a schedule: copies, requests, images, in the order in which the crate asks for leave.

use std::{future::poll_fn, sync::Arc, time::Duration};

use fastrand::Rng;
use futures::future::join_all;
use tokio::time::Instant;
use transfer::limits::{ManifestRoom, NotAdmitted, Quota, Refused};

use crate::{
    watchdog::Need,
    world::{FRAME, Leave, Registry, World, zeros},
};

/// How often a blob is sent at most.
const TRIES: u32 = 4;

/// One task of any kind, begun within a few seconds, and cancelled at any moment of its life or not at all.
pub(crate) async fn task(world: Arc<World>, number: u32, mut dice: Rng) {
    pause(&mut dice, 3000).await;
    let patience = if dice.u8(..4) == 0 { dice.u64(..20_000) } else { u64::from(u32::MAX) };
    let work = async {
        match dice.u8(..10) {
            0..6 => copy(&world, &format!("copy {number}"), &mut dice).await,
            6..8 => request(&world, &format!("request {number}"), &mut dice).await,
            _ => image(&world, &format!("image {number}"), &mut dice).await,
        }
    };
    // Nobody waits for the others' sake: what a cancelled task has goes back at once.
    let _ = tokio::time::timeout(Duration::from_millis(patience), work).await;
}

async fn pause(dice: &mut Rng, most_ms: u64) {
    tokio::time::sleep(Duration::from_millis(dice.u64(..most_ms))).await;
}

/// Drops `kept` after a while, as an HTTP client does that has it.
fn let_go<T: Send + 'static>(kept: T, dice: &mut Rng, most_ms: u64) {
    let after = Duration::from_millis(dice.u64(..most_ms));
    tokio::spawn(async move {
        tokio::time::sleep(after).await;
        drop(kept);
    });
}

/// A blob, between two registries or within one, tried again after what may pass.
async fn copy(world: &World, who: &str, dice: &mut Rng) {
    let from = world.any(dice);
    let to = if dice.u8(..3) == 0 { from } else { world.any(dice) };
    let who = format!("{who}, from registry {} to registry {}", from.number, to.number);
    let needs = [
        Need::Reads(from.number),
        Need::Uploads(to.number),
        Need::Starts(to.number),
        Need::Streams(from.number),
        Need::Streams(to.number),
        Need::Bytes,
    ];
    for _ in 0..TRIES {
        let bytes = wanted(dice);
        let limits = world.limits(from, to);
        match world.watchdog.waits(&who, &needs, limits.admit(bytes, &world.deadline)).await {
            Ok(admitted) => {
                let leave = Leave::new(world, from, to, admitted);
                if sent(world, &who, from, to, leave, dice).await {
                    return;
                }
            }
            Err(Refused::Cap(_)) => {
                assert!(from.number == to.number && from.streams.total() == 1, "{who}: refused for its cap");
                return;
            }
            Err(Refused::Source(NotAdmitted::Shut(_)) | Refused::Destination(NotAdmitted::Shut(_))) => return,
            Err(refused) => panic!("{who}: {refused:?}, and the deadline is far away"),
        }
        pause(dice, 2000).await;
    }
}

/// What copies want to hold: little, as for a streamed body, as for a chunk, or all there is.
fn wanted(dice: &mut Rng) -> u64 {
    match dice.u8(..8) {
        0..3 => dice.u64(1..200_000),
        3..6 => 256 * 1024 + 4 * FRAME,
        6 => 16 * 1024 * 1024 + 4 * FRAME,
        _ => u64::MAX,
    }
}

/// Opens both ends, moves some frames, and closes; `false`: it was refused on the way.
async fn sent(world: &World, who: &str, from: &Registry, to: &Registry, leave: Leave, dice: &mut Rng) -> bool {
    let begun = Instant::now();
    pause(dice, 300).await;
    if !answered(&from.reads, begun, dice) || !answered(&to.starts, begun, dice) {
        return false;
    }
    leave.admitted.started();
    let lease = leave.admitted.lease();
    let most = lease.bytes() - (lease.bytes() / 4).min(FRAME);
    // A read may be led elsewhere, and over HTTP/1.1 it has no window.
    let host = format!("host {}", if dice.bool() { from.number } else { dice.usize(..8) });
    let window = match dice.u8(..4) {
        0 => None,
        _ => Some(world.watchdog.waits(who, &[Need::Window], lease.window(&host)).await),
    };
    let window = window.map(|share| (world.reads_at(host), share));
    for _ in 0..dice.u8(1..8) {
        let frame = dice.u64(1..=most.min(FRAME));
        let room = poll_fn(|context| lease.poll_room(most - frame + 1, context));
        world.watchdog.waits(who, &[Need::Room], room).await;
        let_go(leave.hold(world, frame), dice, 1500);
        pause(dice, 40).await;
    }
    // With the body, which a client may have for longer.
    let_go(window, dice, 500);
    let closing = Instant::now();
    pause(dice, 300).await;
    let_go(leave.clone(), dice, 3000);
    answered(&to.uploads, closing, dice)
}

/// One request that is no copy's, as `Repository::send` lets it through.
async fn request(world: &World, who: &str, dice: &mut Rng) {
    let at = world.any(dice);
    for _ in 0..TRIES {
        let admission = at.requests.admit(&world.deadline);
        let slot = match world.watchdog.waits(who, &[Need::Requests(at.number)], admission).await {
            Ok(slot) => slot,
            Err(NotAdmitted::Shut(_)) => return,
            Err(refused) => panic!("{who}: {refused:?}, and the deadline is far away"),
        };
        let stream = world.watchdog.waits(who, &[Need::Streams(at.number)], at.streams.one()).await;
        let counted = at.in_use.add(1);
        let begun = Instant::now();
        pause(dice, 500).await;
        let taken = answered(&at.requests, begun, dice);
        // In the order of a body that keeps them.
        drop((counted, stream, slot));
        if taken {
            return;
        }
        pause(dice, 2000).await;
    }
}

/// What a registry says to a request, and what is learnt of it; `false`: not now.
fn answered(quota: &Quota, begun: Instant, dice: &mut Rng) -> bool {
    let asked = match dice.u8(..12) {
        0 => None,
        1 => Some(Duration::from_secs(dice.u64(1..60))),
        2 if dice.u8(..8) == 0 => Some(Duration::from_secs(300)),
        _ => {
            quota.window().succeeded(begun);
            return true;
        }
    };
    quota.window().congested(begun, asked);
    false
}

/// A whole image: its manifests are held, few or many of them, while its blobs are copied.
async fn image(world: &World, who: &str, dice: &mut Rng) {
    let room = world.watchdog.waits(who, &[Need::Image], world.budget.manifests()).await;
    let mut manifests = Vec::new();
    for _ in 0..dice.u8(1..5) {
        request(world, who, dice).await;
        let Some(manifest) = manifest(world, who, &room, dice).await else { return };
        manifests.push(manifest);
    }
    let copies = (1..=dice.u8(1..5)).map(|blob| {
        let (who, mut dice) = (format!("{who}, blob {blob}"), dice.fork());
        async move { copy(world, &who, &mut dice).await }
    });
    join_all(copies.collect::<Vec<_>>()).await;
    request(world, who, dice).await;
}

/// Claims what a manifest is said to have, and more if it has more; what it really has is held until this is dropped.
/// `None`: it would be too much.
async fn manifest(world: &World, who: &str, room: &ManifestRoom, dice: &mut Rng) -> Option<impl Sized + use<>> {
    let promised = match dice.u8(..4) {
        0..2 => dice.u64(..10_000),
        2 => dice.u64(..=room.limit() / 2),
        _ => dice.u64(..=room.limit() + 1000),
    };
    let more = if dice.u8(..4) == 0 { dice.u64(..5000) } else { 0 };
    let claiming = async {
        let mut claim = room.claim(promised).await?;
        claim.grow(promised + more).await.map(|()| claim)
    };
    match world.watchdog.waits(who, &[Need::Manifests], claiming).await {
        Ok(claim) => {
            let claimed = world.claimed.add(promised + more);
            pause(dice, 100).await;
            let size = if dice.bool() { promised + more } else { dice.u64(..=promised) };
            drop(claimed);
            let bytes = claim.hold(zeros(size));
            Some((world.claimed.add(size), world.held.add(size), bytes))
        }
        Err(too_many) => {
            assert!(promised + more > 0 && too_many.limit == room.limit(), "{who}: {too_many}");
            None
        }
    }
}
