//! That the registries are as strict as they say.

#![allow(clippy::unwrap_used, reason = "helpers of tests; clippy only knows test functions")]

mod common;
mod ecr;
mod ecr_api;
mod faults;
mod plain;
mod providers;
mod strictness;
mod tokens;
mod transport;
