//! Whole flows: the real functions over the Lambda Runtime API, against emulated registries and AWS APIs.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod backfill;
mod backfill_lists;
mod batches;
mod bodies;
mod circles;
mod commit_gate;
mod config_sources;
mod convergence;
mod crashes;
mod credentials;
mod ecr_tokens;
mod existing_tags;
mod foreign_layers;
mod hopeless;
mod ignored_events;
mod manifest_kinds;
mod messages;
mod mounts;
mod paces;
mod parallel;
mod providers;
mod repositories;
mod request_counts;
mod result_counts;
mod retries;
mod roles;
mod several_destinations;
mod support;
mod telemetry;
mod token_service;
