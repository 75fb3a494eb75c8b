//! Much at once, and for long: the real functions against registries that are slow, late, throttled or down for a
//! while. What is measured is said with `--nocapture`.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests, which state what they measured"
)]

mod allowance;
mod attached_trees;
mod backfill;
mod bounds;
mod caps;
mod chunks;
mod congestion;
mod continuation;
mod deadlines;
mod fanout;
mod held_back;
mod inside;
mod manifests_at_once;
mod memory;
mod peak;
mod repeats;
mod retry_after;
mod retry_counts;
mod stall;
mod stalls;
mod storms;
mod support;
mod validation_lag;
