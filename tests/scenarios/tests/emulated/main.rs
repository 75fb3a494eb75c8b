//! Whole flows: the real functions over the Lambda Runtime API, against emulated registries and AWS APIs.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod buildx;
mod cancels;
mod chunk_minimum;
mod circles;
mod commit_gate;
mod config_sources;
mod convergence;
mod crashes;
mod credentials;
mod ecr_tokens;
mod empty_blobs;
mod existing_tags;
mod foreign_layers;
mod ignored_events;
mod manifest_kinds;
mod matrix;
mod messages;
mod mounts;
mod nested_names;
mod paces;
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
mod wrong_strategies;
