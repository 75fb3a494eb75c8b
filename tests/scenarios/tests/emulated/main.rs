//! Whole flows: the real functions over the Lambda Runtime API, against emulated registries and AWS APIs.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod ecr_tokens;
mod foreign_layers;
mod manifest_kinds;
mod mounts;
mod request_counts;
mod result_counts;
mod support;
