//! No deadlock, whatever comes at once: a thousand random schedules of copies, requests and whole images through the real
//! limits, under a paused clock, with a watchdog that names who is stuck.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod tasks;
mod watchdog;
mod world;

use std::{panic::resume_unwind, sync::Arc, time::Duration};

use fastrand::Rng;
use futures::FutureExt;
use tokio::task::JoinSet;
use transfer::limits::Quota;

use crate::world::{Registry, World};

const SCHEDULES: u64 = 1000;

/// Longer than anything that is kept, and than any window stays shut.
const AFTERWARDS: Duration = Duration::from_secs(2 * 3600);

#[test]
fn a_thousand_random_schedules_end_and_give_everything_back() {
    let mut tasks = 0;
    for seed in 1..=SCHEDULES {
        tasks += schedule(seed).unwrap_or_else(|stuck| panic!("seed {seed}: nothing was done for an hour\n{stuck}"));
    }
    eprintln!("{SCHEDULES} schedules, {tasks} tasks");
}

/// Runs one schedule, and answers how many tasks it had, or who is stuck.
fn schedule(seed: u64) -> Result<u32, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut dice = Rng::with_seed(seed);
        let world = Arc::new(World::roll(&mut dice));
        let count = dice.u32(20..=80);
        let mut running = JoinSet::new();
        for number in 1..=count {
            running.spawn(tasks::task(Arc::clone(&world), number, dice.fork()));
        }
        let all = async {
            while let Some(ended) = running.join_next().await {
                if let Err(failed) = ended {
                    eprintln!("seed {seed}: a task failed");
                    resume_unwind(failed.into_panic());
                }
            }
        };
        world.watchdog.watch(&world, all).await?;
        tokio::time::sleep(AFTERWARDS).await;
        // It looks often, for which the runtime would make a task wait.
        tokio::task::unconstrained(assert_all_is_back(&world, seed)).await;
        Ok(count)
    })
}

/// Asserts that all there is can be had at once, and no more than that.
async fn assert_all_is_back(world: &World, seed: u64) {
    let (held, peak) = (world.held.peak(), world.budget.take_peak());
    assert!(held <= peak && peak <= world.bytes, "seed {seed}: {held} held, {peak} by the books, of {}", world.bytes);
    assert_eq!(world.budget.take_peak(), 0, "seed {seed}: bytes that the books call held");
    let room = world.budget.manifests().now_or_never().expect("there is room for an image's manifests");
    let claim = room.claim(room.limit()).now_or_never().expect("the large share is free");
    let _claim = claim.expect("it is no more than may be");
    for registry in &world.registries {
        one_copy_may_have_it_all(world, registry, seed);
        let number = registry.number;
        for (what, quota) in registry.quotas() {
            assert_whole(quota, &format!("seed {seed}: {what} at registry {number}"), world).await;
        }
    }
}

/// A copy is admitted at once that takes the whole budget, and what streams the others here have left.
fn one_copy_may_have_it_all(world: &World, registry: &Registry, seed: u64) {
    let other = world.registries.iter().find(|other| other.number != registry.number).expect("there are two at least");
    for (from, to) in [(registry, registry), (registry, other)] {
        let needed = if from.number == to.number { 2 } else { 1 };
        let Some(left) = from.streams.total().checked_sub(needed) else { continue };
        let taken: Option<Vec<_>> = (0..left).map(|_| from.streams.one().now_or_never()).collect();
        let taken = taken.unwrap_or_else(|| panic!("seed {seed}: not all streams came back to {}", from.number));
        let admitted = world.limits(from, to).admit(u64::MAX, &world.deadline).now_or_never();
        let admitted = admitted.unwrap_or_else(|| panic!("seed {seed}: a copy waits, and nobody is there"));
        assert_eq!(admitted.expect("nothing is shut").lease().bytes(), world.budget.for_copies(), "seed {seed}");
        drop(taken);
    }
}

/// Asserts that a quota gives out as many slots as its window has, and not one more.
async fn assert_whole(quota: &Quota, what: &str, world: &World) {
    let slots = async {
        let mut slots = Vec::new();
        for _ in 0..quota.window().size() {
            slots.push(quota.admit(&world.deadline).await.expect("it is open"));
        }
        slots
    };
    // At a documented pace, which the clock of this test gives for nothing.
    let slots = tokio::time::timeout(AFTERWARDS, slots).await;
    let slots = slots.unwrap_or_else(|_| panic!("{what}: fewer slots came back than were given"));
    let more = tokio::time::timeout(Duration::from_secs(60), quota.admit(&world.deadline)).await;
    assert!(more.is_err(), "{what}: more slots than the window's {}", slots.len());
}
