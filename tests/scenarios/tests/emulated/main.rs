//! Whole flows: the real functions over the Lambda Runtime API, against emulated registries and AWS APIs.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod request_counts;
