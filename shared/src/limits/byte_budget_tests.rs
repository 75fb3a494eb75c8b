use std::{future::poll_fn, time::Duration};

use super::{super::TooManyManifests, *};

const MIB: u64 = 1024 * 1024;

/// Whether `future` is still waiting after a second.
async fn waits<T>(future: impl Future<Output = T>) -> bool {
    tokio::time::timeout(Duration::from_secs(1), future).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn a_full_budget_makes_the_next_wait_until_a_lease_is_dropped() {
    let budget = ByteBudget::new(64 * MIB);
    let half = budget.for_copies() / 2 / UNIT * UNIT;
    let first = budget.reserve(half).await;
    let _second = budget.reserve(half).await;
    assert!(waits(budget.reserve(half)).await, "three were admitted where two fit");
    drop(first);
    let _third = budget.reserve(half).await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_lives_in_the_bytes_that_it_pays_for() {
    let budget = ByteBudget::new(64 * MIB);
    let lease = budget.reserve(u64::MAX).await;
    assert_eq!(lease.bytes(), budget.for_copies(), "who asks for more than there is gets all of it");
    let mut bytes = lease.hold(Bytes::from_static(b"abcdef"));
    let rest = bytes.split_off(4);
    drop((lease, bytes));
    assert!(waits(budget.reserve(1)).await, "a client still has bytes of it");
    drop(rest);
    let _next = budget.reserve(1).await;
}

#[tokio::test]
async fn the_peak_is_what_was_held_and_not_what_was_reserved() {
    let budget = ByteBudget::new(64 * MIB);
    let lease = budget.reserve(10 * MIB).await;
    let bytes = lease.hold(Bytes::from(vec![0; 1000]));
    drop(bytes);
    budget.receiving().came(500);
    let _bytes = lease.hold(Bytes::from(vec![0; 100]));
    budget.receiving().went(500);
    assert_eq!(lease.in_flight(), 100);
    assert_eq!((budget.take_peak(), budget.take_peak()), (1000, 100));
}

#[tokio::test]
async fn room_is_made_by_dropping_bytes() {
    let budget = ByteBudget::new(64 * MIB);
    let lease = budget.reserve(MIB).await;
    let bytes = lease.hold(Bytes::from(vec![0; 1000]));
    let room = tokio::spawn({
        let lease = lease.clone();
        async move { poll_fn(|context| lease.poll_room(1000, context)).await }
    });
    tokio::task::yield_now().await;
    assert!(!room.is_finished());
    drop(bytes);
    room.await.unwrap();
}

#[test]
fn the_parts_of_any_budget_are_within_it() {
    for total in [MIB, 3 * MIB, 16 * MIB, 32 * MIB, 100 * MIB, 224 * MIB, 512 * MIB, 8192 * MIB] {
        let budget = ByteBudget::new(total);
        let parts = &budget.0;
        let images = parts.small_images.available_permits() as u64;
        let manifests = parts.large_image + images * parts.small_image;
        let sum = parts.copies_total + parts.windows.bytes * parts.windows.count + manifests;
        assert!(sum <= total, "{sum} of {total}");
        assert!(parts.copies_total >= total / 4, "copies have {} of {total}", parts.copies_total);
    }
}

#[tokio::test(start_paused = true)]
async fn one_image_at_a_time_has_many_manifests_and_others_go_on_beside_it() {
    let budget = ByteBudget::new(64 * MIB);
    let (large, second, small) = (budget.manifests().await, budget.manifests().await, budget.manifests().await);
    let held = large.claim(4 * MIB).await.unwrap();
    assert!(waits(second.claim(4 * MIB)).await);
    let kept = small.claim(10_000).await.unwrap().hold(Bytes::from_static(b"{}"));
    assert_eq!(budget.take_peak(), 4 * MIB + 10_000, "what was claimed and not used is given back");
    assert_eq!(budget.take_peak(), 4 * MIB + 2);
    let waiting = tokio::spawn(async move { second.claim(4 * MIB).await.map(|claim| (claim, second)) });
    drop((held, large));
    let _second = waiting.await.unwrap().unwrap();
    drop(kept);
}

#[tokio::test]
async fn manifests_over_their_part_are_refused_and_leave_it_whole() {
    let budget = ByteBudget::new(16 * MIB);
    let room = budget.manifests().await;
    let _first = room.claim(MIB).await.unwrap();
    assert_eq!(room.claim(u64::MAX).await.err(), Some(TooManyManifests { limit: room.limit() }));
    assert_eq!(room.claim(room.limit()).await.err(), Some(TooManyManifests { limit: room.limit() }));
    let _rest = room.claim(room.limit() - MIB).await.unwrap();
}
